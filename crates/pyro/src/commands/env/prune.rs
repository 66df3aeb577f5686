//! `pyro env prune`.

use clap::Args;
use pyro_api::{environment::EnvPruneRequest, operation::EnvPrune};

use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Remove what is left of earlier versions and of unfinished work, and templates of no use any more
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: &Arguments, settings: &Settings) -> Result<Status, Failure> {
    let pruned = client(settings).call::<EnvPrune>(&EnvPruneRequest {}).await?;
    if arguments.json {
        output::json(&pruned)?;
        return Ok(0);
    }
    output::line(format!("Deleted {} environment directories", pruned.count))?;
    for name in &pruned.deleted_environment_dirs {
        output::line(format!("- {name}"))?;
    }
    if pruned.templates_removed > 0 {
        output::line(format!("Removed {} templates", pruned.templates_removed))?;
    }
    Ok(0)
}
