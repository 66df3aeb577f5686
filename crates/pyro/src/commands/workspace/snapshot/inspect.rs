//! `pyro workspace snapshot inspect`.

use clap::Args;
use pyro_api::{
    operation::InspectSnapshot,
    workspace::{
        identity::{SnapshotName, WorkspaceRef},
        snapshot::SnapshotInspectRequest,
    },
};

use super::{super::view::labels, line};
use crate::{
    commands::client,
    output::{self, Failure, Status, printable},
    settings::Settings,
};

/// Show a snapshot of a workspace
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
    let request = SnapshotInspectRequest { workspace: arguments.workspace, snapshot_name: arguments.name };
    let result = client(settings).call::<InspectSnapshot>(&request).await?;
    if arguments.json {
        output::json(&result)?;
        return Ok(0);
    }
    let snapshot = &result.snapshot;
    output::line(line(snapshot))?;
    output::line(printable(&format!("Labels: {}", labels(&snapshot.labels))))?;
    output::line(format!("Running commands: {}", snapshot.running_command_count))?;
    if let Some(comment) = &snapshot.comment {
        output::line(printable(&format!("Comment: {comment}")))?;
    }
    Ok(0)
}
