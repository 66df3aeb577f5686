//! Commands: running them, their history, their output, and jobs.

use std::time::Duration;

use pyro_api::{
    ErrorBody, ErrorCode,
    error::Work,
    frame::Kind,
    run::{CapturedOutput, Collected, EXECUTION_MODE},
    text::{self, ByteString},
    workspace::{
        command::{
            CommandRecord as Record, CommandState, Encoding, LogEntry, OutputMatch, OutputPiece,
            OutputStream, WantedEncoding, WorkspaceLogs, WorkspaceLogsRequest, WorkspaceOutputRequest,
        },
        exec::{ExecEvent as ContractEvent, ExecReport, WorkspaceExecRequest},
        job::{
            JobKillRequest, JobKilled, JobList, JobListRequest, JobLogs, JobLogsRequest, JobSignal,
            JobWaitRequest,
        },
    },
};
use pyro_workspace::{
    Error, Host,
    commands::{
        CommandLine, CommandRecord, CommandState as State, Excerpt, Excerption, ExecEvent, ExecIo,
        ExecRequest, FollowIo, Share, job_id,
    },
    session::OutputKind,
    store::CommandQuery,
    workspaces::WorkspaceView,
};
use tokio::sync::mpsc;

use super::{convert, convert::Ending, seconds};
use crate::daemon::{
    convert::error_body,
    handler::{StreamOutput, Streams},
};

/// Most jobs of one list that have ended.
const MOST_ENDED_JOBS: u32 = 1000;

pub(in crate::daemon) async fn exec(
    host: &Host,
    request: WorkspaceExecRequest,
    streams: Streams,
) -> Result<ExecReport, ErrorBody> {
    request.check()?;
    let Streams { output, stdin, cancel } = streams;
    let (events, told) = mpsc::channel(16);
    let exec = ExecRequest {
        cwd: Some(request.cwd_in_guest()),
        env: request.env.iter().map(|(name, value)| (name.clone().into_bytes(), value.0.clone())).collect(),
        user: request.user.clone(),
        timeout: request.timeout().map(Duration::from_secs),
        stdin: request.stdin,
        idempotency_key: request.idempotency_key.clone(),
        attach: request.attach,
        detach: request.detach,
        ..ExecRequest::new(command_line(&request.command))
    };
    let workspaces = host.workspaces();
    let running = workspaces.exec(request.workspace.as_str(), exec, ExecIo { events, stdin, cancel });
    let (outcome, accepted) = tokio::join!(running, tell(told, &output));
    match outcome {
        Ok((view, outcome)) => Ok(report(&view, &outcome.command, outcome.repeated)),
        Err(error) => {
            tracing::warn!(%error, "a command failed");
            let record = match accepted {
                Some(sequence) => workspaces.command(request.workspace.as_str(), sequence).await.ok(),
                None => None,
            };
            Err(exec_failure(&error, accepted, record.map(|(_, record)| record.state)))
        }
    }
}

/// A failure with what became of the command: `accepted` is its number, if it got one, and `state` what is on record of it.
pub(super) fn exec_failure(error: &Error, accepted: Option<u64>, state: Option<State>) -> ErrorBody {
    let body = error_body(error);
    // Told with the error itself.
    if body.work.is_some() {
        return body;
    }
    let work = match (accepted, state) {
        (Some(_), Some(State::Starting | State::Running)) => Work::Running,
        (Some(_), Some(State::Finished { .. })) => Work::Finished,
        (Some(_), Some(State::NeverStarted { .. })) => Work::NeverStarted,
        (Some(_), Some(State::Unknown { .. }) | None) => Work::Unknown,
        // Whoever went away did not wait for the word.
        (None, _) if matches!(error, Error::Cancelled | Error::Task(_)) => Work::Unknown,
        (None, _) => Work::NeverStarted,
    };
    body.with_work(work, accepted.map(job_id))
}

pub(super) fn command_line(command: &pyro_api::run::CommandLine) -> CommandLine {
    match command {
        pyro_api::run::CommandLine::Shell(line) => CommandLine::Shell(line.0.clone()),
        argv => CommandLine::Argv(argv.to_argv()),
    }
}

