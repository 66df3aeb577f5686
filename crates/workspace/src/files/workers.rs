//! Which worker does what: idle ones are kept, busy ones are not disturbed.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use pyro_protocol::{
    message::{Builtin, Overflow, Start, Stdin},
    work::work_request,
};
use tokio::sync::Semaphore;

use super::{
    conversation::{Conversation, Worker},
    error::FileError,
};
use crate::session::GuestSession;

/// Workers that may be busy at once; more would only make each slower.
const MOST_BUSY: usize = 8;
/// Idle workers that are kept.
const MOST_IDLE: usize = 2;
/// Bytes of answers that the agent keeps for a host that is slow to take them.
const SPOOL_BYTES: u64 = 1 << 20;
/// Before the number in the id of a worker's process.
const PROCESS_PREFIX: &str = "worker.";

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
}

impl FileWorkers {
    /// No worker is started until it is needed.
    pub(crate) fn new(session: GuestSession) -> Self {
        let pool = Pool {
            session,
            idle: Mutex::default(),
            busy: Arc::new(Semaphore::new(MOST_BUSY)),
            next: AtomicU64::new(0),
        };
        Self { pool: Arc::new(pool) }
    }

    /// Ends workers that served an earlier session. What they had committed is finished by the next worker.
    pub(crate) async fn end_stale(&self) -> Result<(), FileError> {
        const KILL: i32 = 9;
        for process in self.pool.session.list().await?.processes {
            if process.id.starts_with(PROCESS_PREFIX) {
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
            None => self.pool.start().await?,
        };
        Conversation::begin(Arc::clone(&self.pool), worker, turn, body).await
    }
}

impl Pool {
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
        // The session's own name keeps workers of earlier sessions apart from this one's.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{PROCESS_PREFIX}{}.{number}", self.session.name());
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
