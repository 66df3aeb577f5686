//! One task for each command that has not ended: it asks the guest, takes the outputs, and writes down what happens.
//!
//! ```text
//!            ┌──────────────── session lost ─────────────────┐
//!            ▼                                               │
//!   guest here? ──▶ started already? ──no──▶ start ──▶ take outputs, wait for the end ──▶ conclude
//!        │                    └──yes─▶ re-attach ────────────▲                              ▲
//!        └── gone ──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A session has room for so many streams, and so a command may have to wait for its turn before it is asked for.
//!
//! A command runs at most once: its process has an id that is never used again, a guest refuses an id that it knows, and a
//! guest is only forgotten what it ran after that is written down. While the process is unknown to the guest and
//! the request is still in memory, it may therefore be asked again.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use pyro_protocol::{
    SendError,
    message::{self, FailureCode},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    CommandRecord, CommandState,
    job::{Connection, Guest, Job},
    patience,
    record::Stdin,
    request,
    shared::{COMMANDS_AT_ONCE, Shared},
    spool::SpoolWriter,
};
use crate::{
    error::chain,
    fault::{self, FaultPoint},
    guest_command::{TIMEOUT_GRACE, end_of, feed, refusal},
    run::CommandEnd,
    session::{GuestSession, InputStream, OutputKind, OutputStream, SessionError},
    store::Durability,
};

/// What had arrived from a machine that is gone is taken for so long.
const GONE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a command waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(60);
/// When a session that had no room is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(200);
/// How often it is tried to write down an end that the store did not take.
const RECORD_RETRY: Duration = Duration::from_secs(5);

/// The task; see the [module](self).
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    job: Arc<Job>,
    /// What the guest is to be asked; none if an earlier daemon asked it.
    start: Option<message::Start>,
    /// It was asked, and may not have heard.
    asked: bool,
    input: Option<Input>,
    /// How it ended, once the guest has told; its output may be missing.
    exit: Option<message::ExitStatus>,
    stdout: SpoolWriter,
    stderr: SpoolWriter,
}

/// Where a command's standard input comes from.
pub(super) struct Input {
    pub(super) bytes: mpsc::Receiver<Bytes>,
    /// When it comes first, a closed channel is not the end of the input.
    pub(super) broken_off: CancellationToken,
}

/// Why a command is attended no longer.
enum Parting {
    /// Nothing more can come.
    Over(CommandState),
    /// The guest cannot be reached any more this way.
    Lost(SessionError),
    /// The session had no room for what was to be asked.
    Full(SessionError),
}

impl From<SessionError> for Parting {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unsent { source: SendError::NoSession, .. } => Self::Lost(error),
            SessionError::Unsent { .. } => Self::Full(error),
            _ => Self::Lost(error),
        }
    }
}

/// The streams of a process.
struct Streams {
    stdout: OutputStream,
    stderr: OutputStream,
}

impl Streams {
    fn open(session: &GuestSession, job: &Job, id: &str) -> Self {
        Self {
            stdout: session.output(id, OutputKind::Stdout, job.stdout.next()),
            stderr: session.output(id, OutputKind::Stderr, job.stderr.next()),
        }
    }
}

impl Supervisor {
    pub(super) fn new(
        shared: Arc<Shared>,
        job: Arc<Job>,
        start: Option<message::Start>,
        input: Option<Input>,
    ) -> Self {
        let (stdout, stderr) =
            (SpoolWriter::new(Arc::clone(&job.stdout)), SpoolWriter::new(Arc::clone(&job.stderr)));
        Self { shared, job, start, asked: false, input, exit: None, stdout, stderr }
    }

    /// Runs until the command has ended and that is written down, or until the workspace's commands are closed.
    pub(super) async fn run(mut self) {
        let (shared, job) = (Arc::clone(&self.shared), Arc::clone(&self.job));
        tokio::select! {
            biased;
            () = shared.closed.cancelled() => {}
            () = self.supervise() => {}
        }
        shared.forget(&job);
    }

