//! `pyro workspace reset`.

use clap::Args;
use pyro_api::{
    operation::ResetWorkspace,
    workspace::{
        identity::{SnapshotName, WorkspaceRef},
        snapshot::WorkspaceResetRequest,
    },
};

use super::view::details;
use crate::{
    commands::client,
    output::{self, Failure, Status, printable},
    settings::Settings,
};

/// Go back to a snapshot of a workspace, with all that ran in it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Name of the snapshot
    #[arg(long, value_name = "NAME", default_value = "baseline")]
    snapshot: SnapshotName,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceResetRequest { workspace: arguments.workspace, snapshot: arguments.snapshot };
    let reset = client(settings).call::<ResetWorkspace>(&request).await?;
    if arguments.json {
        output::json(&reset)?;
        return Ok(0);
    }
    output::line(details(&reset.workspace))?;
    let to = &reset.workspace_reset;
    output::line(format!("Reset to: {} ({}), resumed: {}", to.snapshot_name, to.kind, to.resumed))?;
    if let Some(reason) = &to.boot_reason {
        output::line(printable(&format!("Booted because: {reason}")))?;
    }
    Ok(0)
}
