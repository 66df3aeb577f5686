//! `pyro workspace delete`.

use clap::Args;
use pyro_api::{
    operation::DeleteWorkspace,
    workspace::{identity::WorkspaceRef, lifecycle::WorkspaceDeleteRequest},
};

use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Delete a workspace and everything in it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Also while commands run in it
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceDeleteRequest { workspace: arguments.workspace, force: arguments.force };
    let deleted = client(settings).call::<DeleteWorkspace>(&request).await?;
    if arguments.json {
        output::json(&deleted)?;
    } else {
        output::line(format!("[workspace-delete] workspace_id={} deleted", deleted.workspace_id))?;
    }
    Ok(0)
}
