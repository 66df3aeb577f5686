//! `workspace_patch_apply`: a patch on the files of a workspace.

use pyro_api::{
    ErrorBody,
    operation::ApplyPatch,
    text::ByteString,
    workspace::{
        identity::WorkspaceRef,
        patch::{PatchApplyRequest, PatchResult},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "workspace_patch_apply",
        "Apply a patch",
        "Apply a unified diff to /workspace, all of it or nothing.",
        Hints::Writes,
        apply,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Apply {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// As git diff or diff -u write it
    #[schemars(with = "String")]
    patch: ByteString,
}

async fn apply(call: ToolCall, arguments: Apply) -> Result<PatchResult, ErrorBody> {
    let request = PatchApplyRequest {
        workspace: arguments.workspace_id,
        patch: arguments.patch,
        check: false,
        reverse: false,
    };
    request.check()?;
    let mut result = call.client.call::<ApplyPatch>(&request).await?;
    // Whoever gave it has it.
    result.patch = ByteString::default();
    Ok(result)
}

impl Told for PatchResult {
    fn told(&self) -> String {
        format!("{} files changed", self.summary.total)
    }
}
