//! Commands in a workspace: each is written down, runs at most once, and goes on when its caller does not.
//!
//! ```text
//!  exec ──▶ record ──▶ supervisor ──start──▶ guest
//!                          │ ◀──── output ─────┘
//!                          ▼
//!                        spool ──▶ whoever follows: exec in the foreground, wait, excerpts
//! ```
//!
//! Every command is a job: [`record`] says what is known of it, [`spool`] keeps what it prints, [`supervisor`] is the one
//! task that speaks with the guest about it, and everybody else reads those two. So a caller that comes back, another
//! process and a page of old output are one mechanism. [`excerpt`] reads a part of an output, [`redaction`] keeps secrets
//! out of records.
//!
//! # Promises
//!
//! - *At most once.* A command is written down before the guest is asked, under an id that is never used again, and
//!   nothing that fails makes it run twice. With an idempotency key the promise spans calls: the same key and request
//!   get the same command, running or ended; the same key with another request is refused. A call that attaches gets
//!   the same command as long as that runs.
//! - *Nothing is guessed.* A command ends as finished, never started, or unknown, each with what is known.
//! - *Bounded.* Outputs keep their head and their tail, see [`CommandLimits`]; what is dropped is counted.
//! - A caller that goes away takes along a command that is neither detached nor has a key nor may be attached to, and no
//!   other.

mod excerpt;
mod job;
mod patience;
mod record;
mod redaction;
mod request;
mod shared;
mod spool;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyro_engine::Stall;
use pyro_protocol::message;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

pub(crate) use self::spool::kept_outputs;
pub use self::{
    excerpt::{Excerpt, Excerption, Passage, Share},
    record::{CommandCounts, CommandRecord, CommandState, OutputRecord, Stdin, job_id, sequence_of},
    redaction::{REDACTED, Redactor},
    request::{CommandLine, ExecEvent, ExecIo, ExecOutcome, ExecRequest, FollowIo, IDEMPOTENCY_KEY_BYTES},
    spool::SpoolLimits,
};
use self::{
    job::{Guest, Job, Wanted},
    shared::Shared,
    supervisor::Input,
};
use crate::{
    error::Error,
    greeting::RESTORE_PATIENCE,
    session::{FailureCode, GuestSession, OutputKind, SessionError},
    store::{CommandPage, CommandQuery, Durability, Store},
    task,
    workspaces::{Changes, WorkspaceId},
};

/// How long a guest may take to signal a command.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(15);
/// Signals that a process which does not care about them lives on with: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
const HARMLESS_SIGNALS: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// How much is kept of what commands print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandLimits {
    /// Of each output of each command.
    pub spool: SpoolLimits,
    /// Of all commands of a workspace that have ended, bytes: the oldest outputs go first, the records stay.
    pub workspace_bytes: u64,
}

impl Default for CommandLimits {
    /// 16 MiB of the beginning and 48 MiB of the end of each output; 256 MiB for each workspace.
    fn default() -> Self {
        let spool = SpoolLimits { head_bytes: 16 << 20, tail_bytes: 48 << 20 };
        Self { spool, workspace_bytes: 256 << 20 }
    }
}

/// What is known of a command whose end is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It did not run and never will.
    NeverStarted,
    /// It ran, or may have.
    Unknown,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverStarted => "was never started",
            Self::Unknown => "may have run, and how it ended is not known",
        })
    }
}

/// The commands of one workspace. When this is dropped their supervisors end; the commands do not, and the next
/// [`Commands::adopt`] takes them up again.
#[derive(Debug)]
pub struct Commands {
    shared: Arc<Shared>,
    _close: DropGuard,
}

impl Commands {
    /// The commands of a workspace that lives in `directory`, with the default limits.
    pub fn open(store: Store, directory: PathBuf, workspace: WorkspaceId) -> Result<Self, Error> {
        Ok(Self::new(store, directory, workspace, CommandLimits::default(), Redactor::default()))
    }

