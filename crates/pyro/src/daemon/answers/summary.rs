//! What happened in a workspace, within a budget.
//!
//! Counts always fit. Of the room that is left, failures get at most half, running commands at most half of the rest, and
//! changed files what then remains.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyro_api::{
    ErrorBody,
    text::ByteString,
    workspace::{
        patch::ChangeStatus,
        summary::{
            Since, SummaryCommand, SummaryCounts, SummaryFile, SummaryFiles, WorkspaceSummary,
            WorkspaceSummaryRequest,
        },
        view::WorkspaceState,
    },
};
use pyro_workspace::{
    Host,
    commands::{CommandCounts, CommandRecord},
    files::{Change, Diff},
    store::CommandsSince,
};
use serde::Serialize;

use super::{
    commands::{captured, state},
    convert::{self, Ending},
    entries::change_status,
};
use crate::daemon::convert::error_body;

/// Failures that are looked at.
const MOST_FAILURES: u32 = 20;
/// Characters of a command line.
const SHORT_CHARS: usize = 120;
/// Characters of the end of an output.
const OUTPUT_CHARS: usize = 300;
/// Bytes of patch that are asked for where none is wanted.
const NO_PATCH: u64 = 1;

pub(in crate::daemon) async fn summarize(
    host: &Host,
    request: WorkspaceSummaryRequest,
) -> Result<WorkspaceSummary, ErrorBody> {
    request.check()?;
    let now = SystemTime::now();
    let workspaces = host.workspaces();
    let view = workspaces.view(request.workspace.as_str()).await.map_err(|error| error_body(&error))?;
    let id = view.record.id.to_string();
    let begin = beginning(host, &id, request.since).await?;
    let after = request.since.unwrap_or_default().sequence;
    let since = workspaces.commands_since(&id, after, begin, MOST_FAILURES).await;
    let (since, jobs) = since.map_err(|error| error_body(&error))?;
    let mut summary = WorkspaceSummary {
        name: view.record.name.clone(),
        state: convert::state(&view.record),
        cursor: Since { sequence: since.newest, at_ms: Some(milliseconds(now)) },
        commands: counts(&since),
        failures: Vec::new(),
        running: Vec::new(),
        files: None,
        notes: Vec::new(),
        workspace_id: id.clone(),
    };
    let mut changes = Vec::new();
    match summary.state {
        WorkspaceState::Started => match changed_files(host, &id, request.since.map(|_| begin)).await {
            Ok(changed) => changes = changed,
            Err(error) => {
                summary.notes.push(format!("files cannot be compared: {}", shortened(&error.error)));
            }
        },
        _ => summary.notes.push("files cannot be compared while there is no machine".to_owned()),
    }
    summary.files = file_counts(&changes);
    let mut failures = Vec::with_capacity(since.failures.len());
    for record in &since.failures {
        failures.push(command(record, output_end(host, &id, record).await));
    }
    let running = jobs.iter().rev().map(|record| command(record, None)).collect();
    fill(&mut summary, (failures, running, named(changes)), request.max_chars);
    Ok(summary)
}

/// The time that is meant; the beginning of all times if none is.
async fn beginning(host: &Host, id: &str, since: Option<Since>) -> Result<SystemTime, ErrorBody> {
    let Some(since) = since else { return Ok(UNIX_EPOCH) };
    match since.command() {
        Some(command) => {
            let found = host.workspaces().command(id, command.0).await;
            let (_, record) = found.map_err(|error| error_body(&error))?;
            // What it did itself is known to whoever names it.
            Ok(record.ended_at.unwrap_or(record.created_at))
        }
        None => {
            let at = Duration::from_millis(since.at_ms.unwrap_or_default());
            // No clock ever says that; whoever made it up gets nothing.
            Ok(UNIX_EPOCH.checked_add(at).unwrap_or_else(SystemTime::now))
        }
    }
}

