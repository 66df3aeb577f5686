//! `pyro workspace summary`.

use clap::Args;
use pyro_api::{
    operation::SummarizeWorkspace,
    workspace::{
        identity::WorkspaceRef,
        summary::{
            DEFAULT_SUMMARY_CHARS, Since, SummaryCommand, SummaryFiles, WorkspaceSummary,
            WorkspaceSummaryRequest,
        },
    },
};

use super::view::shown;
use crate::{
    commands::client,
    output::{self, Failure, Status, printable},
    settings::Settings,
};

/// Say in few words what happened in a workspace: commands, failures, what runs, which files changed
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Only what came after this: the cursor of an earlier summary, or a job
    #[arg(long, value_name = "CURSOR")]
    since: Option<Since>,
    /// At most so many characters of JSON; lists get shorter
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SUMMARY_CHARS)]
    max_chars: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> WorkspaceSummaryRequest {
        WorkspaceSummaryRequest {
            workspace: self.workspace.clone(),
            since: self.since,
            max_chars: self.max_chars,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let summary = client(settings).call::<SummarizeWorkspace>(&request).await?;
    if arguments.json {
        output::json(&summary)?;
    } else {
        lines(&summary).into_iter().try_for_each(output::line)?;
    }
    Ok(0)
}

fn lines(summary: &WorkspaceSummary) -> Vec<String> {
    let name = summary.name.as_deref().unwrap_or("-");
    let mut lines = vec![printable(&format!(
        "[workspace-summary] workspace_id={} name={name} state={} cursor={}",
        summary.workspace_id, summary.state, summary.cursor
    ))];
    if let Some(counts) = &summary.commands {
        lines.push(format!(
            "Commands: {}, {} failed, {} running",
            counts.total, counts.failed, counts.running
        ));
    }
    lines.extend(summary.failures.iter().flat_map(|failure| command("failed", failure)));
    lines.extend(summary.running.iter().flat_map(|job| command("runs", job)));
    lines.extend(summary.files.iter().flat_map(files));
    lines.extend(summary.notes.iter().map(|note| printable(&format!("Note: {note}"))));
    lines
}

fn command(what: &str, command: &SummaryCommand) -> Vec<String> {
    let code =
        command.exit_code.map_or_else(|| command.state.to_string(), |code| format!("exit_code={code}"));
    let line = format!("  {} {what} {code} {} ms `{}`", command.job_id, command.duration_ms, command.command);
    let output = command.output_end.iter().flat_map(|end| end.lines());
    let output = output.map(|line| format!("    {}", printable(line)));
    std::iter::once(printable(&line)).chain(output).collect()
}

fn files(files: &SummaryFiles) -> Vec<String> {
    let counts = format!(
        "Files: {} changed, {} added, {} modified, {} deleted",
        files.total, files.added, files.modified, files.deleted
    );
    let named = files.first.iter().map(|file| format!("  {} [{}]", shown(&file.path), file.status));
    std::iter::once(counts).chain(named).collect()
}
