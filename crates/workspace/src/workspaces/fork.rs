//! Makes workspaces that begin from the state of another one: all that are asked for, or none.
//!
//! ```text
//!  parent's snapshot ─ admit all ─ records ─ share files ─ start machines, side by side ─ they are workspaces
//! ```
//!
//! Each has the parent's memory, which all share until it is written to, and its layers of disk; before any command runs in it, its
//! guest gets an identity of its own. The state that it begins from is its baseline. Whatever fails or is cancelled on the way,
//! everything that was made goes again; whatever dies, the next daemon does that.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    Shared, WorkspaceId, WorkspaceRecord, WorkspaceState, Workspaces,
    disk::WorkspaceDisk,
    driver::Request,
    guest_deadline::life_in_guest,
    live::LiveMachine,
    naming,
    registry::Entry,
    snapshots::{
        BASELINE, Lineage, Parent, SnapshotKind, SnapshotRecord,
        capture::Wanted,
        restore,
        shelf::{Shelf, SnapshotFiles},
    },
    view::WorkspaceView,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    files::FileWorkers,
    machine_start::{GuestIdentity, Running, reach},
    run::StartKind,
    task,
};

/// Workspaces that one request may ask for.
pub const MOST_FORKS: u32 = 100;

/// Workspaces to make from another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkRequest {
    /// From which of its snapshots; none: from how it is now.
    pub snapshot: Option<String>,
    /// How many, from 1 to [`MOST_FORKS`].
    pub count: u32,
    /// Before the number in their names; none: they have no names.
    pub name_prefix: Option<String>,
    /// Labels beside those of the parent.
    pub labels: BTreeMap<String, String>,
}

/// Workspaces were made from another one.
#[derive(Clone, Debug)]
pub struct Forked {
    /// They, in the order of their numbers.
    pub workspaces: Vec<WorkspaceView>,
    /// Whether they go on with the parent's memory, or were booted from its disk.
    pub start: StartKind,
    /// Why they were booted though there might have been a memory.
    pub because: Option<String>,
}

impl Workspaces {
    /// Makes workspaces that begin from the state of this one: all, or none. When the caller drops the future or cancels, what was
    /// made goes.
    pub async fn fork(
        &self,
        reference: &str,
        request: ForkRequest,
        cancel: CancellationToken,
    ) -> Result<Forked, Error> {
        let parent = self.resolve(reference)?;
        let names = names(&request)?;
        let labels = naming::labels(&request.labels)?;
        let (this, guard) = (self.clone(), cancel.clone().drop_guard());
        let forked = task::spawn(async move {
            // Refused before the parent is even paused; decided again below.
            let record = this.shared.registry.seen(&parent)?.record;
            let usage = this.shared.usage();
            this.shared.limits.admit_workspaces(&usage, record.shape, names.len())?;
            let snapshot = this.fork_point(&parent, request.snapshot).await?;
            let forked = fork(&this.shared, &parent, &snapshot, &names, &labels, &cancel).await;
            if let Ok(requests) = this.shared.registry.requests(&parent) {
                // Otherwise the next daemon removes it.
                drop(requests.send(Request::Forked(snapshot.id.clone())).await);
            }
            forked
        })
        .await;
        drop(guard.disarm());
        let Begun { ids, start, because } = forked?;
        let mut workspaces = Vec::new();
        for id in &ids {
            workspaces.push(self.view_of(id).await?);
        }
        Ok(Forked { workspaces, start, because })
    }

    async fn fork_point(
        &self,
        parent: &WorkspaceId,
        snapshot: Option<String>,
    ) -> Result<Arc<SnapshotRecord>, Error> {
        match snapshot {
            None => {
                let wanted = Wanted::unnamed(SnapshotKind::Fork);
                self.ask(parent, |answer| Request::Snapshot(wanted, answer)).await
            }
            Some(name) => {
                let found = self.shared.registry.seen(parent)?.find_snapshot(&name)?;
                self.touch(parent);
                Ok(found)
            }
        }
    }
}

/// One for each workspace that is asked for.
fn names(request: &ForkRequest) -> Result<Vec<Option<String>>, Error> {
    if request.count == 0 || request.count > MOST_FORKS {
        let reason = format!("{} is not from 1 to {MOST_FORKS}", request.count);
        return Err(Error::Invalid { field: "count", reason });
    }
    let name = |number| {
        let prefix = request.name_prefix.as_deref();
        prefix.map(|prefix| naming::name(&format!("{}-{number}", naming::name(prefix)?))).transpose()
    };
    (1..=request.count).map(name).collect()
}

/// Workspaces that were begun.
struct Begun {
    ids: Vec<WorkspaceId>,
    start: StartKind,
    because: Option<String>,
}