    /// The same with other limits, and with secrets to keep out of records.
    pub fn new(
        store: Store,
        directory: PathBuf,
        workspace: WorkspaceId,
        limits: CommandLimits,
        redactor: Redactor,
    ) -> Self {
        let shared = Shared::new(store, directory, workspace, limits, redactor);
        let close = shared.closed.clone().drop_guard();
        Self { shared: Arc::new(shared), _close: close }
    }

    /// Runs a command and tells its output, or, if the caller detaches, starts it. When the future is dropped or the
    /// caller cancels, a command that is neither detached nor has a key, nor may be
    /// attached to, is killed.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] and [`Error::KeyTaken`]: nothing was started. [`Error::CommandLost`]: how it ended cannot be
    /// told. [`Error::Cancelled`]: the caller went away.
    pub async fn exec(&self, request: ExecRequest, io: ExecIo) -> Result<ExecOutcome, Error> {
        request.admit()?;
        let ExecIo { events, stdin, cancel } = io;
        let detached = request.detach;
        let stays = request.stays();
        let (unwanted, broken_off) = (CancellationToken::new(), CancellationToken::new());
        let asker = CancellationToken::new();
        let asking = asker.clone().drop_guard();
        // Dropped with this future: then its caller went away.
        let going = (!stays).then(|| unwanted.clone().drop_guard());
        let feeding = broken_off.clone().drop_guard();
        let input = request.stdin.then_some(Input { bytes: stdin, broken_off });
        let shared = Arc::clone(&self.shared);
        // Boxed, so that whoever calls this need not be as large.
        let work = Box::pin(async {
            // A task of its own: a command that is written down gets its supervisor, whatever becomes of the caller.
            let begun =
                task::spawn(async move { shared.begin(&request, input, unwanted, &asker).await }).await?;
            let accepted = ExecEvent::Accepted { sequence: begun.record.sequence, repeated: begun.repeated };
            // Somebody who went away is noticed all the same.
            drop(events.send(accepted).await);
            let command = match &begun.job {
                Some(job) if detached => job.started().await,
                None if detached => begun.record,
                job => self.shared.follow(job.as_ref(), &begun.record, &events, [0, 0]).await?,
            };
            Ok((command, begun.repeated))
        });
        let (command, repeated) = until_nobody_waits(&cancel, &events, work).await?;
        drop(going.map(DropGuard::disarm));
        drop(asking.disarm());
        drop(feeding.disarm());
        match command.state {
            CommandState::Finished { .. } | CommandState::Starting | CommandState::Running => {
                Ok(ExecOutcome { command, repeated })
            }
            CommandState::NeverStarted { reason } => {
                Err(Error::CommandLost { sequence: command.sequence, fate: Fate::NeverStarted, reason })
            }
            CommandState::Unknown { reason } => {
                Err(Error::CommandLost { sequence: command.sequence, fate: Fate::Unknown, reason })
            }
        }
    }

    /// The line of a command that this call would begin; none: it would get one that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: it would be refused.
    pub(crate) async fn would_begin(&self, request: &ExecRequest) -> Result<Option<String>, Error> {
        request.admit()?;
        self.shared.would_begin(request).await
    }

    /// The session over which commands run; waits for one that is being renewed.
    pub async fn current_session(&self) -> Result<GuestSession, Error> {
        self.shared.session().await
    }

    /// Counts what changes in the workspace.
    pub(crate) fn changes(&self) -> &Changes {
        &self.shared.changes
    }

    /// What is known of a command.
    pub async fn job(&self, sequence: u64) -> Result<CommandRecord, Error> {
        match self.shared.job(sequence) {
            Some(job) => Ok(job.snapshot()),
            None => self.shared.stored(sequence).await,
        }
    }

