//! `pyro workspace logs`: the history of commands, or with a command a part of its output.

use clap::Args;
use pyro_api::{
    operation::GetWorkspaceLogs,
    workspace::{
        command::{
            CommandRecord, CommandRef, DEFAULT_LOG_LIMIT, DEFAULT_LOG_OUTPUT_BYTES, LogEntry,
            WorkspaceLogsRequest,
        },
        identity::WorkspaceRef,
    },
};

use super::{
    output::{self as piece, PieceFlags},
    view::shown,
};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Show the history of commands, or a part of one command's output
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Show only the output of this command: its number, or its job id
    command: Option<CommandRef>,
    /// At most so many commands, the newest
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LOG_LIMIT, conflicts_with = "command")]
    limit: u64,
    /// Only commands before this number
    #[arg(long, value_name = "SEQUENCE", conflicts_with_all = ["after", "command"])]
    before: Option<u64>,
    /// Only commands after this number
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "command")]
    after: Option<u64>,
    /// Only commands that failed, or of which nobody knows how they ended
    #[arg(long, conflicts_with = "command")]
    failed: bool,
    /// Without their output
    #[arg(long, conflicts_with = "command")]
    no_output: bool,
    /// At most so much of each output of each command, the end of it
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_LOG_OUTPUT_BYTES, conflicts_with = "command")]
    max_output_bytes: u64,
    #[command(flatten)]
    piece: PieceFlags,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request for the history that the flags mean.
    pub(crate) fn to_request(&self) -> WorkspaceLogsRequest {
        WorkspaceLogsRequest {
            workspace: self.workspace.clone(),
            limit: self.limit,
            before: self.before,
            after: self.after,
            failed: self.failed,
            with_output: !self.no_output,
            max_output_bytes: self.max_output_bytes,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    if let Some(command) = arguments.command {
        let request = arguments.piece.to_request(arguments.workspace, command);
        return piece::answer(&request, arguments.json, settings).await;
    }
    arguments.piece.check_unused()?;
    let request = arguments.to_request();
    request.check()?;
    let logs = client(settings).call::<GetWorkspaceLogs>(&request).await?;
    if arguments.json {
        output::json(&logs)?;
        return Ok(0);
    }
    for entry in &logs.entries {
        show(entry)?;
    }
    let more = |flag: &str, from: Option<u64>| {
        if let Some(from) = from {
            output::note(format!(
                "[workspace-logs] {} of {}; there are more: {flag} {from}",
                logs.count, logs.total_count
            ));
        }
    };
    more("--before", logs.next_before);
    more("--after", logs.next_after);
    Ok(0)
}

/// A command of the history: header and command line, then what it wrote.
pub(super) fn show(entry: &LogEntry) -> Result<(), Failure> {
    output::line(header(&entry.record))?;
    output::line(format!("$ {}", output::printable(&entry.record.command)))?;
    output::write(whole_lines(&entry.output.stdout).as_bytes())?;
    if !entry.output.stderr.is_empty() {
        output::note(entry.output.stderr.trim_end_matches('\n'));
    }
    if entry.output.stdout_truncated || entry.output.stderr_truncated {
        output::note(format!(
            "[workspace-logs] only the end is shown; `workspace logs WORKSPACE {}` has parts of it",
            entry.record.sequence
        ));
    }
    Ok(())
}

/// What is known about a command, in one line.
pub(super) fn header(record: &CommandRecord) -> String {
    let exit_code = record.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let restored = if record.restored { " restored" } else { "" };
    format!(
        "#{} job_id={} state={}{restored} exit_code={exit_code} duration_ms={} cwd={}",
        record.sequence,
        record.job_id,
        record.state,
        record.duration_ms,
        shown(&record.cwd)
    )
}

/// The text, with an end to its last line if it has any.
pub(super) fn whole_lines(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}
