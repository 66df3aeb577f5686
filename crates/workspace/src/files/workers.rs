//! Which worker does what: idle ones are kept, busy ones are not disturbed.
//!
//! A guest in which others worked before may have a change in it that is half done. It is settled first, by a worker, and
//! whoever wants to work there waits for that ([`FileWorkers::settled`]). Programs that run already are bystanders. A machine that is
//! captured while its workers are at rest goes on without that.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pyro_protocol::{
    message::{Builtin, Overflow, Start, Stdin},
    work::{PathRef, work_request},
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::{
    conversation::{Conversation, Worker},
    error::FileError,
};
use crate::{error::chain, session::GuestSession};

/// Workers that may be busy at once; more would only make each slower.
const MOST_BUSY: usize = 8;
/// Idle workers that are kept.
const MOST_IDLE: usize = 2;
/// Bytes of answers that the agent keeps for a host that is slow to take them.
const SPOOL_BYTES: u64 = 1 << 20;
/// Before the number in the id of a worker's process.
const PROCESS_PREFIX: &str = "worker.";
/// How long a guest may take to settle what others left half done. A machine that stands still, or a program that takes
/// everything, must not keep its owner out for ever; the next worker tries again.
const SETTLE_PATIENCE: Duration = Duration::from_secs(120);

/// The file workers of one guest. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct FileWorkers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) session: GuestSession,
    idle: Mutex<Vec<Worker>>,
    busy: Arc<Semaphore>,
    next: AtomicU64,
    /// Whether that came to a good end; none: not tried yet.
    settled: OnceCell<bool>,
    /// Workers of earlier sessions have ended.
    alone: OnceCell<()>,
}

impl FileWorkers {
    /// Those of a new guest, in which nobody has worked. None is started until it is needed.
    pub(crate) fn new(session: GuestSession) -> Self {
        Self::with(session, OnceCell::new_with(Some(true)), OnceCell::new_with(Some(())))
    }

    /// Those of a guest that goes on from a moment at which its workers were [at rest](Self::rest): nothing is half done there.
    pub(crate) fn going_on(session: GuestSession) -> Self {
        Self::with(session, OnceCell::new_with(Some(true)), OnceCell::new())
    }

    /// Lets no work begin until it is dropped; none if there is work under way, or something half done.
    pub(crate) fn rest(&self) -> Option<OwnedSemaphorePermit> {
        let most = u32::try_from(MOST_BUSY).ok()?;
        let resting = Arc::clone(&self.pool.busy).try_acquire_many_owned(most).ok()?;
        self.pool.settled.get().is_some_and(|is_settled| *is_settled).then_some(resting)
    }

    /// Those of a guest that an earlier session served, or whose disk an earlier machine had: what was left half done there
    /// begins to be settled.
    pub(crate) fn taking_over(session: GuestSession) -> Self {
        let workers = Self::with(session, OnceCell::new(), OnceCell::new());
        let settling = workers.clone();
        tokio::spawn(async move { settling.settled().await });
        workers
    }

    fn with(session: GuestSession, settled: OnceCell<bool>, alone: OnceCell<()>) -> Self {
        let pool = Pool {
            session,
            idle: Mutex::default(),
            busy: Arc::new(Semaphore::new(MOST_BUSY)),
            next: AtomicU64::new(0),
            settled,
            alone,
        };
        Self { pool: Arc::new(pool) }
    }

    /// Returns when no change of an earlier worker is half done any more. Where that cannot be, the next change says why.
    pub(crate) async fn settled(&self) {
        let settle = || async {
            let settled = tokio::time::timeout(SETTLE_PATIENCE, self.settle()).await;
            match &settled {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(error = %chain(error), "cannot settle the files of a guest"),
                Err(_) => warn!("a guest takes too long to settle its files"),
            }
            matches!(settled, Ok(Ok(())))
        };
        self.pool.settled.get_or_init(settle).await;
    }

    async fn settle(&self) -> Result<(), FileError> {
        // Before its first answer a worker completes or undoes what a dead one left.
        self.stat(PathRef::default()).await.map(drop)
    }

    /// Ends workers that served an earlier session, which may be in the midst of a change.
    async fn end_stale(&self) -> Result<(), FileError> {
        const KILL: i32 = 9;
        let own = self.pool.own_prefix();
        for process in self.pool.session.list().await?.processes {
            if process.id.starts_with(PROCESS_PREFIX) && !process.id.starts_with(&own) {
                // It may end in this moment.
                drop(self.pool.session.signal(&process.id, KILL, true).await);
                drop(self.pool.session.wait(&process.id).await);
                drop(self.pool.session.remove(&process.id).await);
            }
        }
        Ok(())
    }

    /// Begins a request with a worker that has nothing else to do.
    pub(super) async fn ask(&self, body: work_request::Body) -> Result<Conversation, FileError> {
        // Never closed.
        let turn = Arc::clone(&self.pool.busy).acquire_owned().await.map_err(|_| FileError::Ended)?;
        let worker = match self.pool.take_idle() {
            Some(worker) => worker,
            None => {
                self.pool.alone.get_or_try_init(|| self.end_stale()).await?;
                self.pool.start().await?
            }
        };
        Conversation::begin(Arc::clone(&self.pool), worker, turn, body).await
    }
}

impl Pool {
    /// The session's own name keeps workers of earlier sessions apart from this one's.
    fn own_prefix(&self) -> String {
        format!("{PROCESS_PREFIX}{}.", self.session.name())
    }

    fn take_idle(&self) -> Option<Worker> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Takes a worker back that has said its last word.
    pub(super) fn give_back(&self, worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(worker);
        } else {
            drop(idle);
            // Its input ends, and so does it.
            worker.dismiss(&self.session);
        }
    }

    async fn start(&self) -> Result<Worker, FileError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{number}", self.own_prefix());
        let start = Start {
            id: id.clone(),
            builtin: Builtin::FileWorker.into(),
            stdin: Stdin::Stream.into(),
            overflow: Overflow::Block.into(),
            spool_bytes: SPOOL_BYTES,
            ..Start::default()
        };
        // All in one flight.
        let started = self.session.start(start);
        let worker = Worker::open(&self.session, id);
        started.await?;
        Ok(worker)
    }
}
