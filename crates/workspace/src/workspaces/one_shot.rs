//! One-shot machines in single steps: workspaces without a name, for one command, that are not listed among the others.
//! What is past its time is deleted, not stopped, and also if it was stopped before.

use std::sync::Arc;

use tracing::warn;

use super::{
    Call, Called, CreateIo, CreateRequest, KnownCall, WorkspaceFilter, WorkspaceId, WorkspaceView,
    Workspaces, driver::Request,
};
use crate::{
    commands::{Commands, ExecIo, ExecOutcome, ExecRequest},
    error::{Error, chain},
};

/// The one-shot machines of a store.
#[derive(Clone, Debug)]
pub struct OneShots(Workspaces);

/// What became of a command and of the machine that was made for it.
#[derive(Debug)]
pub struct OneShotOutcome {
    /// The machine, as it was when the command began.
    pub machine: WorkspaceView,
    /// The command.
    pub command: ExecOutcome,
    /// Whether the machine is gone.
    pub cleanup: Result<(), Error>,
}

impl Workspaces {
    /// The one-shot machines of the store.
    pub fn one_shots(&self) -> OneShots {
        OneShots(self.clone())
    }
}

impl OneShots {
    /// Makes one; it runs at once.
    pub async fn create(&self, request: CreateRequest, io: CreateIo) -> Result<WorkspaceView, Error> {
        self.0.create(CreateRequest { one_shot: true, name: None, ..request }, io).await
    }

    /// The machine of a call: a new one, or that of an earlier call which is the same.
    ///
    /// # Errors
    ///
    /// [`Error::CallTaken`]: the key belongs to another call.
    pub async fn call(&self, request: CreateRequest, io: CreateIo) -> Result<Called<WorkspaceView>, Error> {
        let Some(call) = request.call.clone() else {
            return self.create(request, io).await.map(Called::Made);
        };
        let shared = &self.0.shared;
        let _turn = tokio::select! {
            turn = shared.turns.take(&call) => turn,
            () = io.cancel.cancelled() => return Err(Error::Cancelled),
        };
        let found = match &call.key {
            Some(key) => match shared.store.known_call(key).await? {
                Some(known) if known.digest != call.digest => {
                    return Err(Error::CallTaken { key: key.clone() });
                }
                Some(KnownCall { kept: Some(kept), .. }) => return Ok(Called::Gone(Box::new(kept))),
                Some(known) => self.machine_of(key, &known).await?,
                None => None,
            },
            None => self.running_for(&call).await?,
        };
        match found {
            Some(id) => self.0.view_of(&id).await.map(Called::Found),
            None => self.create(request, io).await.map(Called::Made),
        }
    }

    /// The machine that a key got; none if it was given no command before it went, so that the key is free.
    async fn machine_of(&self, key: &str, known: &KnownCall) -> Result<Option<WorkspaceId>, Error> {
        match self.resolve(&known.machine) {
            Ok(id) => Ok(Some(id)),
            // It went in this moment, and what became of its command is written down by now; or nobody knows it, and then
            // nobody knows what ran in it.
            Err(unknown) => match self.0.shared.store.known_call(key).await? {
                Some(_) => Err(unknown),
                None => Ok(None),
            },
        }
    }

    /// A machine for such a call whose command has not ended.
    async fn running_for(&self, call: &Call) -> Result<Option<WorkspaceId>, Error> {
        for (id, commands) in self.0.shared.registry.called(call) {
            let has_ended =
                commands.running() == 0 && self.0.shared.store.command_counts(&id).await?.total > 0;
            if !has_ended {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Finds one by its id.
    pub fn resolve(&self, id: &str) -> Result<WorkspaceId, Error> {
        self.0.shared.registry.resolve(id, true)
    }

    /// One as it is now.
    pub async fn view(&self, id: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(id)?;
        self.0.view_of(&id).await
    }

    /// Boots a stopped one from its own disk; nothing happens to a started one.
    pub async fn start(&self, id: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(id)?;
        self.0.boot(&id).await?;
        self.0.view_of(&id).await
    }

    /// Shuts one down; its disk stays.
    pub async fn stop(&self, id: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(id)?;
        self.0.ask(&id, Request::Stop).await?;
        self.0.view_of(&id).await
    }

    /// Deletes one, whatever runs in it.
    pub async fn delete(&self, id: &str) -> Result<WorkspaceId, Error> {
        let id = self.resolve(id)?;
        self.0.ask(&id, |answer| Request::Delete { force: true, unless_used: false, answer }).await?;
        Ok(id)
    }

    /// Deletes one unless somebody uses it now; whether it is gone.
    pub async fn delete_unless_used(&self, id: &str) -> Result<(WorkspaceId, bool), Error> {
        let id = self.resolve(id)?;
        let asked = |answer| Request::Delete { force: true, unless_used: true, answer };
        match self.0.ask(&id, asked).await {
            Ok(()) => Ok((id, true)),
            Err(Error::Busy { .. }) => Ok((id, false)),
            Err(error) => Err(error),
        }
    }

    /// Runs a command and deletes the machine when it has ended. If how it ended is not known, the machine stays.
    pub async fn exec(&self, id: &str, request: ExecRequest, io: ExecIo) -> Result<OneShotOutcome, Error> {
        let id = self.resolve(id)?;
        let in_use = self.0.use_machine(&id).await?;
        let commands: Arc<Commands> = self.0.commands(&id)?;
        let view = self.0.view_of(&id).await?;
        let outcome = match commands.exec(request, io).await {
            Ok(outcome) => outcome,
            Err(error) => return Err(in_use.blame(error).await),
        };
        drop(in_use);
        // What the command did is told whatever becomes of its machine.
        let cleanup = self.delete(id.as_str()).await.map(drop);
        if let Err(error) = &cleanup {
            warn!(workspace = %id, error = %chain(error), "cannot delete a one-shot machine; it goes at the end of its time");
        }
        Ok(OneShotOutcome { machine: view, command: outcome, cleanup })
    }

    /// Deletes those that are past their time and have not been yet, for a failure; which.
    pub async fn reap(&self) -> Result<Vec<WorkspaceId>, Error> {
        let filter = WorkspaceFilter { one_shot: true, ..WorkspaceFilter::default() };
        let now = std::time::SystemTime::now();
        let mut reaped = Vec::new();
        for view in self.0.list(&filter).await? {
            if view.record.remaining(now).is_some_and(|left| left.is_zero()) {
                match self.delete(view.record.id.as_str()).await {
                    Ok(id) => reaped.push(id),
                    // It went by itself in this moment.
                    Err(Error::UnknownWorkspace { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(reaped)
    }
}