fn milliseconds(time: SystemTime) -> u64 {
    super::milliseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn counts(since: &CommandsSince) -> Option<SummaryCounts> {
    let CommandCounts { total, running, failed } = since.counts;
    let counts = SummaryCounts { total, failed, running };
    (counts.total > 0).then_some(counts)
}

/// What is otherwise than the seed; with a time, those that were modified since, and those that are gone.
async fn changed_files(host: &Host, id: &str, since: Option<SystemTime>) -> Result<Vec<Change>, ErrorBody> {
    let files = host.workspaces().files(id).await.map_err(|error| error_body(&error))?;
    let diff = Diff { names_only: true, max_bytes: NO_PATCH, no_renames: true, ..Diff::default() };
    let mut changes = files.diff(diff).await.map_err(|error| error_body(&error))?.changes;
    if let Some(since) = since {
        let since_ns = i128::from(milliseconds(since)) * 1_000_000;
        let is_new = |change: &Change| {
            change.now.as_ref().is_none_or(|entry| i128::from(entry.modified_ns) >= since_ns)
        };
        changes.retain(is_new);
    }
    Ok(changes)
}

fn file_counts(changes: &[Change]) -> Option<SummaryFiles> {
    let mut counts =
        SummaryFiles { total: changes.len() as u64, added: 0, modified: 0, deleted: 0, first: Vec::new() };
    for change in changes {
        match change_status(change.status()) {
            ChangeStatus::Added | ChangeStatus::Copied => counts.added += 1,
            ChangeStatus::Deleted => counts.deleted += 1,
            ChangeStatus::Modified | ChangeStatus::TypeChanged | ChangeStatus::Renamed => {
                counts.modified += 1;
            }
        }
    }
    (counts.total > 0).then_some(counts)
}

/// The last modified first.
fn named(mut changes: Vec<Change>) -> Vec<SummaryFile> {
    changes.sort_by_key(|change| std::cmp::Reverse(change.now.as_ref().map(|entry| entry.modified_ns)));
    let file = |change: Change| SummaryFile {
        status: change_status(change.status()),
        path: ByteString(change.path),
    };
    changes.into_iter().map(file).collect()
}

fn command(record: &CommandRecord, output_end: Option<String>) -> SummaryCommand {
    let Ending { exit_code, timed_out, .. } = Ending::of(record);
    SummaryCommand {
        job_id: record.job_id(),
        command: shortened(&record.command),
        state: state(record),
        exit_code,
        timed_out,
        duration_ms: convert::duration_ms(record),
        output_end,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHORT_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The end of what a command wrote. One that cannot be read any more is no reason to say nothing of the rest.
async fn output_end(host: &Host, id: &str, record: &CommandRecord) -> Option<String> {
    let captured = captured(host, id, record.sequence, OUTPUT_CHARS as u64).await.ok()?;
    let text = [captured.stderr, captured.stdout].into_iter().find(|text| !text.trim().is_empty())?;
    Some(text.trim().to_owned())
}

type Lists = (Vec<SummaryCommand>, Vec<SummaryCommand>, Vec<SummaryFile>);

/// Gives each list what it may take of the room.
fn fill(summary: &mut WorkspaceSummary, (failures, running, files): Lists, max_chars: u64) {
    // For the notes that say what has no room.
    const MARGIN_CHARS: usize = 250;
    let max_chars = usize::try_from(max_chars).unwrap_or(usize::MAX);
    let mut room = max_chars.saturating_sub(chars(summary) + MARGIN_CHARS);
    let mut untold = Vec::new();
    summary.failures = fitting(failures, room / 2, "failures", &mut untold);
    room = room.saturating_sub(chars(&summary.failures));
    let share = if files.is_empty() { room } else { room / 2 };
    summary.running = fitting(running, share, "running commands", &mut untold);
    room = room.saturating_sub(chars(&summary.running));
    if let Some(counts) = &mut summary.files {
        counts.first = fitting(files, room, "files", &mut untold);
    }
    if !untold.is_empty() {
        summary.notes.push(format!("without room here: {}", untold.join(", ")));
    }
}

fn fitting<T: Serialize>(items: Vec<T>, room: usize, what: &str, untold: &mut Vec<String>) -> Vec<T> {
    let total = items.len();
    let mut taken = 0;
    let fitting: Vec<T> = items
        .into_iter()
        .take_while(|item| {
            taken += chars(item) + 1;
            taken <= room
        })
        .collect();
    if fitting.len() < total {
        untold.push(format!("{} {what}", total - fitting.len()));
    }
    fitting
}

fn chars(value: &impl Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |json| json.chars().count())
}

#[cfg(test)]
mod tests {
    use pyro_api::workspace::command::CommandState;
    use pyro_workspace::files::{ChangeStatus as Status, Entry};

    use super::*;

    fn failure(number: u64) -> SummaryCommand {
        SummaryCommand {
            job_id: format!("c{number}"),
            command: "make test".to_owned(),
            state: CommandState::Finished,
            exit_code: Some(2),
            timed_out: false,
            duration_ms: 5,
            output_end: Some("é".repeat(OUTPUT_CHARS)),
        }
    }

    fn file(number: u32) -> SummaryFile {
        SummaryFile {
            path: format!("src/deep/down/file_{number}.rs").as_str().into(),
            status: ChangeStatus::Added,
        }
    }

    fn nothing() -> WorkspaceSummary {
        WorkspaceSummary {
            workspace_id: "0123456789ab".to_owned(),
            name: Some("n".repeat(120)),
            state: WorkspaceState::Started,
            cursor: Since { sequence: u64::MAX, at_ms: Some(u64::MAX) },
            commands: Some(SummaryCounts { total: u64::MAX, failed: 1, running: 1 }),
            failures: Vec::new(),
            running: Vec::new(),
            files: Some(SummaryFiles { total: 500, added: 500, modified: 0, deleted: 0, first: Vec::new() }),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_summary_keeps_to_its_budget_and_says_what_has_no_room() {
        for max_chars in [700, 1000, 4000, 20_000] {
            let lists = (
                (0..20).map(failure).collect(),
                (20..90).map(failure).collect(),
                (0..500).map(file).collect(),
            );
            let mut summary = nothing();
            fill(&mut summary, lists, max_chars);
            let used = chars(&summary);
            assert!(used <= usize::try_from(max_chars).unwrap(), "{used} of {max_chars}");
            assert!(summary.notes[0].contains("running commands"), "{:?}", summary.notes);
            if max_chars >= 4000 {
                assert!(!summary.failures.is_empty() && !summary.running.is_empty());
                assert!(!summary.files.unwrap().first.is_empty());
            }
        }
        let mut small = nothing();
        fill(&mut small, (vec![failure(1)], Vec::new(), vec![file(1)]), 4000);
        assert_eq!((small.failures.len(), small.notes.len()), (1, 0));
    }

    #[test]
    fn files_are_counted_and_the_last_modified_comes_first() {
        let change = |path: &[u8], status: Status, modified_ns: Option<i64>| Change {
            path: path.to_vec(),
            status: status.into(),
            now: modified_ns.map(|modified_ns| Entry { modified_ns, ..Entry::default() }),
            ..Change::default()
        };
        let changes = vec![
            change(b"gone", Status::Deleted, None),
            change(b"old", Status::Modified, Some(1)),
            change(b"\xff", Status::Added, Some(2)),
        ];
        let counts = file_counts(&changes).unwrap();
        assert_eq!((counts.total, counts.added, counts.modified, counts.deleted), (3, 1, 1, 1));
        let paths: Vec<_> = named(changes).into_iter().map(|file| file.path.0).collect();
        assert_eq!(paths, [&b"\xff"[..], b"old", b"gone"]);
        assert_eq!(file_counts(&[]), None);
    }

    #[test]
    fn long_command_lines_are_cut_between_characters() {
        let long = "é".repeat(SHORT_CHARS + 1);
        assert_eq!(shortened(&long), format!("{}…", "é".repeat(SHORT_CHARS)));
        assert_eq!(shortened("make"), "make");
    }
}
