//! Workspaces: machines that stay, each with a disk of its own and a repository in it.
//!
//! ```text
//!          create                    stop · expiry · guest off · machine lost
//!   ────▶ creating ────▶ started ─────────▶ stopping ────▶ stopped
//!            │failed        ▲  │                              │ │
//!            ▼              │  │  start failed                │ │
//!          (gone)           │  │    ┌───────── starting ◀─────┘ │ start
//!                           └──│────┴─────────────┘             │
//!                              └──────▶ deleting ◀──────────────┘
//!                                          │
//!                                          ▼
//!                                        (gone)
//! ```
//!
//! One that is loaded from an [`archive`] goes from creating to stopped, one that is forked from creating to started. A reset leads to
//! started, from started, stopped and asleep:
//!
//! ```text
//!              sleep · unused                           used
//!   started ─────────────▶ falling asleep ────▶ asleep ───────▶ starting ────▶ started
//!      ▲                          │failed           ▲               │failed
//!      └──────────────────────────┘                 └───────────────┘
//! ```
//!
//! Every arrow is written down before it is acted on. A daemon that finds a record in a state between two others
//! brings it to one of them ([`reconcile`]): a half-made workspace goes, since nobody was told of it; a half-stopped
//! one is stopped; a half-deleted one goes; a started one is taken over together with its machine, or stopped with a
//! reason. No workspace is ever missing.
//!
//! One [`driver`] for each workspace is the only one that changes it. What may be asked of it when is the table in
//! [`state`]; how many there may be is decided by [`limits`].

mod archive;
mod call;
mod changes;
mod clock;
mod commands;
mod create;
mod disk;
mod driver;
mod files;
mod fork;
mod frozen_file;
mod gc;
mod guest_deadline;
mod id;
mod in_use;
mod kept_environment;
mod limits;
mod live;
#[cfg(test)]
mod loopback;
mod making;
mod merge_policy;
mod naming;
mod one_shot;
mod reconcile;
mod record;
mod registry;
mod revival;
mod room;
mod snapshot_requests;
mod snapshots;
mod state;
mod stopped_disk;
mod timeline;
mod view;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

pub use pyro_disk::{Entry as DiskEntry, Kind as DiskKind, Metadata as DiskMetadata};
use tokio::sync::oneshot;

pub use self::{
    archive::{ArchiveError, LoadEvent, LoadIo, LoadRequest, SaveRequest, Saved},
    call::{Call, Called, KeptCommand},
    changes::Revision,
    create::{CreateEvent, CreateIo, CreateRequest},
    driver::{Resumed, Undone},
    files::WorkspaceFiles,
    fork::{ForkRequest, Forked, MOST_FORKS},
    frozen_file::FrozenFileError,
    gc::{Garbage, GarbageKind},
    id::{LayerId, SnapshotId, WorkspaceId, WorkspaceIdError},
    limits::{Limits, RunUsage, Usage},
    naming::{LABEL_KEY_CHARS, NAME_CHARS, WorkspaceUpdate, label_key},
    one_shot::{OneShotOutcome, OneShots},
    record::{SeedMode, SeedRecord, StopReason, WorkspaceRecord, WorkspaceState},
    snapshot_requests::{SnapshotRequest, SnapshotView},
    snapshots::{
        BASELINE, Lineage, MemoryContent, MemoryStage, Parent, SNAPSHOT_COMMENT_CHARS, SNAPSHOT_NAME_CHARS,
        SavedMemory, SnapshotKind, SnapshotRecord, Step,
    },
    stopped_disk::{DiskExport, DiskExported, DiskForm, StoppedDisk},
    timeline::{Timeline, TimelineEntry},
    view::{MachineView, WorkspaceView},
};
pub(crate) use self::{
    call::KnownCall, changes::Changes, clock::HostClock, in_use::InUse, record::RECORD_VERSION,
    snapshots::memory::Memories,
};
use self::{
    driver::Request,
    registry::{Entry, Registry},
};
use crate::{
    commands::Commands, error::Error, host::Resources, layout::Layout, lock::FileLock,
    machine_directory::Spared, machine_start::reach, store::Store, task,
};