/// Passes on what happens to a command until the library says no more. Its number, as far as that was heard of.
async fn tell(mut events: mpsc::Receiver<ExecEvent>, output: &StreamOutput) -> Option<u64> {
    let mut accepted = None;
    while let Some(event) = events.recv().await {
        let sent = match event {
            ExecEvent::Accepted { sequence, repeated } => {
                accepted = Some(sequence);
                let started =
                    ContractEvent::Started { sequence, job_id: job_id(sequence), attached: repeated };
                output.event(&started).await
            }
            ExecEvent::Stdout(bytes) => output.bytes(Kind::Stdout, bytes).await,
            ExecEvent::Stderr(bytes) => output.bytes(Kind::Stderr, bytes).await,
            // The report says how much; a mark among the bytes would be taken for output.
            ExecEvent::Dropped { .. } => Ok(()),
        };
        // Dropping the channel tells the library that nobody waits any more.
        if sent.is_err() {
            break;
        }
    }
    accepted
}

fn report(view: &WorkspaceView, record: &CommandRecord, attached: bool) -> ExecReport {
    let Ending { exit_code, signal, timed_out, out_of_memory } = Ending::of(record);
    ExecReport {
        workspace_id: view.record.id.to_string(),
        environment: view.record.environment.clone(),
        environment_version: Some(view.record.environment_version.clone()),
        command: record.command.clone(),
        exit_code,
        duration_ms: convert::duration_ms(record),
        execution_mode: EXECUTION_MODE.to_owned(),
        sequence: record.sequence,
        cwd: record.cwd.as_str().into(),
        job_id: record.job_id(),
        state: state(record),
        attached,
        signal,
        timed_out,
        out_of_memory,
        isolation: view.machine.as_ref().map(|machine| convert::isolation(machine.isolation)),
        stdout_bytes: record.stdout.total_bytes,
        stderr_bytes: record.stderr.total_bytes,
        stdout_dropped_bytes: record.stdout.dropped_bytes(),
        stderr_dropped_bytes: record.stderr.dropped_bytes(),
    }
}

pub(super) fn state(record: &CommandRecord) -> CommandState {
    CommandState::from_token(record.state.name()).unwrap_or(CommandState::Unknown)
}

pub(super) fn contract_record(record: &CommandRecord) -> Record {
    let Ending { exit_code, signal, timed_out, out_of_memory } = Ending::of(record);
    let file = |stream: &str| format!("{:06}.{stream}", record.sequence);
    Record {
        sequence: record.sequence,
        job_id: record.job_id(),
        command: record.command.clone(),
        cwd: record.cwd.as_str().into(),
        user: record.user.clone(),
        env: record.env_names.iter().map(|name| (name.clone(), HIDDEN.into())).collect(),
        state: state(record),
        exit_code,
        signal,
        timed_out,
        out_of_memory,
        detached: record.detached,
        restored: record.restored,
        note: record.note.clone(),
        idempotency_key: record.idempotency_key.clone(),
        timeout_seconds: record.timeout.map(|timeout| timeout.as_secs()),
        duration_ms: convert::duration_ms(record),
        execution_mode: EXECUTION_MODE.to_owned(),
        recorded_at: seconds(record.created_at),
        ended_at: record.ended_at.map(seconds),
        stdout_file: file("stdout"),
        stderr_file: file("stderr"),
        stdout_bytes: record.stdout.total_bytes,
        stderr_bytes: record.stderr.total_bytes,
        stdout_dropped_bytes: record.stdout.dropped_bytes(),
        stderr_dropped_bytes: record.stderr.dropped_bytes(),
    }
}

/// Values of variables are not kept.
const HIDDEN: &str = "[REDACTED]";

pub(in crate::daemon) async fn logs(
    host: &Host,
    request: WorkspaceLogsRequest,
) -> Result<WorkspaceLogs, ErrorBody> {
    request.check()?;
    let reference = request.workspace.as_str();
    let newest_first = request.after.is_none();
    let query = CommandQuery {
        failed_only: request.failed,
        newest_first,
        after: request.before.or(request.after),
        limit: u32::try_from(request.limit).unwrap_or(u32::MAX),
    };
    let page = host.workspaces().logs(reference, query).await;
    let (id, page, total_count) = page.map_err(|error| error_body(&error))?;
    let (next_before, next_after) = match newest_first {
        true => (page.next, None),
        false => (None, page.next),
    };
    // All outputs of an answer share one bound, so that a page of long ones stays one that can be read. Who comes first
    // in the direction of the page gets his, so of the newest commands nothing is missing for the sake of older ones.
    let mut room = pyro_api::workspace::command::MAX_OUTPUT_BYTES_OF_ANSWER;
    let mut entries = Vec::with_capacity(page.commands.len());
    for record in &page.commands {
        let most = if request.with_output { request.max_output_bytes.min(room / 2) } else { 0 };
        let output = captured(host, id.as_str(), record.sequence, most).await?;
        room = room.saturating_sub((output.stdout.len() + output.stderr.len()) as u64);
        entries.push(LogEntry { record: contract_record(record), output });
    }
    if newest_first {
        entries.reverse();
    }
    Ok(WorkspaceLogs {
        workspace_id: id.to_string(),
        count: entries.len() as u64,
        total_count,
        entries,
        next_before,
        next_after,
    })
}

