//! `pyro workspace undo`.

use clap::Args;
use pyro_api::{
    operation::UndoWorkspace,
    workspace::{
        identity::WorkspaceRef,
        timeline::{UNDO_STEPS, WorkspaceUndoRequest},
    },
};

use super::view::details;
use crate::{
    commands::client,
    output::{self, Failure, Status, printable},
    settings::Settings,
};

/// Go back before the last calls of a workspace with automatic checkpoints
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// How many calls of its timeline
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(UNDO_STEPS))]
    steps: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceUndoRequest { workspace: arguments.workspace, steps: arguments.steps };
    let undone = client(settings).call::<UndoWorkspace>(&request).await?;
    if arguments.json {
        output::json(&undone)?;
        return Ok(0);
    }
    output::line(details(&undone.workspace))?;
    for step in &undone.undone {
        output::line(printable(&format!("Undone: {} {}", step.number, step.call)))?;
    }
    if let Some(reason) = &undone.workspace_reset.boot_reason {
        output::line(printable(&format!("Booted because: {reason}")))?;
    }
    if let Some(left) = &undone.left_snapshot_id {
        let id = &undone.workspace.workspace_id;
        output::line(format!("As it was before: pyro workspace reset {id} --snapshot {left}"))?;
    }
    Ok(0)
}