/// All workspaces of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workspaces {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    resources: Arc<Resources>,
    store: Store,
    limits: Limits,
    registry: Registry,
    runs: Arc<room::Runs>,
    /// Workspaces whose records cannot be read: nobody can use them, and nothing of them is removed.
    unreadable: HashSet<WorkspaceId>,
    /// Held while it is decided whether one more fits, and while left-overs are looked for.
    admission: tokio::sync::Mutex<()>,
    /// Calls that are being begun.
    turns: call::Turns,
    /// One process at a time drives the workspaces of a store; none: another one may.
    owner: Option<FileLock>,
}

/// Which workspaces to list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct WorkspaceFilter {
    /// Only with this name.
    pub name: Option<String>,
    /// Only with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only in this state: `created`, `started`, `stopped` or `sleeping`.
    pub state: Option<String>,
    /// One-shot machines instead of workspaces.
    pub one_shot: bool,
}

impl Workspaces {
    /// Takes the workspaces of the store into use, see [`reconcile`], if this process is to drive them; waits for another
    /// one that does.
    pub(crate) async fn open(resources: Arc<Resources>, limits: Limits, drive: bool) -> Result<Self, Error> {
        let owner = if drive { Some(reconcile::own(&resources.layout).await?) } else { None };
        let store = Store::open(&resources.layout).await?;
        let unreadable = store.unreadable_workspaces().await?;
        let registry = Registry::default();
        let (runs, admission) = Default::default();
        let turns = call::Turns::default();
        let shared = Shared { resources, store, limits, registry, runs, unreadable, admission, turns, owner };
        let workspaces = Self { shared: Arc::new(shared) };
        if workspaces.are_driven() {
            reconcile::reconcile(&workspaces.shared).await?;
        }
        Ok(workspaces)
    }

    /// Whether this process drives them.
    pub(crate) fn are_driven(&self) -> bool {
        self.shared.owner.is_some()
    }

    /// Machines that are not ended though nobody answers for them.
    pub(crate) fn spared(&self) -> Spared {
        match self.are_driven() {
            true => Spared::Of(self.shared.unreadable.clone()),
            false => Spared::Workspaces,
        }
    }

    /// Makes a workspace with a running machine. When the caller drops the future or cancels, what was made goes.
    pub async fn create(&self, request: CreateRequest, io: CreateIo) -> Result<WorkspaceView, Error> {
        let shared = Arc::clone(&self.shared);
        let cancel = io.cancel.clone().drop_guard();
        let created = task::spawn(async move { create::create(&shared, request, io).await }).await;
        drop(cancel.disarm());
        let id = created?;
        self.view_of(&id).await
    }

    /// Finds the one workspace of that id or name.
    pub fn resolve(&self, reference: &str) -> Result<WorkspaceId, Error> {
        self.shared.registry.resolve(reference, false)
    }

    /// Finds a workspace by id or name, or a one-shot machine by its id: commands are the same in both.
    fn resolve_any(&self, reference: &str) -> Result<WorkspaceId, Error> {
        let one_shot = |error| match error {
            Error::UnknownWorkspace { .. } => self.shared.registry.resolve(reference, true),
            other => Err(other),
        };
        self.resolve(reference).or_else(one_shot)
    }

    /// A workspace as it is now.
    pub async fn view(&self, reference: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(reference)?;
        self.view_of(&id).await
    }

    async fn view_of(&self, id: &WorkspaceId) -> Result<WorkspaceView, Error> {
        let seen = self.shared.registry.seen(id)?;
        let counts = self.shared.store.command_counts(id).await?;
        let layout = self.shared.resources.layout.clone();
        task::blocking(move || Ok(seen.view(counts, &layout))).await
    }

    /// Those that pass the filter, last used first.
    pub async fn list(&self, filter: &WorkspaceFilter) -> Result<Vec<WorkspaceView>, Error> {
        let mut counts = self.shared.store.all_command_counts().await?;
        let (mut all, layout) = (self.shared.registry.all(), self.shared.resources.layout.clone());
        all.retain(|seen| filter.accepts(&seen.record));
        let mut views = task::blocking(move || {
            let view = |seen: view::Seen| {
                let counts = counts.remove(&seen.record.id).unwrap_or_default();
                seen.view(counts, &layout)
            };
            Ok(all.into_iter().map(view).collect::<Vec<_>>())
        })
        .await?;
        views.sort_by(|a, b| {
            let (a, b) = (&a.record, &b.record);
            (b.last_activity_at, b.created_at)
                .cmp(&(a.last_activity_at, a.created_at))
                .then_with(|| a.id.cmp(&b.id))
        });
        Ok(views)
    }

