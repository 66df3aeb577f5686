//! Who drives which workspace, and what each lets everybody see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};

use super::{WorkspaceId, WorkspaceRecord, driver::Request, in_use::UseCount, naming, view::Seen};
use crate::{commands::Commands, error::Error};

/// All workspaces of the store.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<BTreeMap<WorkspaceId, Entry>>);

/// One workspace.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is being made and has no driver yet.
    Creating(Box<WorkspaceRecord>),
    /// It has a driver.
    Driven {
        requests: mpsc::Sender<Request>,
        seen: watch::Receiver<Seen>,
        commands: Arc<Commands>,
        uses: UseCount,
    },
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<WorkspaceId, Entry>> {
        // Every change is one call on the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, id: WorkspaceId, entry: Entry) {
        self.lock().insert(id, entry);
    }

    pub(super) fn remove(&self, id: &WorkspaceId) {
        self.lock().remove(id);
    }

    /// Finds a workspace, or a one-shot machine, by its id or its name.
    pub(super) fn resolve(&self, reference: &str, one_shot: bool) -> Result<WorkspaceId, Error> {
        let all = self.all().into_iter().map(|seen| seen.record);
        let records: Vec<WorkspaceRecord> = all.filter(|record| record.one_shot == one_shot).collect();
        naming::resolve(records.iter(), reference)
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.lock().values().map(Entry::seen).collect()
    }

    pub(super) fn seen(&self, id: &WorkspaceId) -> Result<Seen, Error> {
        self.lock().get(id).map(Entry::seen).ok_or_else(|| unknown(id))
    }

    /// What is seen of a workspace that has a driver, from now on.
    #[cfg(test)]
    pub(super) fn watch(&self, id: &WorkspaceId) -> watch::Receiver<Seen> {
        match self.lock().get(id) {
            Some(Entry::Driven { seen, .. }) => seen.clone(),
            other => panic!("{other:?} has no driver"),
        }
    }

    pub(super) fn requests(&self, id: &WorkspaceId) -> Result<mpsc::Sender<Request>, Error> {
        match self.lock().get(id) {
            Some(Entry::Driven { requests, .. }) => Ok(requests.clone()),
            Some(Entry::Creating(record)) => Err(still_created(record)),
            None => Err(unknown(id)),
        }
    }

    pub(super) fn commands(&self, id: &WorkspaceId) -> Result<Arc<Commands>, Error> {
        match self.lock().get(id) {
            Some(Entry::Driven { commands, .. }) => Ok(Arc::clone(commands)),
            Some(Entry::Creating(record)) => Err(still_created(record)),
            None => Err(unknown(id)),
        }
    }

    pub(super) fn busy(&self) -> usize {
        let entries = self.lock();
        let is_busy = |entry: &&Entry| match entry {
            Entry::Creating(_) => true,
            Entry::Driven { commands, uses, .. } => uses.count() > 0 || commands.running() > 0,
        };
        entries.values().filter(is_busy).count()
    }
}

impl Entry {
    fn seen(&self) -> Seen {
        match self {
            Self::Creating(record) => Seen { record: (**record).clone(), machine: None },
            Self::Driven { seen, .. } => seen.borrow().clone(),
        }
    }
}

fn unknown(id: &WorkspaceId) -> Error {
    Error::UnknownWorkspace { reference: id.to_string() }
}

fn still_created(record: &WorkspaceRecord) -> Error {
    Error::WrongState {
        operation: "use it",
        workspace: record.id.clone(),
        state: record.state.name(),
        reason: "is still being created".to_owned(),
    }
}
