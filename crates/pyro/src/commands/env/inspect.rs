//! `pyro env inspect`.

use clap::Args;
use pyro_api::{environment::EnvInspectRequest, operation::EnvInspect};

use super::details;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Show one environment
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its name
    environment: String,
    /// Read every file of it and compare with the recorded digests; fail if one differs
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = EnvInspectRequest { environment: arguments.environment, verify: arguments.verify };
    let environment = client(settings).call::<EnvInspect>(&request).await?;
    if arguments.json {
        output::json(&environment)?;
    } else {
        output::line(details(&environment))?;
    }
    Ok(0)
}