    /// Changes name, labels, time to live or when it sleeps. A one-shot machine has only the third.
    pub async fn update(&self, reference: &str, update: WorkspaceUpdate) -> Result<WorkspaceView, Error> {
        let id = self.resolve_any(reference)?;
        self.ask(&id, |answer| Request::Update(update, answer)).await?;
        self.view_of(&id).await
    }

    /// Boots a stopped workspace from its own disk; nothing happens to a started one.
    pub async fn start(&self, reference: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(reference)?;
        self.boot(&id).await?;
        self.view_of(&id).await
    }

    /// Waits for its turn, in which the driver need not take part, then has it started.
    async fn boot(&self, id: &WorkspaceId) -> Result<(), Error> {
        let seen = self.shared.registry.seen(id)?;
        let turn = match seen.record.state.machine() {
            Some(_) => None,
            None => {
                // So that what cannot fit is refused at once; the driver decides again.
                self.shared.limits.admit_machine(&self.shared.usage().await?, seen.record.shape)?;
                Some(self.shared.resources.turn_to_start().await?)
            }
        };
        self.ask(id, |answer| Request::Start { turn, answer }).await
    }

    /// Shuts a workspace's machine down cleanly; its disk stays.
    pub async fn stop(&self, reference: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(reference)?;
        self.ask(&id, Request::Stop).await?;
        self.view_of(&id).await
    }

    /// Removes a workspace with all it has; with running commands only if forced.
    pub async fn delete(&self, reference: &str, force: bool) -> Result<WorkspaceId, Error> {
        let id = self.resolve(reference)?;
        self.ask(&id, |answer| Request::Delete { force, unless_used: false, answer }).await?;
        Ok(id)
    }

    /// The right to work in a workspace's guest, which counts as activity when it begins and when it ends. No change that
    /// was cut off is half done there any more.
    pub(crate) async fn use_machine(&self, id: &WorkspaceId) -> Result<InUse, Error> {
        let in_use = self.ask(id, Request::Use).await?;
        in_use.files().settled().await;
        Ok(in_use)
    }

    /// Something was done to a workspace that needs no machine and counts as activity.
    pub(crate) fn touch(&self, id: &WorkspaceId) {
        if let Ok(requests) = self.shared.registry.requests(id) {
            // A full queue is activity enough.
            drop(requests.try_send(Request::Touch));
        }
    }

    /// How far a workspace has come; waits until that is another revision than `after`, if one is given. That is no use of
    /// it.
    pub async fn changed(
        &self,
        reference: &str,
        after: Option<u64>,
    ) -> Result<(WorkspaceId, Revision), Error> {
        let id = self.resolve(reference)?;
        let mut changes = self.commands(&id)?.changes().subscribe();
        let is_new = |revision: &Revision| after.is_none_or(|after| revision.last != after);
        match changes.wait_for(is_new).await {
            Ok(revision) => Ok((id, *revision)),
            // It ends with the workspace, or with this daemon.
            Err(_) => self.shared.registry.seen(&id).and(Err(Error::Cancelled)),
        }
    }

    /// Everything about the commands of a workspace.
    pub(crate) fn commands(&self, id: &WorkspaceId) -> Result<Arc<Commands>, Error> {
        self.shared.registry.commands(id)
    }

    /// Started workspaces in which something is being done: commands or operations.
    pub(crate) fn busy(&self) -> usize {
        self.shared.registry.busy()
    }

