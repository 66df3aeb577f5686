//! `pyro workspace stop`.

use clap::Args;
use pyro_api::{
    operation::StopWorkspace,
    workspace::{identity::WorkspaceRef, lifecycle::WorkspaceStopRequest},
};

use super::view::details;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Shut the machine of a workspace down cleanly; its disk stays
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceStopRequest { workspace: arguments.workspace };
    let workspace = client(settings).call::<StopWorkspace>(&request).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