async fn fork(
    shared: &Arc<Shared>,
    parent: &WorkspaceId,
    snapshot: &Arc<SnapshotRecord>,
    names: &[Option<String>],
    labels: &BTreeMap<String, String>,
    cancel: &CancellationToken,
) -> Result<Begun, Error> {
    let records = enter(shared, parent, snapshot, names, labels).await?;
    let ids: Vec<WorkspaceId> = records.iter().map(|record| record.id.clone()).collect();
    let mut twins: Vec<Twin> = records
        .into_iter()
        .map(|record| Twin { shared: Arc::clone(shared), record, running: None })
        .collect();
    let made = async {
        reach(FaultPoint::ForkRecorded, &shared.resources.layout.workspace(parent))?;
        for twin in &mut twins {
            twin.share(parent, snapshot).await?;
        }
        reach(FaultPoint::ForkShared, &shared.resources.layout.workspace(parent))?;
        let mut starting = JoinSet::new();
        for (place, mut twin) in std::mem::take(&mut twins).into_iter().enumerate() {
            let (snapshot, cancel) = (Arc::clone(snapshot), cancel.clone());
            starting.spawn(async move {
                let started = tokio::select! {
                    biased;
                    started = twin.start(&snapshot) => started,
                    () = cancel.cancelled() => Err(Error::Cancelled),
                };
                (place, twin, started)
            });
        }
        let (mut started, mut failed) = (Vec::new(), None);
        while let Some(joined) = starting.join_next().await {
            let (place, twin, outcome) = joined.map_err(|error| Error::Task(error.to_string()))?;
            match outcome {
                Ok(live) => started.push((place, twin, live)),
                Err(error) => {
                    failed.get_or_insert(error);
                    twins.push(twin);
                }
            }
        }
        started.sort_by_key(|(place, ..)| *place);
        if failed.is_none() {
            failed = reach(FaultPoint::ForkStarted, &shared.resources.layout.workspace(parent)).err();
        }
        match failed {
            None => Ok(started),
            Some(error) => {
                twins.extend(started.into_iter().map(|(_, twin, live)| twin.with(live)));
                Err(error)
            }
        }
    };
    let started = match made.await {
        Ok(started) => started,
        Err(error) => {
            for twin in twins {
                twin.undo().await;
            }
            return Err(error);
        }
    };
    let first = started.first().map(|(_, _, live)| (live.start, live.because.clone()));
    let (start, because) = first.unwrap_or((StartKind::Booted, None));
    let (mut begun, mut failed) = (Vec::new(), None);
    for (_, twin, live) in started {
        let id = twin.record.id.clone();
        match twin.finish(live, snapshot).await {
            Ok(()) => begun.push(id),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        None => Ok(Begun { ids, start, because }),
        Some(error) => {
            for id in begun {
                let workspaces = Workspaces { shared: Arc::clone(shared) };
                if let Err(error) = workspaces.delete(id.as_str(), true).await {
                    warn!(workspace = %id, error = %chain(&error), "cannot undo a fork");
                }
            }
            Err(error)
        }
    }
}

/// Decides whether all fit and writes them down, so that nobody else gets the same room.
async fn enter(
    shared: &Arc<Shared>,
    parent: &WorkspaceId,
    snapshot: &SnapshotRecord,
    names: &[Option<String>],
    labels: &BTreeMap<String, String>,
) -> Result<Vec<WorkspaceRecord>, Error> {
    let of = shared.registry.seen(parent)?.record;
    let _admission = shared.admission.lock().await;
    shared.limits.admit_workspaces(&shared.usage(), of.shape, names.len())?;
    let mut records = Vec::new();
    for name in names {
        let now = SystemTime::now();
        let mut labels_of_twin = of.labels.clone();
        labels_of_twin.extend(labels.clone());
        let record = WorkspaceRecord {
            id: shared.new_id()?,
            name: name.clone(),
            labels: labels_of_twin,
            created_at: now,
            last_activity_at: now,
            one_shot: false,
            call: None,
            ends_with_callers: false,
            state: WorkspaceState::Creating { machine: None },
            disk: super::disk::DiskRecord::default(),
            disk_bytes: snapshot.disk_bytes,
            lineage: Lineage {
                parent: Some(Parent {
                    workspace: parent.clone(),
                    snapshot: snapshot.kind.is_listed().then(|| snapshot.shown_name().to_owned()),
                }),
                at: Some(snapshot.id.clone()),
                template_memory: of.lineage.template_memory.clone(),
                ..Lineage::default()
            },
            last_error: None,
            ..WorkspaceRecord::clone(&of)
        };
        if let Err(error) = shared.store.insert_workspace(&record).await {
            for record in records {
                Twin { shared: Arc::clone(shared), record, running: None }.undo().await;
            }
            return Err(error);
        }
        shared.registry.insert(record.id.clone(), Entry::Creating(Arc::new(record.clone())));
        records.push(record);
    }
    Ok(records)
}

/// A workspace that is being made from another one. Must be finished or undone.
struct Twin {
    shared: Arc<Shared>,
    record: WorkspaceRecord,
    running: Option<Running>,
}

/// What is known of the machine of a twin that was started.
struct Started {
    running: Running,
    session: crate::session::GuestSession,
    start: StartKind,
    because: Option<String>,
}

impl Twin {
    /// Gets its files: layers and memory of the snapshot, by hard links, and the snapshot as its baseline.
    async fn share(&mut self, parent: &WorkspaceId, snapshot: &Arc<SnapshotRecord>) -> Result<(), Error> {
        let (shared, record, parent) = (Arc::clone(&self.shared), self.record.clone(), parent.clone());
        let snapshot = Arc::clone(snapshot);
        self.record.disk = task::blocking(move || {
            let layout = &shared.resources.layout;
            let engine = shared.resources.engine.as_ref();
            let of = |id| (WorkspaceDisk::of(layout, id), SnapshotFiles::of(layout, id));
            let ((disk, files), (twin_disk, twin_files)) = (of(&parent), of(&record.id));
            let layers = disk.share(&twin_disk, &snapshot.disk, engine, record.disk_bytes)?;
            files.share(&twin_files, &snapshot)?;
            let baseline = SnapshotRecord {
                name: Some(BASELINE.to_owned()),
                kind: SnapshotKind::Baseline,
                parent: None,
                ..SnapshotRecord::clone(&snapshot)
            };
            twin_files.write(&baseline)?;
            Ok(layers)
        })
        .await?;
        Ok(())
    }

    async fn start(&mut self, snapshot: &SnapshotRecord) -> Result<Started, Error> {
        let resources = Arc::clone(&self.shared.resources);
        let turn = resources.turn_to_start().await?;
        let layers = WorkspaceDisk::of(&resources.layout, &self.record.id).layers(&self.record.disk);
        let claimed = restore::claim(&resources, &self.record, snapshot, layers).await?;
        // From here on a machine may live: the record has to name it before.
        self.record.state = WorkspaceState::Creating { machine: Some(claimed.directory().id().clone()) };
        self.shared.store.update_workspace(&self.record).await?;
        let running = self.running.insert(claimed.start(&resources).await?);
        let identity =
            GuestIdentity { id: self.record.id.to_string(), deadline: life_in_guest(self.record.ttl) };
        let session = running.greet(&resources.release, identity).await?;
        drop(turn);
        self.record.lineage.origin = restore::origin(running, snapshot);
        let (start, because) = (running.start, running.because.clone());
        let running = self.running.take();
        let running = running.ok_or_else(|| Error::Task("a machine that was started is gone".to_owned()))?;
        Ok(Started { running, session, start, because })
    }

    fn with(self, started: Started) -> Self {
        Self { running: Some(started.running), ..self }
    }

    /// It is a workspace from now on.
    async fn finish(self, started: Started, snapshot: &SnapshotRecord) -> Result<(), Error> {
        let Self { shared, mut record, .. } = self;
        let Started { running, session, .. } = started;
        record.state = WorkspaceState::Started { machine: running.directory.id().clone() };
        record.last_activity_at = SystemTime::now();
        let entered = async {
            let commands = shared.commands(&record.id)?;
            commands.move_in(running.machine.stalls());
            commands.restore(session.clone(), &snapshot.commands, snapshot.next_sequence).await?;
            let files = SnapshotFiles::of(&shared.resources.layout, &record.id);
            let shelf = task::blocking(move || Shelf::read(files)).await?;
            shared.store.update_workspace(&record).await?;
            Ok((commands, shelf))
        };
        let entered: Result<_, Error> = entered.await;
        match entered {
            Ok((commands, shelf)) => {
                let start = Some(running.start);
                let files = FileWorkers::taking_over(session.clone());
                let live = LiveMachine::new(running, start, session, files);
                shared.drive(record, Some(live), commands, shelf);
                Ok(())
            }
            Err(error) => {
                Self { shared, record, running: Some(running) }.undo().await;
                Err(error)
            }
        }
    }

    /// Removes everything that was made. What cannot be removed now is removed by the next daemon.
    async fn undo(self) {
        let Self { shared, record, running } = self;
        let undone = async {
            if let Some(running) = running {
                running.end().await?;
            }
            super::remove(&shared.resources.layout, &shared.store, &record.id).await
        };
        if let Err(error) = undone.await {
            warn!(workspace = %record.id, error = %chain(&error), "cannot undo a fork; the next start does");
        }
        shared.registry.remove(&record.id);
    }
}
