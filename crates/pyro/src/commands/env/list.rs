//! `pyro env list`.

use clap::Args;
use pyro_api::{environment::EnvListRequest, operation::EnvList};

use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// List the environments
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: &Arguments, settings: &Settings) -> Result<Status, Failure> {
    let list = client(settings).call::<EnvList>(&EnvListRequest {}).await?;
    if arguments.json {
        output::json(&list)?;
        return Ok(0);
    }
    output::line(format!("Catalog version: {}", list.catalog_version))?;
    for environment in &list.environments {
        let state = if environment.installed { "installed" } else { "not installed" };
        output::line(format!("{} [{state}] {}", environment.name, environment.description))?;
    }
    Ok(0)
}