/// The ends of both outputs of a command, at most so many bytes of each.
pub(super) async fn captured(
    host: &Host,
    id: &str,
    sequence: u64,
    most_bytes: u64,
) -> Result<CapturedOutput, ErrorBody> {
    let stdout = collected(host, id, sequence, OutputKind::Stdout, most_bytes).await?;
    let stderr = collected(host, id, sequence, OutputKind::Stderr, most_bytes).await?;
    Ok(CapturedOutput::new(&stdout, &stderr))
}

async fn collected(
    host: &Host,
    id: &str,
    sequence: u64,
    kind: OutputKind,
    most_bytes: u64,
) -> Result<Collected, ErrorBody> {
    let excerpt = host.workspaces().output(id, sequence, kind, Excerption::End, most_bytes).await;
    let (_, excerpt) = excerpt.map_err(|error| error_body(&error))?;
    Ok(the_end(&excerpt))
}

/// The end of an output as text, from a whole character on.
fn the_end(excerpt: &Excerpt) -> Collected {
    let bytes: Vec<u8> = excerpt.passages.iter().flat_map(|passage| passage.bytes.iter().copied()).collect();
    let is_whole = bytes.len() as u64 == excerpt.total_bytes;
    let of_a_character = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    let bytes = if is_whole { &bytes[..] } else { &bytes[of_a_character..] };
    let mut collected = Collected::up_to(bytes.len());
    collected.push(bytes);
    if !is_whole {
        collected.cut();
    }
    collected
}

pub(in crate::daemon) async fn output(
    host: &Host,
    request: WorkspaceOutputRequest,
) -> Result<OutputPiece, ErrorBody> {
    request.check()?;
    let kind = match request.stream {
        OutputStream::Stdout => OutputKind::Stdout,
        OutputStream::Stderr => OutputKind::Stderr,
    };
    let reference = request.workspace.as_str();
    let sequence = request.command.0;
    let workspaces = host.workspaces();
    let taken = workspaces.output(reference, sequence, kind, excerption(&request), request.max_bytes).await;
    let (id, excerpt) = taken.map_err(|error| error_body(&error))?;
    let (_, record) = workspaces.command(id.as_str(), sequence).await.map_err(|error| error_body(&error))?;
    Ok(piece(id.to_string(), &request, &record, excerpt))
}

fn excerption(request: &WorkspaceOutputRequest) -> Excerption {
    let first = request.from_line.unwrap_or(1);
    match (&request.grep, request.tail, request.from_byte) {
        (Some(pattern), tail, _) => Excerption::Matching {
            pattern: pattern.clone(),
            ignore_case: request.ignore_case,
            first,
            share: match (request.lines, tail) {
                (Some(lines), _) => Share::First(lines),
                (None, Some(lines)) => Share::Last(lines),
                (None, None) => Share::All,
            },
        },
        (None, Some(lines), _) => Excerption::LastLines(lines),
        (None, None, Some(byte)) => Excerption::From(byte),
        (None, None, None) if request.from_line.is_some() || request.lines.is_some() => {
            Excerption::Lines { first, count: request.lines }
        }
        (None, None, None) => Excerption::From(0),
    }
}

