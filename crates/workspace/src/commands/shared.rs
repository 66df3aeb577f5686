//! What the facade and the supervisors of one workspace's commands share: the guest, the jobs, the records and files.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use pyro_protocol::message;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    CommandLimits, CommandRecord, CommandState, ExecEvent, ExecRequest, OutputRecord, Redactor,
    job::{Connection, Guest, Job, Wanted},
    patience::Stalls,
    spool::{Follower, Piece, Place, Spool},
    supervisor::{Input, Supervisor},
};
use crate::{
    error::{Error, chain},
    fault::{self, FaultPoint},
    session::{GuestSession, OutputKind},
    store::{Durability, Inserted, Store},
    task,
    workspaces::{Changes, WorkspaceId},
};

/// Commands that are attended at once; each takes up to three of a session's 256 streams, and file workers take some.
pub(super) const COMMANDS_AT_ONCE: usize = 72;

/// What the facade and the supervisors share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) workspace: WorkspaceId,
    directory: PathBuf,
    limits: CommandLimits,
    redactor: Redactor,
    pub(super) connection: watch::Sender<Connection>,
    /// Tells when the machine stands still.
    stalls: Mutex<Option<Stalls>>,
    jobs: Mutex<BTreeMap<u64, Arc<Job>>>,
    /// Held from the look into the store until the job is there, so that nobody sees a record without its job.
    pub(super) admission: tokio::sync::Mutex<()>,
    /// One for each command that is attended.
    pub(super) turns: Arc<Semaphore>,
    /// A job ended.
    pub(super) ended: Notify,
    pub(super) closed: CancellationToken,
    /// Counts what changes in the workspace, commands first of all.
    pub(super) changes: Changes,
}

/// A command that is written down.
pub(super) struct Begun {
    pub(super) record: CommandRecord,
    /// None if it has ended.
    pub(super) job: Option<Arc<Job>>,
    pub(super) repeated: bool,
}

impl Shared {
    pub(super) fn new(
        store: Store,
        directory: PathBuf,
        workspace: WorkspaceId,
        limits: CommandLimits,
        redactor: Redactor,
    ) -> Self {
        Self {
            store,
            workspace,
            directory,
            limits,
            redactor,
            connection: watch::Sender::new(Connection::none()),
            stalls: Mutex::default(),
            jobs: Mutex::default(),
            admission: tokio::sync::Mutex::default(),
            turns: Arc::new(Semaphore::new(COMMANDS_AT_ONCE)),
            ended: Notify::new(),
            closed: CancellationToken::new(),
            changes: Changes::default(),
        }
    }

