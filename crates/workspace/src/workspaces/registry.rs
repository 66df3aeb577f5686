//! Who drives which workspace, and what each lets everybody see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, watch};

use super::{
    Call, WorkspaceId, WorkspaceRecord, WorkspaceState,
    driver::Request,
    in_use::{Held, UseCount},
    naming,
    view::Seen,
};
use crate::{commands::Commands, error::Error};

/// All workspaces of the store.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<BTreeMap<WorkspaceId, Entry>>);

/// One workspace.
#[derive(Debug)]
pub(super) enum Entry {
    /// It is being made and has no driver yet.
    Creating(Arc<WorkspaceRecord>),
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
        let entries = self.lock();
        let by_id = reference.parse().ok().and_then(|id: WorkspaceId| Some((entries.get(&id)?, id)));
        if let Some((entry, id)) = by_id
            && entry.with_record(|record| record.one_shot == one_shot)
        {
            return Ok(id);
        }
        let is_meant =
            |record: &WorkspaceRecord| record.one_shot == one_shot && naming::is_named(record, reference);
        let named = entries.iter().filter(|(_, entry)| entry.with_record(is_meant));
        naming::only_one(named.map(|(id, _)| id.clone()).collect(), reference)
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

    /// Counts one more that uses a workspace, until what is returned is dropped.
    pub(super) fn hold(&self, id: &WorkspaceId) -> Result<Held, Error> {
        match self.lock().get(id) {
            Some(Entry::Driven { uses, .. }) => Ok(uses.hold()),
            Some(Entry::Creating(record)) => Err(still_created(record)),
            None => Err(unknown(id)),
        }
    }

    /// The machines that were made for such a call and are there.
    pub(super) fn called(&self, call: &Call) -> Vec<(WorkspaceId, Arc<Commands>)> {
        let entries = self.lock();
        let of_that_call = |entry: &Entry| {
            entry.with_record(|record| {
                record.one_shot
                    && record.call.as_ref() == Some(call)
                    && matches!(record.state, WorkspaceState::Started { .. })
            })
        };
        let driven = |(id, entry): (&WorkspaceId, &Entry)| match entry {
            Entry::Driven { commands, .. } if of_that_call(entry) => Some((id.clone(), Arc::clone(commands))),
            _ => None,
        };
        entries.iter().filter_map(driven).collect()
    }

    pub(super) fn busy(&self) -> usize {
        let entries = self.lock();
        let is_busy = |entry: &&Entry| match entry {
            Entry::Creating(_) => true,
            // What sleeps does nothing, whatever runs in it.
            Entry::Driven { commands, uses, seen, .. } => {
                uses.count() > 0 || (commands.running() > 0 && seen.borrow().record.state.asleep().is_none())
            }
        };
        entries.values().filter(is_busy).count()
    }
}

impl Entry {
    /// Looks at the record where it is.
    fn with_record<T>(&self, look: impl FnOnce(&WorkspaceRecord) -> T) -> T {
        match self {
            Self::Creating(record) => look(record),
            Self::Driven { seen, .. } => look(&seen.borrow().record),
        }
    }

    fn seen(&self) -> Seen {
        match self {
            Self::Creating(record) => {
                Seen { record: Arc::clone(record), machine: None, snapshots: Arc::new([]) }
            }
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use pyro_engine::{MachineShape, Nic};

    use super::{super::SeedRecord, *};

    fn record(id: u8, name: Option<&str>, one_shot: bool) -> WorkspaceRecord {
        WorkspaceRecord {
            allow_host_compat: false,
            id: WorkspaceId::from_bytes([id; 6]),
            name: name.map(str::to_owned),
            labels: BTreeMap::new(),
            environment: "debian:12".to_owned(),
            environment_version: "1".to_owned(),
            boot_digest: "digest".to_owned(),
            kernel_arguments: Vec::new(),
            shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
            disk_bytes: 1 << 30,
            ttl: None,
            created_at: SystemTime::UNIX_EPOCH,
            last_activity_at: SystemTime::UNIX_EPOCH,
            one_shot,
            call: None,
            ends_with_callers: false,
            state: WorkspaceState::Creating { machine: None },
            seed: SeedRecord::default(),
            disk: Default::default(),
            lineage: Default::default(),
            idle_sleep: None,
            auto_checkpoint: false,
            last_error: None,
        }
    }

    #[test]
    fn an_id_is_found_before_a_name_and_a_name_only_if_one_has_it() {
        let registry = Registry::default();
        let id = |number: u8| WorkspaceId::from_bytes([number; 6]);
        for record in [
            record(1, Some("twice"), false),
            record(2, Some("twice"), false),
            // Somebody may name a workspace as another one's id.
            record(3, Some(id(1).as_str()), false),
            record(4, Some("once"), false),
            record(5, Some("once"), true),
        ] {
            registry.insert(record.id.clone(), Entry::Creating(record.into()));
        }
        let resolve = |reference: &str| registry.resolve(reference, false);
        assert_eq!(resolve(id(1).as_str()).unwrap(), id(1));
        assert_eq!(resolve(" once ").unwrap(), id(4));
        assert!(
            matches!(resolve("twice"), Err(Error::AmbiguousName { candidates, .. }) if candidates.len() == 2)
        );
        assert!(matches!(resolve("never"), Err(Error::UnknownWorkspace { .. })));
        assert!(matches!(resolve(id(5).as_str()), Err(Error::UnknownWorkspace { .. })));
        assert_eq!(registry.resolve(id(5).as_str(), true).unwrap(), id(5));
    }
}
