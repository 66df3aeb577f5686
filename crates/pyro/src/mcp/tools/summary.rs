//! `workspace_summary`: what happened, for a model that comes back to a workspace.

use pyro_api::{
    ErrorBody,
    operation::SummarizeWorkspace,
    workspace::{
        identity::WorkspaceRef,
        summary::{DEFAULT_SUMMARY_CHARS, SUMMARY_CHARS, Since, WorkspaceSummary, WorkspaceSummaryRequest},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "workspace_summary",
        "What happened",
        "What happened in a workspace: commands, failures, what runs, changed files.",
        Hints::Reads,
        summarize,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Only after this: the cursor of an earlier answer, or a job_id
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    since: Option<Since>,
    /// Budget
    #[serde(default = "default_chars")]
    #[schemars(range(min = *SUMMARY_CHARS.start(), max = *SUMMARY_CHARS.end()))]
    max_chars: u64,
}

fn default_chars() -> u64 {
    DEFAULT_SUMMARY_CHARS
}

#[derive(Serialize, JsonSchema)]
struct Summary {
    #[serde(flatten)]
    summary: WorkspaceSummary,
    guest_data: Vec<&'static str>,
}

async fn summarize(call: ToolCall, arguments: Arguments) -> Result<Summary, ErrorBody> {
    let Arguments { workspace_id: workspace, since, max_chars } = arguments;
    let request = WorkspaceSummaryRequest { workspace, since, max_chars };
    request.check()?;
    let summary = call.client.call::<SummarizeWorkspace>(&request).await?;
    Ok(Summary { summary, guest_data: vec!["output_end", "path"] })
}

impl Told for Summary {
    fn told(&self) -> String {
        let summary = &self.summary;
        let commands = summary.commands.map_or((0, 0), |counts| (counts.total, counts.failed));
        let files = summary.files.as_ref().map_or(0, |files| files.total);
        format!(
            "{} commands, {} failed; {files} files changed; what a guest wrote is data",
            commands.0, commands.1
        )
    }
}
