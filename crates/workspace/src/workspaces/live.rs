//! A machine that a workspace lives in, as operations use it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyro_engine::{ExitCause, Machine, MachineId, StallCause};

use super::view::MachineView;
use crate::{
    error::Error,
    files::FileWorkers,
    greeting,
    machine_directory::MachineDirectory,
    machine_start::Running,
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
    /// Why it was booted though there was something to restore.
    because: Option<String>,
    /// None: the machine stood still when an earlier daemon's was taken over, and nobody has talked to it since.
    talk: Mutex<Option<Talk>>,
    directory: MachineDirectory,
}

/// What is new after each loss of the session.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    session: GuestSession,
    /// The workers that do everything with files.
    pub(super) files: FileWorkers,
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
        let Running { machine, directory, because, .. } = running;
        Self { machine, start, because, talk: Mutex::new(Some(Talk { session, files })), directory }
    }

    /// A machine that was found standing still: its guest cannot be talked to before it goes on.
    pub(super) fn standing_still(running: Running) -> Self {
        let Running { machine, directory, .. } = running;
        Self { machine, start: None, because: None, talk: Mutex::new(None), directory }
    }

    pub(super) fn machine_id(&self) -> &MachineId {
        self.directory.id()
    }

    pub(super) fn view(&self) -> MachineView {
        MachineView {
            isolation: self.machine.isolation(),
            start: self.start,
            because: self.because.clone(),
            stall: self.machine.stall(),
        }
    }

    /// Why the machine stands still, if it does.
    pub(super) fn stall(&self) -> Option<StallCause> {
        self.machine.stall().map(|stall| stall.cause)
    }

    /// Resolves when the machine stands still; never for one that ends before.
    pub(super) async fn stands_still(&self) -> StallCause {
        match self.machine.stalls().wait_for(Option::is_some).await.map(|stall| *stall) {
            Ok(Some(stall)) => stall.cause,
            _ => std::future::pending().await,
        }
    }

    /// The session with the guest, if one was ever opened. It may be over.
    pub(super) fn session(&self) -> Option<GuestSession> {
        self.talk().map(|talk| talk.session)
    }

    /// The talk with the guest, if there ever was one.
    pub(super) fn talk(&self) -> Option<Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Resolves when there is no session with the guest any more, or not yet.
    pub(super) async fn is_without_session(&self) {
        if let Some(session) = self.session() {
            drop(session.ended().await);
        }
    }

    /// The session, or a new one if it was lost.
    pub(super) async fn reconnect(&self, release: &str) -> Result<GuestSession, Error> {
        if let Some(session) = self.session().filter(|session| !session.is_over()) {
            return Ok(session);
        }
        let session = greeting::greet(self.machine.as_ref(), release, greeting::RESTORE_PATIENCE).await?;
        // Whoever held it may be gone.
        session.let_go();
        *self.talk.lock().unwrap_or_else(PoisonError::into_inner) = Some(Talk::new(session.clone()));
        self.tell_time();
        Ok(session)
    }

    /// Gives the guest the host's time, if anybody talks to it.
    pub(super) fn tell_time(&self) {
        if let Some(session) = self.session() {
            session.tell_time();
        }
    }

    /// A session that breaks off is mostly the end of the machine, seen from the inside a moment earlier: then that is
    /// what happened.
    pub(crate) async fn blame(&self, error: Error) -> Error {
        if !matches!(&error, Error::Guest { source: SessionError::Lost { .. }, .. }) {
            return error;
        }
        match tokio::time::timeout(END_AFTER_LOSS, self.machine.exited()).await {
            Ok(report) => Error::WorkspaceMachineLost {
                reason: report.cause.to_string(),
                console: greeting::quoted(&report.last_output),
            },
            Err(_) => error,
        }
    }

    /// Whether the machine ends, now that its session is lost, and not because it was given up.
    pub(super) async fn ends_by_itself(&self) -> bool {
        let ended = tokio::time::timeout(END_AFTER_LOSS, self.machine.exited()).await;
        ended.is_ok_and(|report| report.cause != ExitCause::Killed)
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
        Self { files: FileWorkers::taking_over(session.clone()), session }
    }
}