    async fn supervise(&mut self) {
        let mut connections = self.shared.connection.subscribe();
        let mut used = None;
        let state = loop {
            let connection = {
                let usable = |connection: &Connection| {
                    used != Some(connection.generation) && !matches!(connection.guest, Guest::Away)
                };
                let found = tokio::select! {
                    biased;
                    () = self.unwanted_before_it_was_asked_for() => break self.turned_away(),
                    found = connections.wait_for(usable) => found,
                };
                match found {
                    Ok(connection) => connection.clone(),
                    // Only when the commands are closed.
                    Err(_) => return,
                }
            };
            used = Some(connection.generation);
            let session = match connection.guest {
                Guest::Here(session) => session,
                Guest::Gone(reason) => break self.lost_with(reason),
                Guest::Away => continue,
            };
            let parting = {
                let gone = async {
                    let gone = |connection: &Connection| matches!(connection.guest, Guest::Gone(_));
                    drop(connections.wait_for(gone).await);
                    tokio::time::sleep(GONE_PATIENCE).await;
                };
                tokio::select! {
                    parting = self.attend(&session) => parting,
                    () = gone => Parting::Lost(SessionError::Closed),
                }
            };
            match parting {
                Parting::Over(state) => break state,
                Parting::Lost(error) => {
                    debug!(command = self.job.sequence, error = %chain(&error), "waits for another session");
                }
                Parting::Full(error) => {
                    debug!(command = self.job.sequence, error = %chain(&error), "waits for room in the session");
                    tokio::time::sleep(ROOM_RETRY).await;
                    used = None;
                }
            }
        };
        self.conclude(state).await;
    }

    /// Resolves when nobody wants a command any more for which the guest was never asked.
    async fn unwanted_before_it_was_asked_for(&self) {
        if self.asked || self.start.is_none() {
            return std::future::pending().await;
        }
        self.job.unwanted.cancelled().await;
    }

    /// The state of a command whose machine is gone.
    fn lost_with(&self, reason: String) -> CommandState {
        if let Some(status) = &self.exit {
            self.note("the last of its output was lost with its machine");
            return self.finished(status);
        }
        let never_asked = self.start.is_some() && !self.asked;
        if never_asked { CommandState::NeverStarted { reason } } else { CommandState::Unknown { reason } }
    }

