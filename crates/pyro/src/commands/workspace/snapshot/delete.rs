//! `pyro workspace snapshot delete`.

use clap::Args;
use pyro_api::{
    operation::DeleteSnapshot,
    workspace::{
        identity::{SnapshotName, WorkspaceRef},
        snapshot::SnapshotDeleteRequest,
    },
};

use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Delete a snapshot of a workspace; others keep what they share with it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Name of the snapshot
    name: SnapshotName,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = SnapshotDeleteRequest { workspace: arguments.workspace, snapshot_name: arguments.name };
    let deleted = client(settings).call::<DeleteSnapshot>(&request).await?;
    if arguments.json {
        output::json(&deleted)?;
    } else {
        output::line(format!("[snapshot] deleted name={}", deleted.snapshot_name))?;
    }
    Ok(0)
}
