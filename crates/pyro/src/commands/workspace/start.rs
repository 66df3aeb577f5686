//! `pyro workspace start`.

use clap::Args;
use pyro_api::{
    operation::StartWorkspace,
    workspace::{identity::WorkspaceRef, lifecycle::WorkspaceStartRequest},
};

use super::view::details;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Start a machine from the disk of a workspace
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceStartRequest { workspace: arguments.workspace };
    let workspace = client(settings).call::<StartWorkspace>(&request).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