    async fn ask<T>(
        &self,
        id: &WorkspaceId,
        request: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Request,
    ) -> Result<T, Error> {
        let requests = self.shared.registry.requests(id)?;
        let (answer, answered) = oneshot::channel();
        // Its driver ended: with the workspace, or by a fault of ours.
        let ended = || match self.shared.registry.seen(id) {
            Ok(_) => Error::Task(format!("the driver of workspace `{id}` ended")),
            Err(unknown) => unknown,
        };
        requests.send(request(answer)).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl WorkspaceFilter {
    fn accepts(&self, record: &WorkspaceRecord) -> bool {
        record.one_shot == self.one_shot
            && self.name.as_ref().is_none_or(|name| record.name.as_ref() == Some(name))
            && self.labels.iter().all(|(key, value)| record.labels.get(key) == Some(value))
            && self.state.as_ref().is_none_or(|state| record.state.name() == state)
    }
}

impl Shared {
    /// What is in use, with a look at every disk.
    async fn usage(&self) -> Result<Usage, Error> {
        let (all, layout) = (self.registry.all(), self.resources.layout.clone());
        let disk_bytes = task::blocking(move || {
            Ok(all.iter().map(|seen| view::used_bytes(&layout, &seen.record)).sum::<u64>())
        });
        let disk_bytes = disk_bytes.await?;
        // Counted last: whoever decides holds the admission, and memory is what it must not see too late.
        Ok(Usage { disk_bytes, ..self.usage_of_memory() })
    }

    /// The same without a look at any disk.
    fn usage_of_memory(&self) -> Usage {
        let mut usage = Usage { runs: self.runs.usage(), ..Usage::default() };
        self.registry.all().iter().for_each(|seen| usage.add(&seen.record, 0));
        usage
    }

    /// Has loaded memories of snapshots give way to machines that are admitted now, of so much memory. Those that machines have
    /// stay: nothing would get free.
    fn make_room(&self, usage: &Usage, memory_mib: u64) {
        let left_bytes = self.limits.memory_left_bytes(usage).saturating_sub(memory_mib << 20);
        let all = self.registry.all();
        let started = all.iter().filter(|seen| seen.record.state.machine().is_some());
        let in_use = started.filter_map(|seen| seen.record.lineage.origin.as_ref()?.deltas.last().cloned());
        let given_up = self.resources.memories.keep_within(left_bytes, in_use.collect());
        if !given_up.is_empty() {
            // Giving memory back takes a while.
            tokio::task::spawn_blocking(move || drop(given_up));
        }
    }

    /// Gives a workspace its driver.
    fn drive(
        self: &Arc<Self>,
        record: WorkspaceRecord,
        live: Option<live::LiveMachine>,
        commands: Arc<Commands>,
        shelf: snapshots::shelf::Shelf,
    ) {
        let (asking, requests) = tokio::sync::mpsc::channel(64);
        let machine = live.as_ref().map(live::LiveMachine::view);
        let seen =
            view::Seen { record: Arc::new(record.clone()), machine, snapshots: shelf.records().into() };
        let (seen, watch) = tokio::sync::watch::channel(seen);
        let uses = in_use::UseCount::default();
        let entry = Entry::Driven {
            requests: asking,
            seen: watch,
            commands: Arc::clone(&commands),
            uses: uses.clone(),
        };
        self.registry.insert(record.id.clone(), entry);
        let driver = driver::Driver {
            is_unwritten: false,
            is_adopted: live.as_ref().is_some_and(|live| live.session().is_some())
                && record.lineage.unsettled.is_none(),
            revival: revival::Revival::default(),
            // Told by the creation, or by an earlier daemon, some time ago.
            guest_deadline: guest_deadline::GuestDeadline::Unknown,
            no_expiry_before: None,
            no_sleep_before: None,
            snapshots: driver::Snapshots::new(shelf),
            record,
            shared: Arc::downgrade(self),
            resources: Arc::clone(&self.resources),
            store: self.store.clone(),
            commands,
            live: live.map(Arc::new),
            requests,
            seen,
            uses,
            disk_lent: stopped_disk::Lending::default(),
            clock: clock::WallClock::new(self.resources.clock.clone()),
        };
        tokio::spawn(driver.drive());
    }

    /// An id that no workspace has.
    fn new_id(&self) -> Result<WorkspaceId, Error> {
        loop {
            let id = WorkspaceId::random()?;
            if self.registry.seen(&id).is_err() {
                return Ok(id);
            }
        }
    }

    fn commands(&self, id: &WorkspaceId) -> Result<Arc<Commands>, Error> {
        Commands::open(self.store.clone(), self.resources.layout.workspace(id), id.clone()).map(Arc::new)
    }
}

/// Removes what is left of a workspace without a machine: its files, then its record.
async fn remove(layout: &Layout, store: &Store, id: &WorkspaceId) -> Result<(), Error> {
    let place = layout.workspace(id);
    let removed = place.clone();
    task::blocking(move || match std::fs::remove_dir_all(&removed) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Store { operation: "remove", path: removed, source: error })
        }
        _ => Ok(()),
    })
    .await?;
    reach(crate::fault::FaultPoint::WorkspaceFilesRemoved, &place)?;
    store.remove_workspace(id).await
}

/// Longest time to live that is not for ever: a hundred years.
pub const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
