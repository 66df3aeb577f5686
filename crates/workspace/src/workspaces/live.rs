//! A machine that a workspace lives in, as operations use it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyro_engine::{Machine, MachineId};

use super::view::MachineView;
use crate::{
    error::Error,
    files::FileWorkers,
    greeting,
    machine_directory::MachineDirectory,
    machine_start::{Running, machine_lost},
    run::StartKind,
    session::{GuestSession, SessionError},
    task,
};

/// How long after its session a machine may end for both to be one event.
const END_AFTER_LOSS: Duration = Duration::from_secs(2);

/// The machine, its directory, and the talk with its guest. One for each machine, shared by all operations.
#[derive(Debug)]
pub(crate) struct LiveMachine {
    pub(super) machine: Arc<dyn Machine>,
    /// None if an earlier daemon started it.
    pub(super) start: Option<StartKind>,
    talk: Mutex<Talk>,
    directory: MachineDirectory,
}

/// What is new after each loss of the session.
#[derive(Clone, Debug)]
struct Talk {
    session: GuestSession,
    files: FileWorkers,
}

impl LiveMachine {
    /// A machine whose guest is talked to by `session`, and whose workers, if any are there, are `files`: there is one set
    /// of them for each session.
    pub(super) fn new(
        running: Running,
        start: Option<StartKind>,
        session: GuestSession,
        files: FileWorkers,
    ) -> Self {
        let Running { machine, directory, .. } = running;
        Self { machine, start, talk: Mutex::new(Talk { session, files }), directory }
    }

    pub(super) fn machine_id(&self) -> &MachineId {
        self.directory.id()
    }

    pub(super) fn view(&self) -> MachineView {
        MachineView { isolation: self.machine.isolation(), start: self.start, stall: self.machine.stall() }
    }

    /// The session with the guest.
    pub(crate) fn session(&self) -> GuestSession {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner).session.clone()
    }

    /// The workers that do everything with files.
    pub(crate) fn files(&self) -> FileWorkers {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner).files.clone()
    }

    /// Opens a new session after the old one was lost.
    pub(super) async fn reconnect(&self, release: &str) -> Result<GuestSession, Error> {
        let session = greeting::greet(self.machine.as_ref(), release, greeting::RESTORE_PATIENCE).await?;
        let talk = Talk::new(session.clone());
        talk.files.end_stale().await?;
        *self.talk.lock().unwrap_or_else(PoisonError::into_inner) = talk;
        Ok(session)
    }

    /// A session that breaks off is mostly the end of the machine, seen from the inside a moment earlier: then that is
    /// what happened.
    pub(crate) async fn blame(&self, error: Error) -> Error {
        if !matches!(&error, Error::Guest { source: SessionError::Lost { .. }, .. }) {
            return error;
        }
        match tokio::time::timeout(END_AFTER_LOSS, self.machine.exited()).await {
            Ok(report) => machine_lost(&report),
            Err(_) => error,
        }
    }

    /// Ends what is left of the VMM, then removes the machine's directory.
    pub(super) async fn end(&self) -> Result<(), Error> {
        self.machine.kill().await.map_err(|source| Error::Engine { operation: "end the machine", source })?;
        let path = self.directory.path().to_owned();
        task::blocking(move || crate::machine_directory::remove_ended(&path)).await?;
        self.directory.vacate();
        Ok(())
    }
}

impl Talk {
    fn new(session: GuestSession) -> Self {
        Self { files: FileWorkers::new(session.clone()), session }
    }
}