    /// The command of that idempotency key.
    pub async fn job_by_key(&self, key: &str) -> Result<Option<CommandRecord>, Error> {
        match self.shared.store.command_by_key(&self.shared.workspace, key).await? {
            Some(record) => self.shared.current(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Commands that have not ended, oldest first.
    pub fn jobs(&self) -> Vec<CommandRecord> {
        let jobs = self.shared.lock_jobs();
        jobs.values().map(|job| job.snapshot()).filter(|record| record.state.is_active()).collect()
    }

    /// Commands that have not ended, and the newest `most_ended` of the detached ones that have, oldest first.
    pub async fn jobs_and_ended(&self, most_ended: u32) -> Result<Vec<CommandRecord>, Error> {
        // First those that are written down: one that ends meanwhile is then in both, and not in none.
        let active = self.shared.store.active_commands(&self.shared.workspace).await?;
        let ended = self.shared.store.detached_commands(&self.shared.workspace, most_ended).await?;
        let mut jobs = BTreeMap::new();
        for record in active {
            let record = self.shared.current(record).await?;
            jobs.insert(record.sequence, record);
        }
        jobs.extend(ended.into_iter().map(|record| (record.sequence, record)));
        jobs.retain(|_, record| record.state.is_active() || (record.detached && most_ended > 0));
        Ok(jobs.into_values().collect())
    }

    /// How many have not ended.
    pub fn running(&self) -> usize {
        let is_active = |job: &&Arc<Job>| job.record.borrow().state.is_active();
        self.shared.lock_jobs().values().filter(is_active).count()
    }

    /// Resolves when none is running, and the guest has been let forget those that were; at once if that is so.
    pub async fn idle(&self) {
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.shared.lock_jobs().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Waits for the end of a command, and tells its output if asked to. Going away is no harm to it.
    pub async fn wait(&self, sequence: u64, io: Option<FollowIo>) -> Result<CommandRecord, Error> {
        let job = self.shared.job(sequence);
        let record = match &job {
            Some(job) => job.snapshot(),
            None => self.shared.stored(sequence).await?,
        };
        let Some(FollowIo { events, cancel, stdout_from, stderr_from }) = io else {
            return Ok(match job {
                Some(job) => job.ended().await,
                None => record,
            });
        };
        let follow = self.shared.follow(job.as_ref(), &record, &events, [stdout_from, stderr_from]);
        until_nobody_waits(&cancel, &events, follow).await
    }

    /// Sends a Linux signal to everything that a command started; whether that reached it. One that has not come to be
    /// started is not started then, unless it would live on with the signal.
    ///
    /// # Errors
    ///
    /// [`Error::GuestSilent`]: the guest does not answer, as when its machine stands still. The signal may arrive later.
    pub async fn kill(&self, sequence: u64, signal: i32) -> Result<bool, Error> {
        if !(1..=64).contains(&signal) {
            let reason = format!("{signal} is no signal: they are 1 to 64");
            return Err(Error::Invalid { field: "signal", reason });
        }
        let Some(job) = self.shared.job(sequence) else {
            return self.shared.stored(sequence).await.map(|_| false);
        };
        if !HARMLESS_SIGNALS.contains(&signal) && job.call_off() {
            job.ended().await;
            return Ok(true);
        }
        let operation = "signal the command";
        let signalled = async {
            if !matches!(job.started().await.state, CommandState::Running) {
                return Ok(false);
            }
            let session = self.shared.session().await?;
            match session.signal(&job_id(sequence), signal, true).await {
                Ok(()) => Ok(true),
                // It has ended meanwhile.
                Err(SessionError::Refused { code: FailureCode::UnknownProcess, .. }) => Ok(false),
                Err(source) => Err(Error::Guest { operation, source }),
            }
        };
        let silent =
            |_| Error::GuestSilent { operation, seconds: SIGNAL_PATIENCE.as_secs(), console: String::new() };
        tokio::time::timeout(SIGNAL_PATIENCE, signalled).await.map_err(silent)?
    }

    /// A page of the history.
    pub async fn logs(&self, query: CommandQuery) -> Result<CommandPage, Error> {
        let mut page = self.shared.store.commands(&self.shared.workspace, query).await?;
        for record in page.commands.iter_mut().filter(|record| record.state.is_active()) {
            *record = self.shared.current(record.clone()).await?;
        }
        Ok(page)
    }

    /// A part of an output, at most `most_bytes` of it.
    pub async fn output(
        &self,
        sequence: u64,
        kind: OutputKind,
        which: Excerption,
        most_bytes: u64,
    ) -> Result<Excerpt, Error> {
        let job = self.shared.job(sequence);
        let spool = match &job {
            Some(job) => Arc::clone(job.spool(kind)),
            None => {
                let record = self.shared.stored(sequence).await?;
                self.shared.ended_spool(&record, kind).await?
            }
        };
        let ended = job.is_none_or(|job| !job.record.borrow().state.is_active());
        excerpt::take(spool, which, most_bytes, ended).await
    }

    /// Forgets all commands that have ended, and their outputs. Returns how many there were.
    pub async fn clear(&self) -> Result<usize, Error> {
        let cleared = self.shared.store.clear_commands(&self.shared.workspace).await?;
        let count = cleared.len();
        let shared = Arc::clone(&self.shared);
        task::blocking(move || cleared.iter().try_for_each(|record| shared.remove_outputs(record.sequence)))
            .await?;
        Ok(count)
    }

    /// The commands run in this machine from now on.
    pub(crate) fn move_in(&self, stalls: watch::Receiver<Option<Stall>>) {
        self.shared.set_stalls(stalls);
    }

    /// There is a machine whose guest cannot be talked to before it goes on: takes up what is written down as running in
    /// it. [`Self::adopt`] follows.
    pub(crate) async fn expect(&self) -> Result<(), Error> {
        let _admission = self.shared.admission.lock().await;
        self.take_up_recorded().await
    }

    /// There is a guest to talk to: a new machine's, or the same one's after the session or the daemon was lost. Takes
    /// up what runs in it, and settles what does not.
    pub async fn adopt(&self, session: GuestSession) -> Result<(), Error> {
        let shared = &self.shared;
        let _admission = shared.admission.lock().await;
        shared.connect(Guest::Here(session.clone()));
        let listed = processes(&session).await?;
        self.take_up_recorded().await?;
        for process in listed {
            let Some(sequence) = sequence_of(&process.id) else { continue };
            if shared.job(sequence).is_none() {
                self.take_up(&session, sequence, &process.id).await?;
            }
        }
        Ok(())
    }

    /// There is a guest that goes on from a snapshot. Of the commands that ran when it was taken, takes up those that run in
    /// it: their keys name nothing any more; in one that was booted instead, all are lost. New commands count on from `next_sequence` at least.
    pub(crate) async fn restore(
        &self,
        session: GuestSession,
        then: &[CommandRecord],
        next_sequence: u64,
        was_booted: bool,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let _admission = shared.admission.lock().await;
        shared.store.number_from(&shared.workspace, next_sequence).await?;
        shared.connect(Guest::Here(session.clone()));
        let mut gone: BTreeMap<u64, &CommandRecord> =
            then.iter().map(|record| (record.sequence, record)).collect();
        for process in processes(&session).await? {
            let Some(sequence) = sequence_of(&process.id) else { continue };
            gone.remove(&sequence);
            let known = then.iter().find(|record| record.sequence == sequence && process.exit.is_none());
            let Some(record) = known else {
                // It had ended, or nobody knows what it is.
                let session = session.clone();
                tokio::spawn(async move { supervisor::clear(&session, &process.id).await });
                continue;
            };
            let record = restored(record, CommandState::Running);
            // Already there: an earlier daemon died on the way.
            if shared.store.insert_found_command(&shared.workspace, &record).await?
                && shared.job(sequence).is_none()
            {
                shared.supervise(record, Wanted::for_ever(), None, None).await?;
            }
        }
        // In one that was restored they began or ended at the moment of the capture.
        for record in gone.into_values().filter(|_| was_booted) {
            let reason =
                "it ran in the snapshot that its workspace went on from, and not after that".to_owned();
            let lost = restored(record, CommandState::Unknown { reason });
            shared.store.insert_found_command(&shared.workspace, &lost).await?;
        }
        self.take_up_recorded().await
    }

    /// The machine is saved: what runs goes on when it wakes up.
    pub(crate) fn suspend(&self) {
        self.shared.connect(Guest::Away);
    }

    /// The machine was saved for so long, which none of its commands noticed. [`Self::adopt`] follows.
    pub(crate) async fn note_sleep(&self, slept: Duration) -> Result<(), Error> {
        let _admission = self.shared.admission.lock().await;
        self.take_up_recorded().await?;
        let jobs: Vec<_> = self.shared.lock_jobs().values().cloned().collect();
        for job in jobs {
            job.record.send_modify(|record| record.slept += slept);
            self.shared.write_down(&job).await;
        }
        Ok(())
    }

    /// Takes up what is written down as running.
    async fn take_up_recorded(&self) -> Result<(), Error> {
        let shared = &self.shared;
        for record in shared.store.active_commands(&shared.workspace).await? {
            if shared.job(record.sequence).is_none() {
                info!(workspace = %shared.workspace, command = record.sequence, "takes up a command");
                shared.supervise(record, Wanted::for_ever(), None, None).await?;
            }
        }
        Ok(())
    }

    /// Takes up a process that no record says is running.
    async fn take_up(&self, session: &GuestSession, sequence: u64, process: &str) -> Result<(), Error> {
        let shared = &self.shared;
        let (known, record) = match shared.store.command(&shared.workspace, sequence).await? {
            Some(record) => (true, record),
            None => {
                let none = OutputRecord::default();
                (false, CommandRecord::lost(sequence, none, none, SystemTime::now()))
            }
        };
        // It was written down as ended, and the guest was not told to forget it.
        if !matches!(record.state, CommandState::Unknown { .. }) {
            let (session, process) = (session.clone(), process.to_owned());
            tokio::spawn(async move { supervisor::clear(&session, &process).await });
            return Ok(());
        }
        warn!(workspace = %shared.workspace, command = sequence, "takes up a command whose record was lost");
        let record = CommandRecord { state: CommandState::Running, ended_at: None, ..record };
        if known {
            shared.store.update_command(&shared.workspace, &record, Durability::Process).await?;
        } else {
            shared.store.insert_found_command(&shared.workspace, &record).await?;
        }
        shared.supervise(record, Wanted::for_ever(), None, None).await.map(drop)
    }

    /// The machine is gone: settles everything that ran in it, with what was received. Returns when that is written
    /// down.
    pub async fn machine_gone(&self, reason: &str) -> Result<(), Error> {
        let shared = &self.shared;
        shared.connect(Guest::Gone(reason.to_owned()));
        let _admission = shared.admission.lock().await;
        let jobs: Vec<_> = shared.lock_jobs().values().cloned().collect();
        for job in jobs {
            job.release();
            job.ended().await;
        }
        for record in shared.store.active_commands(&shared.workspace).await? {
            if shared.job(record.sequence).is_some() {
                // Its supervisor knows more and tries to write it down.
                continue;
            }
            let [stdout, stderr] = shared.kept(record.sequence).await?;
            let record = CommandRecord {
                state: CommandState::Unknown { reason: reason.to_owned() },
                ended_at: Some(SystemTime::now()),
                stdout,
                stderr,
                ..record
            };
            shared.store.update_command(&shared.workspace, &record, Durability::Power).await?;
        }
        Ok(())
    }
}

/// A command that ran in a snapshot, in the workspace that goes on from that: its key names nothing, and what it printed is not there.
fn restored(record: &CommandRecord, state: CommandState) -> CommandRecord {
    CommandRecord {
        ended_at: (!state.is_active()).then(SystemTime::now),
        state,
        idempotency_key: None,
        detached: true,
        restored: true,
        note: None,
        stdout: OutputRecord::default(),
        stderr: OutputRecord::default(),
        ..record.clone()
    }
}

/// What the guest knows of processes.
async fn processes(session: &GuestSession) -> Result<Vec<message::ProcessInfo>, Error> {
    let operation = "list what runs in it";
    let listed = tokio::time::timeout(RESTORE_PATIENCE, session.list()).await;
    let silent =
        |_| Error::GuestSilent { operation, seconds: RESTORE_PATIENCE.as_secs(), console: String::new() };
    let listed = listed.map_err(silent)?.map_err(|source| Error::Guest { operation, source })?;
    Ok(listed.processes)
}

/// Does `work` unless the one who asked goes away.
async fn until_nobody_waits<T>(
    cancel: &CancellationToken,
    events: &mpsc::Sender<ExecEvent>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        () = events.closed() => Err(Error::Cancelled),
        done = work => done,
    }
}