    /// Does everything about the command that one session allows.
    async fn attend(&mut self, session: &GuestSession) -> Parting {
        let id = super::record::job_id(self.job.sequence);
        let was_asked = self.asked || self.start.is_none();
        if was_asked {
            // Who is not known needs no turn.
            match find(session, &id).await {
                Ok(None) if self.start.is_none() => return Parting::Over(self.unheard_of()),
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
        let Some(_turn) = self.turn().await else {
            return Parting::Over(self.turned_away());
        };
        if was_asked {
            // Opened before the guest is asked what it has: from then on it keeps what was not taken.
            let streams = Streams::open(session, &self.job, &id);
            match find(session, &id).await {
                Ok(Some(process)) => return self.reattach(session, &process, streams).await,
                Ok(None) => {}
                Err(error) => return error.into(),
            }
        }
        match self.start.clone() {
            None => Parting::Over(self.unheard_of()),
            Some(_) if self.job.unwanted.is_cancelled() => Parting::Over(self.turned_away()),
            Some(start) => self.start(session, &start).await,
        }
    }

    /// The state of a command for which it was never asked.
    fn turned_away(&self) -> CommandState {
        let reason = if self.job.is_called_off() {
            "it was killed before it was started".to_owned()
        } else if self.job.unwanted.is_cancelled() {
            "its caller went away".to_owned()
        } else {
            format!("{COMMANDS_AT_ONCE} other commands are running in the workspace")
        };
        CommandState::NeverStarted { reason }
    }

    /// The right to use streams of the session. One that runs gets it; one that does not waits for so long, and gets
    /// none if that is not enough.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.shared.turns).acquire_owned();
        if self.asked || self.start.is_none() {
            return turn.await.ok();
        }
        tokio::select! {
            turn = turn => turn.ok(),
            () = self.job.unwanted.cancelled() => None,
            () = tokio::time::sleep(TURN_PATIENCE) => None,
        }
    }

    /// The state of a command that its guest, which is the one it was for, does not know.
    fn unheard_of(&self) -> CommandState {
        match self.job.record.borrow().state {
            CommandState::Starting => CommandState::NeverStarted {
                reason: "the guest had not been asked when pyro was restarted".to_owned(),
            },
            _ => CommandState::Unknown { reason: "the guest does not know it any more".to_owned() },
        }
    }

    /// Asks for the process, and for everything that comes of it, in one flight.
    async fn start(&mut self, session: &GuestSession, start: &message::Start) -> Parting {
        if session.is_over() {
            // Nothing can be asked over it.
            return Parting::Lost(SessionError::Closed);
        }
        if !self.job.ask() {
            return Parting::Over(self.turned_away());
        }
        self.asked = true;
        let started = session.start(request::fit(start, session));
        let streams = Streams::open(session, &self.job, &start.id);
        let input = self.input.is_some().then(|| session.input(&start.id));
        let exited = session.wait(&start.id);
        let give_up = self.patience();
        let started = tokio::select! {
            started = started => started,
            () = give_up => {
                // It is behind the request, if the guest comes to that at all.
                drop(session.signal(&start.id, SIGKILL, true));
                let reason = "the guest did not answer whether it started it".to_owned();
                return Parting::Over(CommandState::Unknown { reason });
            }
        };
        match started {
            Ok(_) => {}
            Err(error @ SessionError::Refused { .. }) => {
                return Parting::Over(self.refused(&error, start).await);
            }
            Err(error @ SessionError::Unsent { source: SendError::TooLong { .. }, .. }) => {
                return Parting::Over(CommandState::NeverStarted { reason: chain(&error) });
            }
            Err(error @ SessionError::Unexpected { .. }) => {
                return Parting::Over(CommandState::Unknown { reason: chain(&error) });
            }
            Err(error) => {
                if matches!(error, SessionError::Unsent { .. }) {
                    self.asked = false;
                    self.job.retract();
                }
                return error.into();
            }
        }
        if let Err(error) = fault::reach(FaultPoint::CommandRunning) {
            warn!(command = self.job.sequence, %error, "cannot write down that a command runs");
        }
        self.note_running().await;
        self.listen(session, streams, input, exited).await
    }

    /// Takes up a process that runs, or ran, already.
    async fn reattach(
        &mut self,
        session: &GuestSession,
        process: &message::ProcessInfo,
        streams: Streams,
    ) -> Parting {
        let first = |range: &Option<message::SpoolRange>| range.map_or(0, |range| range.first);
        self.stdout.skip_to(first(&process.stdout));
        self.stderr.skip_to(first(&process.stderr));
        if process.exit.is_none() && self.job.record.borrow().stdin == Stdin::Open {
            self.input = None;
            self.note(INPUT_BROKE_OFF);
            self.job.unwanted.cancel();
        }
        self.note_running().await;
        let exited = session.wait(&process.id);
        self.listen(session, streams, None, exited).await
    }

    /// Takes the outputs until their end, and the end.
    async fn listen(
        &mut self,
        session: &GuestSession,
        mut streams: Streams,
        input: Option<InputStream>,
        exited: impl Future<Output = Result<message::ExitStatus, SessionError>>,
    ) -> Parting {
        let give_up = self.patience();
        let gave_up = CancellationToken::new();
        let (job, shared) = (Arc::clone(&self.job), Arc::clone(&self.shared));
        let feeding = feed_from(&shared, &job, input, self.input.as_mut());
        let killing = kill_unwanted(session, &job);
        let ended = async {
            tokio::select! {
                status = exited => Some(status),
                () = give_up => {
                    gave_up.cancel();
                    None
                }
            }
        };
        // None is cut short when another one fails: what had arrived of a lost session is taken first.
        let taken = async {
            tokio::join!(
                ended,
                gave_up.run_until_cancelled(take(&mut streams.stdout, &mut self.stdout)),
                gave_up.run_until_cancelled(take(&mut streams.stderr, &mut self.stderr)),
            )
        };
        let (ended, stdout, stderr) = tokio::select! {
            taken = taken => taken,
            never = feeding => match never {},
            never = killing => match never {},
        };
        let status = match ended {
            Some(Ok(status)) => status,
            Some(Err(SessionError::Refused { code: FailureCode::UnknownProcess, .. })) => {
                return Parting::Over(self.unheard_of());
            }
            Some(Err(error)) => return error.into(),
            None => return Parting::Over(self.given_up()),
        };
        let status = self.exit.insert(status).clone();
        match (stdout, stderr) {
            (Some(Err(error)), _) | (_, Some(Err(error))) => error.into(),
            _ => Parting::Over(self.finished(&status)),
        }
    }

    fn finished(&self, status: &message::ExitStatus) -> CommandState {
        self.job.stdout.end(status.stdout_bytes);
        self.job.stderr.end(status.stderr_bytes);
        CommandState::Finished {
            end: end_of(status),
            out_of_memory: status.out_of_memory,
            duration: Duration::from_micros(status.duration_us),
        }
    }

    /// Resolves when a guest that enforces the timeout, and runs, would have done it long ago.
    fn patience(&self) -> impl Future<Output = ()> + use<> {
        let record = self.job.record.borrow();
        let since = record.started_at.unwrap_or_else(SystemTime::now);
        let ran = SystemTime::now().duration_since(since).unwrap_or_default().saturating_sub(record.slept);
        // Whatever the wall clock says, a guest gets its grace.
        let left = record.timeout.map(|timeout| timeout.saturating_sub(ran) + TIMEOUT_GRACE);
        let stalls = self.shared.stalls();
        async move {
            match left {
                Some(left) => patience::has_run(left, TIMEOUT_GRACE, stalls).await,
                None => std::future::pending().await,
            }
        }
    }

    fn given_up(&self) -> CommandState {
        self.note("the guest did not tell its end, nor that it killed it at its timeout");
        let duration = self.job.record.borrow().timeout.unwrap_or_default() + TIMEOUT_GRACE;
        CommandState::Finished { end: CommandEnd::TimedOut, out_of_memory: false, duration }
    }

    async fn refused(&mut self, error: &SessionError, start: &message::Start) -> CommandState {
        let program = start.argv.first().map_or(&[][..], Vec::as_slice);
        match refusal(error, program) {
            Some((code, said)) => {
                self.stderr.append(said.into()).await;
                let end = CommandEnd::Exited(code);
                CommandState::Finished { end, out_of_memory: false, duration: Duration::ZERO }
            }
            None => CommandState::NeverStarted { reason: error.to_string() },
        }
    }

    fn note(&self, note: &str) {
        self.job.record.send_modify(|record| record.note = Some(note.to_owned()));
    }

    async fn note_running(&self) {
        let now = SystemTime::now();
        self.job.record.send_modify(|record| {
            record.state = CommandState::Running;
            record.started_at.get_or_insert(now);
        });
        self.shared.write_down(&self.job).await;
    }

    /// Writes down the end, tells everybody, and lets the guest forget the process.
    async fn conclude(&mut self, state: CommandState) {
        for spool in [&self.job.stdout, &self.job.stderr] {
            spool.end(spool.next());
        }
        let told = matches!(state, CommandState::Finished { .. });
        let last = CommandRecord {
            ended_at: Some(SystemTime::now()),
            state,
            stdout: self.job.stdout.record(),
            stderr: self.job.stderr.record(),
            ..self.job.record.borrow().clone()
        };
        if let Err(error) = fault::reach(FaultPoint::CommandOver) {
            warn!(command = last.sequence, %error, "cannot write down the end of a command");
        }
        loop {
            let written =
                self.shared.store.update_command(&self.shared.workspace, &last, Durability::Process).await;
            let Err(error) = written else { break };
            warn!(command = last.sequence, error = %chain(&error), "cannot write down the end of a command; tries again");
            // The caller need not wait for the disk. The guest does: until it is written down, it alone knows.
            self.job.record.send_replace(last.clone());
            tokio::time::sleep(RECORD_RETRY).await;
        }
        self.job.record.send_replace(last);
        self.shared.keep_to_quota().await;
        if told {
            self.clear_guest().await;
        }
    }

    /// Lets the guest forget the process.
    async fn clear_guest(&self) {
        let guest = self.shared.connection.borrow().guest.clone();
        if let Guest::Here(session) = guest {
            clear(&session, &super::record::job_id(self.job.sequence)).await;
        }
    }
}

/// What the guest knows of a process.
async fn find(session: &GuestSession, id: &str) -> Result<Option<message::ProcessInfo>, SessionError> {
    Ok(session.list().await?.processes.into_iter().find(|process| process.id == id))
}

/// Ends a process that is not wanted any more, if it still runs, and lets the guest forget it. A guest that does not
/// answer keeps it until the next look over its processes.
pub(super) async fn clear(session: &GuestSession, id: &str) {
    let cleared = async {
        match session.remove(id).await {
            Err(SessionError::Refused { code: FailureCode::StillRunning, .. }) => {
                session.signal(id, SIGKILL, true).await?;
                session.wait(id).await?;
                session.remove(id).await
            }
            removed => removed,
        }
    };
    match tokio::time::timeout(TIMEOUT_GRACE, cleared).await {
        Ok(Ok(()) | Err(SessionError::Refused { code: FailureCode::UnknownProcess, .. })) => {}
        Ok(Err(error)) => debug!(process = id, error = %chain(&error), "the guest keeps a process for now"),
        Err(_) => debug!(process = id, "the guest does not answer"),
    }
}

/// Takes an output to its end. A chunk is in its file before the guest may forget it.
async fn take(output: &mut OutputStream, spool: &mut SpoolWriter) -> Result<(), SessionError> {
    while let Some(chunk) = output.next().await {
        spool.append(chunk?).await;
    }
    Ok(())
}

/// Feeds standard input; never resolves, since the command alone decides when it ends.
async fn feed_from(
    shared: &Shared,
    job: &Job,
    input: Option<InputStream>,
    from: Option<&mut Input>,
) -> Infallible {
    let (Some(mut input), Some(from)) = (input, from) else { return std::future::pending().await };
    if feed(&mut input, &mut from.bytes).await {
        if from.broken_off.is_cancelled() {
            // The end of the stream would tell the command that this was all.
            job.record.send_modify(|record| record.note = Some(INPUT_BROKE_OFF.to_owned()));
            job.unwanted.cancel();
        } else {
            drop(input.finish().await);
            job.record.send_modify(|record| record.stdin = Stdin::Ended);
            shared.write_down(job).await;
            return std::future::pending().await;
        }
    }
    let never = std::future::pending().await;
    drop(input);
    never
}

const INPUT_BROKE_OFF: &str = "its input broke off, and it was killed";

/// Kills a command that nobody wants any more; never resolves, since its end is told like any other's.
async fn kill_unwanted(session: &GuestSession, job: &Job) -> Infallible {
    job.unwanted.cancelled().await;
    job.record.send_modify(|record| {
        record.note.get_or_insert_with(|| "its caller went away, and it was killed".to_owned());
    });
    let id = super::record::job_id(job.sequence);
    if let Err(error) = session.signal(&id, SIGKILL, true).await {
        debug!(command = %id, error = %chain(&error), "cannot kill it");
    }
    std::future::pending().await
}

/// Linux' number.
pub(super) const SIGKILL: i32 = 9;
