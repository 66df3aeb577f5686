//! `workspace_sync_push`: files of the host into a workspace.

use pyro_api::{
    Call, ErrorBody, ErrorCode, Output,
    operation::PushSync,
    workspace::{
        identity::WorkspaceRef,
        path::WorkspacePath,
        progress::WorkEvent,
        sync::{SyncPushRequest, SyncPushed},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

/// Most changes that an answer names.
const MOST_CHANGES: usize = 50;

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "workspace_sync_push",
        "Push files",
        "Copy a directory or tar of the host into a workspace.",
        Hints::Settles,
        push,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Push {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// On the host
    source_path: String,
    /// Directory in the workspace
    #[serde(default)]
    #[schemars(with = "String")]
    dest: WorkspacePath,
}

async fn push(call: ToolCall, arguments: Push) -> Result<SyncPushed, ErrorBody> {
    let request = SyncPushRequest {
        workspace: arguments.workspace_id,
        source_path: call.paths.existing(&arguments.source_path)?,
        dest: arguments.dest,
        delete: false,
        exclude: Vec::new(),
        git: false,
        dry_run: false,
    };
    request.check()?;
    let mut pushed = stream_to_end::<PushSync>(&call, &request).await?;
    pushed.workspace_sync.changes.truncate(MOST_CHANGES);
    Ok(pushed)
}

/// Follows an operation without output to its end, telling how far it is; a client that goes away cancels it.
pub(super) async fn stream_to_end<C: Call<Event = WorkEvent>>(
    call: &ToolCall,
    request: &C::Request,
) -> Result<C::Result, ErrorBody> {
    let mut exchange = call.client.stream::<C>(request).await?;
    loop {
        let next = tokio::select! {
            next = exchange.next() => next?,
            // Dropping the exchange cancels it.
            () = call.cancel.cancelled() => {
                return Err(ErrorBody::new(ErrorCode::Cancelled, "the client cancelled the call"));
            }
        };
        match next {
            Output::Result(result) => return Ok(result),
            Output::Event(WorkEvent::Progress(progress)) => {
                call.progress.tell(format!("{} {}", progress.step, progress.detail).trim_end()).await;
            }
            Output::Stdout(_) | Output::Stderr(_) => {}
        }
    }
}

impl Told for SyncPushed {
    fn told(&self) -> String {
        let done = &self.workspace_sync;
        format!("{} entries sent, {} paths changed", done.entry_count, done.changed_count)
    }
}
