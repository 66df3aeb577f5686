//! A command that has not ended, as everybody but its supervisor sees it; and the guest that it runs in.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    CommandRecord, CommandState,
    spool::{Place, Spool, SpoolLimits},
};
use crate::session::{GuestSession, OutputKind};

/// The guest of a workspace, as far as it can be reached.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Counts the changes.
    pub(super) generation: u64,
    pub(super) guest: Guest,
}

/// Whether there is a guest to talk to.
#[derive(Clone, Debug)]
pub(super) enum Guest {
    /// Not yet, or not now.
    Away,
    /// Over this session, for as long as it holds.
    Here(GuestSession),
    /// Its machine is gone, for this reason.
    Gone(String),
}

impl Connection {
    pub(super) fn none() -> Self {
        Self { generation: 0, guest: Guest::Away }
    }
}

/// For how long somebody wants a command.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Whether it goes on when the caller that began it goes.
    pub(super) stays: bool,
    /// Nobody wants it any more: it is to be killed.
    pub(super) unwanted: CancellationToken,
}

impl Wanted {
    /// One whose caller has gone already.
    pub(super) fn for_ever() -> Self {
        Self { stays: true, unwanted: CancellationToken::new() }
    }
}

/// A command that has not ended.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) sequence: u64,
    /// What is known of it; it ends as its last value says.
    pub(super) record: watch::Sender<CommandRecord>,
    pub(super) stdout: Arc<Spool>,
    pub(super) stderr: Arc<Spool>,
    /// As in [`Wanted`], both.
    pub(super) stays: bool,
    pub(super) unwanted: CancellationToken,
    errand: Mutex<Errand>,
}

/// Whether the guest was asked to start a command: whoever comes first, its supervisor or somebody who wants it ended,
/// decides.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Errand {
    #[default]
    Waiting,
    Asked,
    CalledOff,
}

impl Job {
    /// A command whose outputs go on behind what is kept of them.
    pub(super) fn open(
        workspace: &Path,
        record: CommandRecord,
        limits: SpoolLimits,
        Wanted { stays, unwanted }: Wanted,
    ) -> io::Result<Self> {
        let spool = |kind| Spool::open(Place::new(workspace, record.sequence, kind), limits).map(Arc::new);
        Ok(Self {
            sequence: record.sequence,
            stdout: spool(OutputKind::Stdout)?,
            stderr: spool(OutputKind::Stderr)?,
            record: watch::Sender::new(record),
            stays,
            unwanted,
            errand: Mutex::default(),
        })
    }

    /// The guest is about to be asked; whether it still may be.
    pub(super) fn ask(&self) -> bool {
        let mut errand = self.errand();
        if *errand == Errand::Waiting {
            *errand = Errand::Asked;
        }
        *errand == Errand::Asked
    }

    /// The guest cannot have heard it.
    pub(super) fn retract(&self) {
        *self.errand() = Errand::Waiting;
    }

    /// Ends a command that has not come to be started yet; whether that was so.
    pub(super) fn call_off(&self) -> bool {
        let mut errand = self.errand();
        let is_starting = matches!(self.record.borrow().state, CommandState::Starting);
        if !is_starting || *errand == Errand::Asked {
            return false;
        }
        *errand = Errand::CalledOff;
        self.unwanted.cancel();
        true
    }

    pub(super) fn is_called_off(&self) -> bool {
        *self.errand() == Errand::CalledOff
    }

    fn errand(&self) -> MutexGuard<'_, Errand> {
        // Every change is one assignment.
        self.errand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spool(&self, kind: OutputKind) -> &Arc<Spool> {
        match kind {
            OutputKind::Stdout => &self.stdout,
            OutputKind::Stderr => &self.stderr,
        }
    }

    /// What is known of it now, with what there is of its outputs.
    pub(super) fn snapshot(&self) -> CommandRecord {
        let record = self.record.borrow().clone();
        if record.state.is_active() {
            CommandRecord { stdout: self.stdout.record(), stderr: self.stderr.record(), ..record }
        } else {
            record
        }
    }

    /// Waits until the guest has answered.
    pub(super) async fn started(&self) -> CommandRecord {
        let mut record = self.record.subscribe();
        let waited = record.wait_for(|record| !matches!(record.state, CommandState::Starting)).await;
        // The sender is ours.
        waited.map_or_else(|_| self.snapshot(), |record| record.clone())
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> CommandRecord {
        let mut record = self.record.subscribe();
        let waited = record.wait_for(|record| !record.state.is_active()).await;
        waited.map_or_else(|_| self.snapshot(), |record| record.clone())
    }

    /// Lets go of everybody who follows it too slowly.
    pub(super) fn release(&self) {
        self.stdout.release();
        self.stderr.release();
    }
}
