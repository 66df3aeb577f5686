//! The timeline of a workspace with automatic checkpoints, and back through it; only in full.

use pyro_api::{
    ErrorBody,
    operation::{GetTimeline, UndoWorkspace},
    workspace::{
        identity::WorkspaceRef,
        timeline::{Timeline, UNDO_STEPS, WorkspaceTimelineRequest, WorkspaceUndoRequest, WorkspaceUndone},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::workspace::{Named, lean};
use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "workspace_undo",
            "Undo the last calls",
            "Go back before the last commands, patches or writes, if the workspace has auto_checkpoint.",
            Hints::Destroys,
            undo,
        ),
        tool(
            "workspace_timeline",
            "What can be undone",
            "List the calls that workspace_undo goes back through, each with a snapshot_id for workspace_reset.",
            Hints::Reads,
            timeline,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Undo {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// How many calls
    #[serde(default = "one")]
    #[schemars(range(min = *UNDO_STEPS.start(), max = *UNDO_STEPS.end()))]
    steps: u64,
}

fn one() -> u64 {
    1
}

async fn undo(call: ToolCall, arguments: Undo) -> Result<WorkspaceUndone, ErrorBody> {
    let request = WorkspaceUndoRequest { workspace: arguments.workspace_id, steps: arguments.steps };
    request.check()?;
    let mut undone = call.client.call::<UndoWorkspace>(&request).await?;
    undone.workspace = lean(undone.workspace);
    Ok(undone)
}

async fn timeline(call: ToolCall, Named { workspace_id }: Named) -> Result<Timeline, ErrorBody> {
    let request = WorkspaceTimelineRequest { workspace: workspace_id };
    Ok(call.client.call::<GetTimeline>(&request).await?)
}

impl Told for WorkspaceUndone {
    fn told(&self) -> String {
        let calls: Vec<_> = self.undone.iter().map(|step| step.call.as_str()).collect();
        format!("undone in workspace {}: {}", self.workspace.workspace_id, calls.join("; "))
    }
}

impl Told for Timeline {
    fn told(&self) -> String {
        format!("{} states to go back to", self.count)
    }
}