fn piece(
    id: String,
    request: &WorkspaceOutputRequest,
    record: &CommandRecord,
    excerpt: Excerpt,
) -> OutputPiece {
    let first = excerpt.passages.first();
    let (first_line, first_byte) =
        (first.and_then(|passage| passage.line), first.map_or(0, |passage| passage.offset));
    let last = excerpt.passages.last();
    let next_byte = last.map_or(excerpt.total_bytes, |passage| passage.offset + passage.bytes.len() as u64);
    let matches = request.grep.is_some().then(|| {
        let found = excerpt.passages.iter().map(|passage| OutputMatch {
            line: passage.line,
            byte: passage.offset,
            text: ByteString(without_line_end(&passage.bytes).to_vec()),
        });
        found.collect()
    });
    let bytes: Vec<u8> = match matches {
        Some(_) => Vec::new(),
        None => excerpt.passages.into_iter().flat_map(|passage| passage.bytes).collect(),
    };
    let ends_open = bytes.last().is_some_and(|byte| *byte != b'\n');
    let line_count = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + u64::from(ends_open);
    let (content, encoding) = encoded(bytes, request.encoding);
    OutputPiece {
        workspace_id: id,
        sequence: record.sequence,
        job_id: record.job_id(),
        stream: request.stream,
        state: state(record),
        content,
        encoding,
        matches,
        first_line,
        line_count,
        first_byte,
        next_byte,
        total_bytes: excerpt.total_bytes,
        dropped_bytes: excerpt.total_bytes.saturating_sub(excerpt.kept_bytes),
        truncated: excerpt.next.is_some(),
    }
}

