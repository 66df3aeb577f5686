//! The timeline of a workspace, and back through it.

use pyro_api::{
    ErrorBody,
    workspace::timeline::{Step, Timeline, TimelineEntry, WorkspaceUndoRequest, WorkspaceUndone},
};
use pyro_workspace::{
    Host,
    workspaces::{Step as MadeStep, TimelineEntry as Entry},
};

use super::{lifecycle::full, seconds, snapshots::reset_view};
use crate::daemon::convert::error_body;

pub(in crate::daemon) async fn timeline(host: &Host, reference: &str) -> Result<Timeline, ErrorBody> {
    let (id, timeline) = host.workspaces().timeline(reference).await.map_err(|error| error_body(&error))?;
    let entries: Vec<TimelineEntry> = timeline.entries.iter().map(entry).collect();
    Ok(Timeline {
        workspace_id: id.to_string(),
        auto_checkpoint: timeline.is_automatic,
        count: entries.len() as u64,
        entries,
    })
}

pub(in crate::daemon) async fn undo(
    host: &Host,
    request: WorkspaceUndoRequest,
) -> Result<WorkspaceUndone, ErrorBody> {
    request.check()?;
    let count = usize::try_from(request.steps).unwrap_or(usize::MAX);
    let undone = host.workspaces().undo(request.workspace.as_str(), count).await;
    let (view, undone) = undone.map_err(|error| error_body(&error))?;
    let workspace_reset = reset_view(&view.record.seed, undone.resumed);
    Ok(WorkspaceUndone {
        workspace: full(host, view).await?,
        workspace_reset,
        undone: undone.steps.iter().map(step).collect(),
        left_snapshot_id: undone.left.map(|left| left.to_string()),
    })
}

fn entry(entry: &Entry) -> TimelineEntry {
    TimelineEntry {
        at: seconds(entry.at),
        step: entry.step.as_ref().map(step),
        behind: entry.is_behind,
        snapshot_id: entry.snapshot.id.to_string(),
        size_bytes: entry.own_bytes,
    }
}

fn step(step: &MadeStep) -> Step {
    Step { number: step.number, at: seconds(step.at), call: step.call.clone() }
}
