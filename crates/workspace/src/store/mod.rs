//! The index of everything that lasts: one SQLite file with the records of workspaces and of their commands.
//!
//! ```text
//!                    ┌── newer ───> refused, left alone
//!  store.sqlite ─────┼── damaged ─> moved aside as store.sqlite.damaged-<time>, then as absent
//!                    ├── absent ──> made anew from the cards, workspaces/*/workspace.json
//!                    └── sound ───> migrated; cards that differ are written again
//! ```
//!
//! # Promises
//!
//! - A record is whole or absent, whenever a process dies: each method is one transaction, each card is written
//!   aside and renamed.
//! - What is [`Durability::Power`] outlives a power failure once its method has returned. What is
//!   [`Durability::Process`] outlives the process, and becomes durable with the next that is.
//! - Nothing is repaired silently: what is moved aside, made again or left out is logged.
//!
//! One thread owns the only connection and does what it is asked in the order it was asked. A method whose
//! future is dropped is done all the same.

mod calls;
mod card;
mod commands;
mod database;
mod error;
#[cfg(test)]
mod tests;
mod workspaces;

use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

pub use self::{
    commands::{CommandPage, CommandQuery, CommandsSince, Inserted},
    error::StoreError,
};
use crate::{error::Error, layout::Layout, task};

/// What a write outlives from the moment its method returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// A power failure. For what is written before it is acted on.
    Power,
    /// The death of this process. For what a power failure makes meaningless: of commands whose machine it ends.
    Process,
}

impl Durability {
    fn pragma(self) -> &'static str {
        match self {
            Self::Power => "FULL",
            Self::Process => "NORMAL",
        }
    }
}

/// The store. Cheap to clone; open until the last clone is dropped, which waits for what was asked before.
#[derive(Clone)]
pub struct Store {
    worker: Arc<Worker>,
    layout: Layout,
}

/// The thread of the connection.
struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // So that whoever opens the store next finds it closed.
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, which is made if absent and made again from its cards if damaged.
    ///
    /// # Errors
    ///
    /// [`StoreError::Newer`] when a newer release wrote it, and whatever keeps files from being used.
    pub async fn open(layout: &Layout) -> Result<Self, Error> {
        let layout = layout.clone();
        task::blocking(move || {
            let connection = database::open(&layout)?;
            let (jobs, queue) = mpsc::channel();
            let writer = Writer { connection, durability: Durability::Power };
            let started =
                thread::Builder::new().name("pyro-store".to_owned()).spawn(move || writer.work(&queue));
            let thread = started.map_err(|source| StoreError::File {
                operation: "start a thread for",
                path: layout.state().to_owned(),
                source,
            })?;
            Ok(Self { worker: Arc::new(Worker { jobs: Some(jobs), thread: Some(thread) }), layout })
        })
        .await
    }

    /// Runs `work` as one transaction: all of it or, when it fails, nothing. A card that it writes comes last.
    async fn transact<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            // Who asked may be gone.
            drop(answer.send(writer.transact(operation, durability, work)));
        });
        let sent = self.worker.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            return Err(StoreError::Closed.into());
        }
        Ok(answered.await.map_err(|_| StoreError::Closed)??)
    }
}

/// The connection and its thread.
struct Writer {
    connection: Connection,
    durability: Durability,
}

impl Writer {
    fn work(mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            job(&mut self);
        }
    }

    fn transact<T>(
        &mut self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failed = StoreError::database(operation);
        if self.durability != durability {
            self.connection.pragma_update(None, "synchronous", durability.pragma()).map_err(&failed)?;
            self.durability = durability;
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(&failed)?;
        Ok(done)
    }
}

/// Nanoseconds since the epoch, as the database keeps times; before it and beyond the year 2262, the nearest end.
fn to_ns(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The other way; never before the epoch.
fn from_ns(ns: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or_default())
}
