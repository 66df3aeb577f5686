//! Makes workspaces that begin from the state of another one: all that are asked for, or none.
//!
//! ```text
//!  parent's snapshot ─ admit all ─ records ─ share files ─ start machines, side by side ─ they are workspaces
//! ```
//!
//! Each has the parent's memory, which all share until it is written to, and its layers of disk; before it takes a command, its
//! guest gets an identity of its own. The state that it begins from is its baseline. Whatever fails or is cancelled on the way,
//! everything that was made goes again; whatever dies, the next daemon does that with those that are not workspaces yet.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tokio_util::sync::CancellationToken;

use super::{
    Shared, WorkspaceId, WorkspaceRecord, WorkspaceState, Workspaces,
    disk::WorkspaceDisk,
    driver::Request,
    guest_deadline::life_in_guest,
    making::{Making, TakenUp, Talk, finish_all},
    naming,
    registry::Entry,
    snapshots::{
        BASELINE, Lineage, MemoryStage, Parent, SavedMemory, SnapshotKind, SnapshotRecord, capture::Wanted,
        restore, shelf::SnapshotFiles,
    },
    view::WorkspaceView,
};
use crate::{
    error::Error,
    fault::FaultPoint,
    machine_start::{GuestIdentity, reach},
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
            let usage = this.shared.usage().await?;
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
            Some(name) => self.ask(parent, |answer| Request::ForkPoint(name, answer)).await,
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
    let mut twins: Vec<Making> = records.into_iter().map(|record| Making::new(shared, record)).collect();
    let made = async {
        reach(FaultPoint::ForkRecorded, &shared.resources.layout.workspace(parent))?;
        each(&mut twins, |mut twin| {
            let (parent, snapshot) = (parent.clone(), Arc::clone(snapshot));
            async move {
                let shared = twin.share(&parent, &snapshot).await;
                (twin, shared)
            }
        })
        .await?;
        reach(FaultPoint::ForkShared, &shared.resources.layout.workspace(parent))?;
        let taken_up = each(&mut twins, |mut twin| {
            let (snapshot, cancel) = (Arc::clone(snapshot), cancel.clone());
            async move {
                let begun = twin.begin(&snapshot, &cancel).await;
                (twin, begun)
            }
        })
        .await?;
        reach(FaultPoint::ForkStarted, &shared.resources.layout.workspace(parent))?;
        Ok(taken_up)
    };
    let taken_up = match made.await {
        Ok(taken_up) => taken_up,
        Err(error) => {
            for twin in twins {
                twin.undo().await;
            }
            return Err(error);
        }
    };
    let first = twins.first().and_then(|twin| twin.running.as_ref());
    let (start, because) =
        first.map_or((StartKind::Booted, None), |running| (running.start, running.because.clone()));
    finish_all(twins.into_iter().zip(taken_up).collect()).await?;
    Ok(Begun { ids, start, because })
}

/// Does this with every twin, side by side, since most of it is waiting for the host's disk or for a guest. What comes of each, in
/// order; or the first failure, when all are done.
async fn each<T, F>(twins: &mut Vec<Making>, work: impl FnMut(Making) -> F) -> Result<Vec<T>, Error>
where
    T: Send + 'static,
    F: Future<Output = (Making, Result<T, Error>)> + Send + 'static,
{
    let tasks: Vec<_> = twins.drain(..).map(work).map(tokio::spawn).collect();
    let (mut done, mut failed) = (Vec::new(), None);
    for task in tasks {
        match task.await {
            Ok((twin, outcome)) => {
                twins.push(twin);
                match outcome {
                    Ok(came) => done.push(came),
                    Err(error) => drop(failed.get_or_insert(error)),
                }
            }
            // The next daemon undoes that one.
            Err(error) => drop(failed.get_or_insert(Error::Task(error.to_string()))),
        }
    }
    failed.map_or(Ok(done), Err)
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
    let usage = shared.usage().await?;
    shared.limits.admit_workspaces(&usage, of.shape, names.len())?;
    shared.make_room(&usage, names.len() as u64 * u64::from(of.shape.mem_mib));
    let ids = names.iter().map(|_| shared.new_id()).collect::<Result<Vec<_>, _>>()?;
    let mut records = Vec::new();
    for (id, name) in ids.into_iter().zip(names) {
        let now = SystemTime::now();
        let mut labels_of_twin = of.labels.clone();
        labels_of_twin.extend(labels.clone());
        let record = WorkspaceRecord {
            id,
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
                    snapshot: snapshot.kind.is_shown().then(|| snapshot.shown_name().to_owned()),
                }),
                at: Some(snapshot.id.clone()),
                template_memory: of.lineage.template_memory.clone(),
                ..Lineage::default()
            },
            last_error: None,
            ..WorkspaceRecord::clone(&of)
        };
        records.push(record);
    }
    if let Err(error) = shared.store.insert_workspaces(records.clone()).await {
        for record in records {
            Making::new(shared, record).undo().await;
        }
        return Err(error);
    }
    for record in &records {
        shared.registry.insert(record.id.clone(), Entry::Creating(Arc::new(record.clone())));
    }
    Ok(records)
}

impl Making {
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
            // A memory that could not be kept is of no use to anybody.
            let is_kept = |memory: &SavedMemory| memory.stage == MemoryStage::Sealed;
            let baseline = SnapshotRecord {
                memory: snapshot.memory.clone().filter(is_kept),
                name: Some(BASELINE.to_owned()),
                kind: SnapshotKind::Baseline,
                parent: None,
                steps: Vec::new(),
                before: Vec::new(),
                ..SnapshotRecord::clone(&snapshot)
            };
            files.share(&twin_files, &baseline)?;
            twin_files.write(&baseline)?;
            Ok(layers)
        })
        .await?;
        Ok(())
    }

    /// Starts its machine and takes up what runs in it.
    async fn begin(
        &mut self,
        snapshot: &SnapshotRecord,
        cancel: &CancellationToken,
    ) -> Result<TakenUp, Error> {
        let talk = self.start(snapshot, cancel).await?;
        self.take_up(talk, Some(snapshot)).await
    }

    /// Starts its machine. That is done whoever waits: half way there, nobody could say what has to be undone.
    async fn start(&mut self, snapshot: &SnapshotRecord, cancel: &CancellationToken) -> Result<Talk, Error> {
        let resources = Arc::clone(&self.shared.resources);
        let turn = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            turn = resources.turn_to_start() => turn?,
        };
        let layers = WorkspaceDisk::of(&resources.layout, &self.record.id).layers(&self.record.disk);
        let claimed = restore::claim(&resources, &self.record, snapshot, layers).await?;
        // From here on a machine may live: the record has to name it before.
        self.record.state = WorkspaceState::Creating { machine: Some(claimed.directory().id().clone()) };
        self.shared.store.note_workspace(&self.record).await?;
        let running = self.running.insert(claimed.start(&resources).await?);
        self.record.lineage.origin = restore::origin(running, snapshot);
        let identity =
            GuestIdentity { id: self.record.id.to_string(), deadline: life_in_guest(self.record.ttl) };
        let session = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            session = running.greet(&resources.release, identity) => session?,
        };
        drop(turn);
        let files = restore::workers(running, session.clone(), snapshot.at_rest);
        Ok(Talk { session, files })
    }
}