    pub(super) fn lock_jobs(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Job>>> {
        // No invariant spans a panic.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn job(&self, sequence: u64) -> Option<Arc<Job>> {
        self.lock_jobs().get(&sequence).cloned()
    }

    pub(super) fn forget(&self, job: &Job) {
        self.lock_jobs().remove(&job.sequence);
        self.ended.notify_waiters();
        self.changes.of_commands_and_files();
    }

    pub(super) fn set_stalls(&self, stalls: Stalls) {
        *self.stalls.lock().unwrap_or_else(PoisonError::into_inner) = Some(stalls);
    }

    /// Tells when the machine stands still, if it can.
    pub(super) fn stalls(&self) -> Option<Stalls> {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn connect(&self, guest: Guest) {
        self.connection.send_modify(|connection| {
            connection.generation += 1;
            connection.guest = guest;
        });
    }

    /// The session of now, or of soon.
    pub(super) async fn session(&self) -> Result<GuestSession, Error> {
        let mut connections = self.connection.subscribe();
        let known = |connection: &Connection| !matches!(connection.guest, Guest::Away);
        let connection = connections.wait_for(known).await.map(|connection| connection.guest.clone());
        match connection {
            Ok(Guest::Here(session)) => Ok(session),
            Ok(Guest::Gone(reason)) => Err(Error::WorkspaceMachineLost { reason, console: String::new() }),
            Ok(Guest::Away) | Err(_) => Err(Error::Cancelled),
        }
    }

    /// The record as the store has it.
    pub(super) async fn stored(&self, sequence: u64) -> Result<CommandRecord, Error> {
        let found = self.store.command(&self.workspace, sequence).await?;
        found.ok_or(Error::UnknownCommand { sequence })
    }

    /// The record as it is now.
    pub(super) async fn current(&self, stored: CommandRecord) -> Result<CommandRecord, Error> {
        match self.job(stored.sequence) {
            Some(job) => Ok(job.snapshot()),
            // It may have ended since it was read.
            None if stored.state.is_active() => self.stored(stored.sequence).await,
            None => Ok(stored),
        }
    }

    /// Writes the command down and gives it its supervisor; or finds the one that the key names. Nothing is begun for an
    /// `asker` that is cancelled before.
    pub(super) async fn begin(
        self: &Arc<Self>,
        request: &ExecRequest,
        input: Option<Input>,
        unwanted: CancellationToken,
        asker: &CancellationToken,
    ) -> Result<Begun, Error> {
        self.session().await?;
        let _admission = self.admission.lock().await;
        if asker.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let record = request.record(&self.redactor, SystemTime::now());
        let digest = record.request_digest.clone();
        if request.attach
            && request.idempotency_key.is_none()
            && let Some(job) = self.running_same(&digest)
        {
            return Ok(Begun { record: job.snapshot(), job: Some(job), repeated: true });
        }
        match self.store.insert_command(&self.workspace, record).await? {
            Inserted::Earlier(record) if record.request_digest != digest => Err(Error::KeyTaken {
                key: record.idempotency_key.unwrap_or_default(),
                sequence: record.sequence,
            }),
            Inserted::Earlier(record) => {
                let job = self.job(record.sequence);
                Ok(Begun { record: self.current(record).await?, job, repeated: true })
            }
            Inserted::New(record) => {
                let start = request.message(&record.job_id());
                let begun = async {
                    fault::reach(FaultPoint::CommandRecorded).map_err(|source| self.store_error(source))?;
                    let wanted = Wanted { stays: request.stays(), unwanted };
                    self.supervise(record.clone(), wanted, Some(start), input).await
                };
                match begun.await {
                    Ok(job) => Ok(Begun { record, job: Some(job), repeated: false }),
                    Err(error) => {
                        let state = CommandState::NeverStarted { reason: chain(&error) };
                        let record = CommandRecord { state, ended_at: Some(SystemTime::now()), ..record };
                        self.store.update_command(&self.workspace, &record, Durability::Process).await?;
                        Err(error)
                    }
                }
            }
        }
    }

    /// The line of a command that a call would begin; none: it would get one that is there.
    pub(super) async fn would_begin(&self, request: &ExecRequest) -> Result<Option<String>, Error> {
        let record = request.record(&self.redactor, SystemTime::now());
        let is_there = match &request.idempotency_key {
            Some(key) => self.store.command_by_key(&self.workspace, key).await?.is_some(),
            None => request.attach && self.running_same(&record.request_digest).is_some(),
        };
        Ok((!is_there).then_some(record.command))
    }

    /// A command that runs and is the same as what is asked, and that nobody's going ends.
    fn running_same(&self, digest: &str) -> Option<Arc<Job>> {
        let is_same = |job: &&Arc<Job>| {
            let record = job.record.borrow();
            job.stays && record.state.is_active() && record.request_digest == digest
        };
        self.lock_jobs().values().find(is_same).cloned()
    }

    /// Gives a command its supervisor.
    pub(super) async fn supervise(
        self: &Arc<Self>,
        record: CommandRecord,
        wanted: Wanted,
        start: Option<message::Start>,
        input: Option<Input>,
    ) -> Result<Arc<Job>, Error> {
        let shared = Arc::clone(self);
        let job = task::blocking(move || {
            Job::open(&shared.directory, record, shared.limits.spool, wanted)
                .map_err(|source| shared.store_error(source))
        })
        .await?;
        if start.is_none() {
            // An earlier daemon may have asked the guest.
            job.ask();
        }
        let job = Arc::new(job);
        self.lock_jobs().insert(job.sequence, Arc::clone(&job));
        self.changes.of_commands();
        tokio::spawn(Supervisor::new(Arc::clone(self), Arc::clone(&job), start, input).run());
        Ok(job)
    }

    /// Tells the outputs from the given offsets to their ends, and then the end.
    pub(super) async fn follow(
        self: &Arc<Self>,
        job: Option<&Arc<Job>>,
        record: &CommandRecord,
        events: &mpsc::Sender<ExecEvent>,
        from: [u64; 2],
    ) -> Result<CommandRecord, Error> {
        let spools = match job {
            Some(job) => [Arc::clone(&job.stdout), Arc::clone(&job.stderr)],
            None => [
                self.ended_spool(record, OutputKind::Stdout).await?,
                self.ended_spool(record, OutputKind::Stderr).await?,
            ],
        };
        let [stdout, stderr] = spools;
        let told = tokio::try_join!(
            tell(Follower::new(stdout, from[0]), OutputKind::Stdout, events),
            tell(Follower::new(stderr, from[1]), OutputKind::Stderr, events),
        );
        told.map_err(|source| self.store_error(source))?;
        Ok(match job {
            Some(job) => job.ended().await,
            None => record.clone(),
        })
    }

    /// An output to which nothing comes any more.
    pub(super) async fn ended_spool(
        self: &Arc<Self>,
        record: &CommandRecord,
        kind: OutputKind,
    ) -> Result<Arc<Spool>, Error> {
        let total_bytes = match kind {
            OutputKind::Stdout => record.stdout.total_bytes,
            OutputKind::Stderr => record.stderr.total_bytes,
        };
        let (shared, sequence) = (Arc::clone(self), record.sequence);
        task::blocking(move || {
            let place = Place::new(&shared.directory, sequence, kind);
            let spool = Spool::open_ended(place, shared.limits.spool, total_bytes);
            spool.map(Arc::new).map_err(|source| shared.store_error(source))
        })
        .await
    }

    /// What the files tell of the outputs of a command without a job.
    pub(super) async fn kept(self: &Arc<Self>, sequence: u64) -> Result<[OutputRecord; 2], Error> {
        let shared = Arc::clone(self);
        task::blocking(move || {
            let record = |kind| {
                let spool = Spool::open(Place::new(&shared.directory, sequence, kind), shared.limits.spool);
                spool.map(|spool| spool.record()).map_err(|source| shared.store_error(source))
            };
            Ok([record(OutputKind::Stdout)?, record(OutputKind::Stderr)?])
        })
        .await
    }

    /// Writes down what is known of a command that has not ended. If that fails, only the account of it suffers.
    pub(super) async fn write_down(&self, job: &Job) {
        let record = job.snapshot();
        if let Err(error) = self.store.update_command(&self.workspace, &record, Durability::Process).await {
            warn!(command = job.sequence, error = %chain(&error), "cannot write down how a command goes on");
        }
    }

    /// Removes the oldest outputs of ended commands until the rest is within the quota.
    pub(super) async fn keep_to_quota(self: &Arc<Self>) {
        let kept = async {
            let surplus =
                self.store.commands_over_quota(&self.workspace, self.limits.workspace_bytes).await?;
            for mut record in surplus {
                let (shared, sequence) = (Arc::clone(self), record.sequence);
                // Files first: whoever is killed in between finds them in the quota again.
                task::blocking(move || shared.remove_outputs(sequence)).await?;
                for output in [&mut record.stdout, &mut record.stderr] {
                    output.removed = output.kept_bytes > 0;
                    output.kept_bytes = 0;
                }
                self.store.update_command(&self.workspace, &record, Durability::Process).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = kept.await {
            warn!(workspace = %self.workspace, error = %chain(&error), "cannot make room for new outputs");
        }
    }

    pub(super) fn remove_outputs(&self, sequence: u64) -> Result<(), Error> {
        [OutputKind::Stdout, OutputKind::Stderr]
            .into_iter()
            .try_for_each(|kind| Place::new(&self.directory, sequence, kind).remove())
            .map_err(|source| self.store_error(source))
    }

    pub(super) fn store_error(&self, source: io::Error) -> Error {
        Error::Store { operation: "keep the outputs of commands in", path: self.directory.clone(), source }
    }
}

/// Tells one output from where its follower stands.
async fn tell(mut follower: Follower, kind: OutputKind, events: &mpsc::Sender<ExecEvent>) -> io::Result<()> {
    loop {
        let position = follower.position();
        let Some(piece) = follower.next().await? else { return Ok(()) };
        let event = match (piece, kind) {
            (Piece::Kept(bytes), OutputKind::Stdout) => ExecEvent::Stdout(bytes),
            (Piece::Kept(bytes), OutputKind::Stderr) => ExecEvent::Stderr(bytes),
            (Piece::Dropped { until }, output) => {
                ExecEvent::Dropped { output, bytes: until.saturating_sub(position) }
            }
        };
        if events.send(event).await.is_err() {
            // Noticed as a cancellation.
            return Ok(());
        }
    }
}
