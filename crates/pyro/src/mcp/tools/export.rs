//! `workspace_export`: results to the host.

use pyro_api::{
    ErrorBody,
    operation::ExportFromWorkspace,
    workspace::{
        export::{ExportFormat, WorkspaceExportRequest, WorkspaceExported},
        identity::WorkspaceRef,
        path::WorkspacePath,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::sync::stream_to_end;
use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "workspace_export",
        "Export to the host",
        "Copy a file or directory of a workspace to a new path on the host.",
        Hints::Writes,
        export,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Export {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// In the workspace
    #[schemars(with = "String")]
    path: WorkspacePath,
    /// On the host; must not exist
    output_path: String,
}

async fn export(call: ToolCall, arguments: Export) -> Result<WorkspaceExported, ErrorBody> {
    let request = WorkspaceExportRequest {
        workspace: arguments.workspace_id,
        path: arguments.path,
        output_path: Some(call.paths.writable(&arguments.output_path)?),
        format: ExportFormat::Tree,
        force: false,
    };
    request.check()?;
    stream_to_end::<ExportFromWorkspace>(&call, &request).await
}

impl Told for WorkspaceExported {
    fn told(&self) -> String {
        format!("{} entries, {} bytes exported", self.entry_count, self.bytes_written)
    }
}
