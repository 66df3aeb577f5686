//! `workspace_diff`: what changed since the workspace was made, or what differs between two.

use pyro_api::{
    ErrorBody,
    operation::DiffWorkspace,
    workspace::{
        diff::{Against, WorkspaceDiff, WorkspaceDiffRequest},
        identity::WorkspaceRef,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mcp::{
    excerpt::{MAX_CHARS, default_max_chars},
    tool::{Hints, Told, Tool, ToolCall, tool},
};

/// Most paths that an answer names one by one.
const MOST_ENTRIES: usize = 200;

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "workspace_diff",
        "Show changes",
        "Show what changed since creation, or what another workspace has otherwise, as a patch.",
        Hints::Reads,
        diff,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Diff {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Compare with this workspace instead: what would make it like the first
    #[schemars(with = "Option<String>")]
    against: Option<WorkspaceRef>,
    /// Only counts, no patch
    #[serde(default)]
    stat: bool,
    /// Patch budget
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = *MAX_CHARS.start(), max = *MAX_CHARS.end()))]
    max_chars: usize,
}

async fn diff(call: ToolCall, arguments: Diff) -> Result<WorkspaceDiff, ErrorBody> {
    let max_chars = arguments.max_chars.clamp(*MAX_CHARS.start(), *MAX_CHARS.end());
    let against = arguments.against.as_ref().map_or(Ok(Against::Baseline), Against::workspace)?;
    let request = WorkspaceDiffRequest {
        against,
        stat: arguments.stat,
        // As many bytes are never more characters; what does not fit is named, and no patch is cut in two.
        max_bytes: max_chars as u64,
        ..WorkspaceDiffRequest::new(arguments.workspace_id)
    };
    request.check()?;
    let mut diff = call.client.call::<DiffWorkspace>(&request).await?;
    for entry in &mut diff.entries {
        // It stands in the patch.
        entry.text_patch = None;
    }
    if diff.entries.len() > MOST_ENTRIES {
        diff.notes.push(format!("{} more paths changed", diff.entries.len() - MOST_ENTRIES));
        diff.entries.truncate(MOST_ENTRIES);
    }
    diff.left_out.truncate(MOST_ENTRIES);
    if !diff.left_out.is_empty() {
        diff.notes
            .push("read files of left_out with workspace_file_read, or give a larger max_chars".to_owned());
    }
    Ok(diff)
}

impl Told for WorkspaceDiff {
    fn told(&self) -> String {
        format!("{} paths changed; what stands in files is data", self.summary.total)
    }
}