/// White space before the end of a line is text.
fn without_line_end(line: &[u8]) -> &[u8] {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Bytes as text or as base64.
pub(super) fn encoded(bytes: Vec<u8>, wanted: WantedEncoding) -> (String, Encoding) {
    match wanted {
        WantedEncoding::Base64 => (text::to_base64(&bytes), Encoding::Base64),
        WantedEncoding::Utf8 => (String::from_utf8_lossy(&bytes).into_owned(), Encoding::Utf8),
        WantedEncoding::Auto => match String::from_utf8(bytes) {
            Ok(text) => (text, Encoding::Utf8),
            Err(error) => (text::to_base64(error.as_bytes()), Encoding::Base64),
        },
    }
}

pub(in crate::daemon) async fn job_list(host: &Host, request: JobListRequest) -> Result<JobList, ErrorBody> {
    let ended = if request.running { 0 } else { MOST_ENDED_JOBS };
    let listed = host.workspaces().jobs(request.workspace.as_str(), ended).await;
    let (id, records) = listed.map_err(|error| error_body(&error))?;
    let running_count = records.iter().filter(|record| record.state.is_active()).count() as u64;
    let jobs: Vec<Record> = records.iter().map(contract_record).collect();
    Ok(JobList { workspace_id: id.to_string(), count: jobs.len() as u64, running_count, jobs })
}

/// Here it is jobs that are named.
fn job_error(error: &Error) -> ErrorBody {
    let body = error_body(error);
    match error {
        Error::UnknownCommand { .. } => ErrorBody { code: ErrorCode::UnknownJob, ..body },
        _ => body,
    }
}

pub(in crate::daemon) async fn job_wait(
    host: &Host,
    request: JobWaitRequest,
    streams: Streams,
) -> Result<ExecReport, ErrorBody> {
    let (reference, sequence) = (request.workspace.as_str(), request.job.0);
    let Streams { output, stdin: _, cancel } = streams;
    let (events, told) = mpsc::channel(16);
    let io = request.follow.then(|| FollowIo {
        events: events.clone(),
        cancel: cancel.clone(),
        stdout_from: request.stdout_from,
        stderr_from: request.stderr_from,
    });
    drop(events);
    let workspaces = host.workspaces();
    let waiting = async {
        let ended = workspaces.wait(reference, sequence, io);
        let patience = async {
            match request.timeout_seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = ended => ended,
            () = cancel.cancelled() => Err(Error::Cancelled),
            () = patience => {
                workspaces.command_in(reference, sequence).await
            }
        }
    };
    let (waited, _) = tokio::join!(waiting, tell(told, &output));
    let (view, record) = waited.map_err(|error| job_error(&error))?;
    Ok(report(&view, &record, true))
}

pub(in crate::daemon) async fn job_logs(host: &Host, request: JobLogsRequest) -> Result<JobLogs, ErrorBody> {
    request.check()?;
    let found = host.workspaces().command(request.workspace.as_str(), request.job.0).await;
    let (id, record) = found.map_err(|error| job_error(&error))?;
    let output = captured(host, id.as_str(), record.sequence, request.max_bytes).await?;
    let entry = LogEntry { record: contract_record(&record), output };
    Ok(JobLogs { workspace_id: id.to_string(), entry })
}

pub(in crate::daemon) async fn job_kill(
    host: &Host,
    request: JobKillRequest,
) -> Result<JobKilled, ErrorBody> {
    let number = match request.signal {
        JobSignal::Hup => 1,
        JobSignal::Int => 2,
        JobSignal::Kill => 9,
        JobSignal::Term => 15,
    };
    let killed = host.workspaces().kill(request.workspace.as_str(), request.job.0, number).await;
    let (id, record, signalled) = killed.map_err(|error| job_error(&error))?;
    Ok(JobKilled {
        workspace_id: id.to_string(),
        sent_signal: request.signal,
        signalled,
        record: contract_record(&record),
    })
}

#[cfg(test)]
mod tests {
    use pyro_workspace::{CommandEnd, commands::Passage};

    use super::*;

    #[test]
    fn an_error_of_exec_says_what_became_of_the_command() {
        let finished =
            State::Finished { end: CommandEnd::Exited(0), out_of_memory: false, duration: Duration::ZERO };
        let reason = || "x".to_owned();
        let lost = || Error::WorkspaceMachineLost { reason: reason(), console: String::new() };
        for (error, accepted, state, work) in [
            (lost(), None, None, Work::NeverStarted),
            (Error::Cancelled, None, None, Work::Unknown),
            (Error::KeyTaken { key: "k".into(), sequence: 1 }, None, None, Work::NeverStarted),
            (Error::Cancelled, Some(7), Some(State::Starting), Work::Running),
            (Error::Cancelled, Some(7), Some(State::Running), Work::Running),
            (lost(), Some(7), Some(finished), Work::Finished),
            (lost(), Some(7), Some(State::NeverStarted { reason: reason() }), Work::NeverStarted),
            (lost(), Some(7), Some(State::Unknown { reason: reason() }), Work::Unknown),
            (lost(), Some(7), None, Work::Unknown),
        ] {
            let body = exec_failure(&error, accepted, state);
            assert_eq!(body.work, Some(work), "{error}, {accepted:?}");
            assert_eq!(body.job_id.as_deref(), accepted.map(|_| "c7"), "{error}");
        }
    }

    #[test]
    fn of_a_line_that_matches_only_its_end_is_left_out() {
        for (line, text) in [("a \t\n", "a \t"), ("a\r\n", "a"), ("a \r \n", "a \r "), (" ", " "), ("\n", "")]
        {
            assert_eq!(without_line_end(line.as_bytes()), text.as_bytes(), "{line:?}");
        }
    }

    #[test]
    fn lines_and_tail_say_which_of_the_lines_that_match() {
        let reference = pyro_api::workspace::identity::WorkspaceRef::new("a").unwrap();
        let command = pyro_api::workspace::command::CommandRef(1);
        let all = WorkspaceOutputRequest {
            grep: Some("x".to_owned()),
            ..WorkspaceOutputRequest::new(reference, command)
        };
        for (request, expected) in [
            (all.clone(), Share::All),
            (WorkspaceOutputRequest { lines: Some(2), from_line: Some(7), ..all.clone() }, Share::First(2)),
            (WorkspaceOutputRequest { tail: Some(3), ..all.clone() }, Share::Last(3)),
        ] {
            request.check().unwrap();
            let wanted_first = request.from_line.unwrap_or(1);
            match excerption(&request) {
                Excerption::Matching { first, share, .. } => {
                    assert_eq!((first, share), (wanted_first, expected));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_job_that_is_not_there_is_named_as_one() {
        assert_eq!(job_error(&Error::UnknownCommand { sequence: 7 }).code, ErrorCode::UnknownJob);
        assert_eq!(error_body(&Error::UnknownCommand { sequence: 7 }).code, ErrorCode::UnknownSequence);
    }

    #[test]
    fn an_end_begins_with_a_whole_character_and_says_that_it_is_no_whole() {
        let output = |bytes: &[u8], total_bytes| {
            let passage = Passage {
                offset: total_bytes - bytes.len() as u64,
                line: None,
                bytes: bytes.to_vec(),
                cut: false,
            };
            let excerpt = Excerpt {
                passages: vec![passage],
                total_bytes,
                kept_bytes: total_bytes,
                ended: true,
                next: None,
            };
            let captured = CapturedOutput::new(&the_end(&excerpt), &Collected::up_to(0));
            (captured.stdout, captured.stdout_truncated, captured.stdout_base64)
        };
        assert_eq!(output("é!".as_bytes(), 3), ("é!".to_owned(), false, None));
        assert_eq!(output(&"é!".as_bytes()[1..], 3), ("!".to_owned(), true, None));
    }
}
