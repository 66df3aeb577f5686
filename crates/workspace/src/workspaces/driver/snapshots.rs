//! Snapshots of a workspace: taken, sealed in the background, and removed.

use std::{collections::HashSet, sync::Arc};

use tokio::{sync::oneshot, task::JoinHandle};
use tracing::warn;

use super::{
    super::{
        changes::Revision,
        disk::WorkspaceDisk,
        id::{SnapshotId, WorkspaceId},
        snapshots::{
            BASELINE, MemoryStage, SnapshotKind, SnapshotRecord,
            capture::{Capturing, Wanted, sync},
            seal,
            shelf::Shelf,
        },
        state::Wish,
    },
    Driver, Event,
    merging::Merging,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    machine_start::reach,
    task,
};

/// Snapshots that a workspace may have beside its baseline.
const MOST_SNAPSHOTS: usize = 64;
/// Layers that a disk may have. Each costs a machine a few open files.
const MOST_LAYERS: usize = 96;
/// With so many it is waited for until some of them are merged, for which calls that come fast leave no time.
const PRESSING_LAYERS: usize = 92;
/// Layers that a machine has before it is captured, the lowest and the active one included: a few less than it can have.
const MOST_OPEN_LAYERS: usize = 98;

/// The snapshots of a workspace, and those whose memory is on its way.
#[derive(Debug)]
pub(in super::super) struct Snapshots {
    pub(super) shelf: Shelf,
    /// One at a time: each may leave out what the one before has.
    sealing: Option<Sealing>,
    /// Who waits until one is whole.
    waiting: Vec<(SnapshotId, Answer)>,
    /// It was tried, and is tried again by the next daemon.
    failed: HashSet<SnapshotId>,
    /// There may be files that nobody needs.
    is_sweep_due: bool,
    /// There may be snapshots that nobody needs.
    is_discard_due: bool,
    /// The state is that of this snapshot as long as the revision is this one and nothing runs.
    pub(super) unchanged: Option<(SnapshotId, Revision)>,
    pub(super) merging: Merging,
    /// Forks under way from snapshots that stay; those from others have a snapshot of their own.
    forks: usize,
}

/// Which, and the work.
type Sealing = (SnapshotId, JoinHandle<Result<SnapshotRecord, Error>>);
type Answer = oneshot::Sender<Result<Arc<SnapshotRecord>, Error>>;

impl Snapshots {
    pub(in super::super) fn new(shelf: Shelf) -> Self {
        Self {
            shelf,
            sealing: None,
            waiting: Vec::new(),
            failed: HashSet::new(),
            // What a killed daemon left.
            is_sweep_due: true,
            is_discard_due: true,
            unchanged: None,
            merging: Merging::new(),
            forks: 0,
        }
    }

    /// Resolves when something is done that was begun in the background.
    pub(super) async fn background(&mut self) -> Event {
        let Self { sealing, merging, .. } = self;
        tokio::select! {
            biased;
            sealed = sealed(sealing) => Event::Sealed(Box::new(sealed)),
            merged = merging.merged() => Event::Merged(Box::new(merged)),
        }
    }

    /// Whether one is being sealed.
    pub(super) fn is_sealing_any(&self) -> bool {
        self.sealing.is_some()
    }

    /// Somebody is to be begun from a snapshot that stays: its files are needed as it names them now.
    pub(super) fn fork_begins(&mut self) {
        self.forks += 1;
    }

    /// Whoever was begun from it has what they need.
    pub(super) fn fork_ends(&mut self) {
        self.forks = self.forks.saturating_sub(1);
    }

    fn is_forked(&self) -> bool {
        self.forks > 0 || self.shelf.of_kind(SnapshotKind::Fork).next().is_some()
    }

    /// There may be files that nobody needs.
    pub(super) fn sweep_is_due(&mut self) {
        self.is_sweep_due = true;
    }

    /// What the workspace slept by is not needed any more.
    pub(super) fn discard_is_due(&mut self) {
        self.is_discard_due = true;
    }

    /// Whether there may be snapshots that nobody needs.
    pub(super) fn is_discard_due(&self) -> bool {
        self.is_discard_due
    }

    /// Whether this one is being sealed.
    pub(super) fn is_sealing(&self, id: &SnapshotId) -> bool {
        self.sealing.as_ref().is_some_and(|(sealing, _)| sealing == id)
    }

    /// Resolves when the one that is being sealed is, or cannot be; never without one.
    pub(super) async fn sealed(&mut self) -> Result<SnapshotRecord, Error> {
        sealed(&mut self.sealing).await
    }
}

async fn sealed(sealing: &mut Option<Sealing>) -> Result<SnapshotRecord, Error> {
    match sealing {
        None => std::future::pending().await,
        Some((_, work)) => {
            let sealed = work.await;
            sealed.unwrap_or_else(|error| Err(Error::Task(error.to_string())))
        }
    }
}

impl Driver {
    /// Takes a snapshot; who asked is told when it is whole.
    pub(super) async fn snapshot(&mut self, wanted: Wanted, answer: Answer) {
        match self.take_snapshot(wanted).await {
            Ok(taken) => self.tell_when_sealed(&taken, answer),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    async fn take_snapshot(&mut self, wanted: Wanted) -> Result<Arc<SnapshotRecord>, Error> {
        self.wake_and_admit("take a snapshot of it", Wish::Snapshot).await?;
        self.admit_snapshot(&wanted).await?;
        self.close_layers(0).await?;
        let taken = self.capture(wanted).await?;
        self.touch().await;
        Ok(taken)
    }

    async fn admit_snapshot(&mut self, wanted: &Wanted) -> Result<(), Error> {
        let workspace = || self.record.id.clone();
        let shelf = &self.snapshots.shelf;
        if let Some(name) = &wanted.name {
            if name == BASELINE {
                let reason = format!("`{BASELINE}` is what the workspace began with; choose another name");
                return Err(Error::Invalid { field: "snapshot_name", reason });
            }
            if shelf.find(name).is_some() {
                return Err(Error::SnapshotExists { workspace: workspace(), name: name.clone() });
            }
        }
        if wanted.kind == SnapshotKind::Named && shelf.listed() > MOST_SNAPSHOTS {
            let reason = format!("workspace `{}` has {MOST_SNAPSHOTS}{}", workspace(), self.largest());
            return Err(Error::LimitReached { limit: "snapshots", reason });
        }
        self.admit_room().await
    }

    /// Whether there is room for what a snapshot takes.
    pub(super) async fn admit_room(&mut self) -> Result<(), Error> {
        self.admit_layer().await?;
        let shared = self.shared.upgrade().ok_or(Error::Cancelled)?;
        shared.limits.admit_disk(&shared.usage().await?).map_err(|error| match error {
            Error::LimitReached { limit, reason } => {
                Error::LimitReached { limit, reason: reason + &self.largest() }
            }
            other => other,
        })
    }

    /// Which snapshot it would help most to delete, to be put behind a reason; nothing where there is none.
    fn largest(&self) -> String {
        let deletable = self.snapshots.shelf.records().iter().filter(|record| record.is_deletable());
        let sized = deletable.map(|record| (self.own_bytes(record), record.shown_name()));
        let largest = sized.max_by_key(|(bytes, _)| *bytes);
        largest.map_or_else(String::new, |(bytes, name)| {
            format!("; the largest snapshot of `{}` is `{name}` with {} MiB", self.record.id, bytes >> 20)
        })
    }

    /// Whether the disk may have one layer more, when all are merged that can be.
    pub(super) async fn admit_layer(&mut self) -> Result<(), Error> {
        while self.record.disk.frozen.len() >= PRESSING_LAYERS {
            self.finish_sealing().await;
            if !self.merge_now().await {
                break;
            }
        }
        admit_layers(self.record.disk.frozen.len(), &self.record.id)
    }

    /// Sees to it that the machine can have one layer more. It has those that it was started with and one of each capture open, also
    /// when the disk has fewer by now; one that has too many sleeps for a moment, and wakes up with those of the disk. Not while more
    /// than so many use it, each of whom has to begin anew then.
    pub(super) async fn close_layers(&mut self, uses: usize) -> Result<(), Error> {
        let live = self.live.clone();
        let Some(capture) = live.as_ref().and_then(|live| live.machine.capture()) else { return Ok(()) };
        let count = capture.layer_count().await;
        let count =
            count.map_err(|source| Error::Engine { operation: "count the machine's layers", source })?;
        if count < MOST_OPEN_LAYERS {
            return Ok(());
        }
        if self.uses.count() > uses {
            let reason = format!(
                "the machine of workspace `{}` has {count} layers of its disk open; it gets fewer when nobody works in it",
                self.record.id
            );
            return Err(Error::LimitReached { limit: "open_layers", reason });
        }
        drop(live);
        self.sleep().await?;
        self.wake(None).await?;
        self.admit("take a snapshot of it", Wish::Snapshot).map(drop)
    }

    /// What a snapshot alone takes on the host, bytes, as far as that can be told.
    fn own_bytes(&self, snapshot: &SnapshotRecord) -> u64 {
        WorkspaceDisk::of(&self.resources.layout, &self.record.id).snapshot_bytes(snapshot)
    }

    /// Captures the machine, or freezes the disk if there is none, and begins to seal what was captured.
    pub(super) async fn capture(&mut self, wanted: Wanted) -> Result<Arc<SnapshotRecord>, Error> {
        let live = self.live.clone();
        // One that was paused for it has done so before.
        let running = live.as_ref().filter(|live| live.stall().is_none());
        let session = running.and_then(|live| live.session());
        if let Some(session) = &session {
            sync(session).await;
        }
        let files = live.as_ref().and_then(|live| live.talk()).map(|talk| talk.files);
        let (resources, store, record) = (&self.resources, &self.store, &mut self.record);
        let capturing = Capturing { resources, store, record, files, session };
        let taken = match &live {
            Some(live) => capturing.machine(live.machine.as_ref(), wanted).await,
            None => capturing.disk(wanted).await,
        };
        // Its clock stood still with it, also if it failed after that.
        if let Some(live) = running {
            live.tell_time();
        }
        if taken.is_err() {
            self.snapshots.sweep_is_due();
            self.sweep_if_due().await;
        }
        self.show();
        let taken = self.snapshots.shelf.put(taken?);
        self.snapshots.merging.mark_due();
        self.show();
        if let Err(error) = reach(FaultPoint::SnapshotWritten, &self.place()) {
            // One that is told to have failed is not there.
            self.discard(&taken.id).await?;
            return Err(error);
        }
        self.seal_next().await;
        Ok(taken)
    }

    fn tell_when_sealed(&mut self, taken: &Arc<SnapshotRecord>, answer: Answer) {
        self.snapshots.waiting.push((taken.id.clone(), answer));
    }

    /// Seals the next snapshot of which that is not done, if none is being sealed.
    pub(super) async fn seal_next(&mut self) {
        if self.snapshots.sealing.is_some() {
            return;
        }
        self.name_merged().await;
        let snapshots = &mut self.snapshots;
        let is_open = |record: &&Arc<SnapshotRecord>| {
            let memory = record.memory.as_ref();
            let is_plain = memory.is_some_and(|memory| matches!(memory.stage, MemoryStage::Plain { .. }));
            let is_undigested = record.disk.last().is_some_and(|layer| !layer.file.is_read());
            (is_plain || is_undigested) && !snapshots.failed.contains(&record.id)
        };
        let Some(next) = snapshots.shelf.records().iter().find(is_open).cloned() else {
            self.sweep_if_due().await;
            return;
        };
        let parent = next.parent.as_ref().and_then(|parent| snapshots.shelf.get(parent));
        let layout = &self.resources.layout;
        let sealing = seal::Sealing {
            files: snapshots.shelf.files().clone(),
            disk: WorkspaceDisk::of(layout, &self.record.id),
            shape: self.record.shape,
            key_path: self.resources.memories.key_path(),
            snapshot: with_digests(&next, snapshots.shelf.records()),
            parent: parent.and_then(|parent| parent.memory.clone()),
        };
        let work = tokio::spawn(task::blocking(move || sealing.seal()));
        snapshots.sealing = Some((next.id.clone(), work));
    }

    /// A snapshot is sealed, or cannot be: whoever waits for it is told.
    pub(super) async fn sealed(&mut self, sealed: Result<SnapshotRecord, Error>) {
        let Some((id, _)) = self.snapshots.sealing.take() else { return };
        let outcome = match sealed {
            Ok(record) => {
                let record = self.snapshots.shelf.put(record);
                reach(FaultPoint::SnapshotSealed, &self.place()).map(|()| record)
            }
            Err(error) => {
                warn!(workspace = %self.record.id, snapshot = %id, error = %chain(&error), "cannot keep the memory of a snapshot");
                self.snapshots.failed.insert(id.clone());
                Err(error)
            }
        };
        self.show();
        let waiting = std::mem::take(&mut self.snapshots.waiting);
        let (told, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(of, _)| *of == id);
        self.snapshots.waiting = waiting;
        match outcome {
            Ok(record) => told.into_iter().for_each(|(_, answer)| drop(answer.send(Ok(Arc::clone(&record))))),
            Err(error) => {
                if let Some((_, answer)) = told.into_iter().next() {
                    // One that is told to have failed is not there.
                    if let Err(error) = self.discard(&id).await {
                        warn!(snapshot = %id, error = %chain(&error), "a snapshot that failed stays");
                    }
                    drop(answer.send(Err(error)));
                }
            }
        }
        self.seal_next().await;
    }

    /// Waits until every snapshot is whole, or cannot be made so.
    pub(super) async fn finish_sealing(&mut self) {
        while self.snapshots.sealing.is_some() {
            let sealed = self.snapshots.sealed().await;
            self.sealed(sealed).await;
        }
    }

    /// Waits until nobody writes to the files of snapshots and of the disk any more. Whoever waits for one is told that it is gone.
    pub(super) async fn stop_sealing(&mut self) {
        if let Some((_, work)) = self.snapshots.sealing.take() {
            drop(work.await);
        }
        self.snapshots.merging.stop().await;
        for (_, answer) in std::mem::take(&mut self.snapshots.waiting) {
            drop(answer.send(Err(Error::UnknownWorkspace { reference: self.record.id.to_string() })));
        }
    }

    /// Removes a snapshot that somebody made.
    pub(super) async fn delete_snapshot(&mut self, reference: &str) -> Result<Arc<SnapshotRecord>, Error> {
        let snapshot = self.find_snapshot(reference)?;
        if !snapshot.is_deletable() {
            let reason = format!("`{}` lasts as long as the workspace", snapshot.shown_name());
            return Err(Error::Invalid { field: "snapshot_name", reason });
        }
        self.finish_sealing_of(&snapshot.id).await;
        self.discard(&snapshot.id).await?;
        self.touch().await;
        self.sweep_if_due().await;
        Ok(snapshot)
    }

    pub(super) fn find_snapshot(&self, reference: &str) -> Result<Arc<SnapshotRecord>, Error> {
        self.snapshots.shelf.find(reference).ok_or_else(|| Error::UnknownSnapshot {
            workspace: self.record.id.clone(),
            name: reference.trim().to_owned(),
        })
    }

    /// Waits until this one is not being sealed: whoever seals writes its record.
    async fn finish_sealing_of(&mut self, id: &SnapshotId) {
        while self.snapshots.is_sealing(id) {
            let sealed = self.snapshots.sealed().await;
            self.sealed(sealed).await;
        }
    }

    /// Forgets a snapshot that is not being sealed. What it alone needed goes with the next sweep.
    pub(super) async fn discard(&mut self, id: &SnapshotId) -> Result<(), Error> {
        let (files, removed) = (self.snapshots.shelf.files().clone(), id.clone());
        task::blocking(move || files.remove(&removed)).await?;
        self.snapshots.shelf.forget(id);
        self.snapshots.is_sweep_due = true;
        self.snapshots.merging.mark_due();
        self.show();
        Ok(())
    }

    /// Forgets what the workspace slept by, unless it sleeps by that now.
    pub(super) async fn discard_passing(&mut self) {
        self.snapshots.is_discard_due = false;
        let asleep = self.record.state.asleep().cloned();
        let ids = self.snapshots.shelf.of_kind(SnapshotKind::Sleep).filter(|id| Some(*id) != asleep.as_ref());
        self.discard_all(ids.cloned().collect()).await;
    }

    /// Forgets what an earlier daemon had made for forks.
    pub(super) async fn discard_forks(&mut self) {
        let ids = self.snapshots.shelf.of_kind(SnapshotKind::Fork).cloned().collect();
        self.discard_all(ids).await;
    }

    async fn discard_all(&mut self, ids: Vec<SnapshotId>) {
        for id in ids {
            self.finish_sealing_of(&id).await;
            if let Err(error) = self.discard(&id).await {
                warn!(snapshot = %id, error = %chain(&error), "a snapshot that nobody needs stays for now");
            }
        }
        self.sweep_if_due().await;
    }

    /// Removes files that nothing needs. Not while a snapshot is sealed or layers are merged, whose files are not all named yet, nor
    /// while the disk is read or others are begun from it, who have names of files.
    pub(super) async fn sweep_if_due(&mut self) {
        let snapshots = &mut self.snapshots;
        let is_unnamed = snapshots.sealing.is_some() || snapshots.merging.has_unnamed();
        let is_busy = is_unnamed || snapshots.is_forked() || self.disk_lent.is_lent();
        if !snapshots.is_sweep_due || is_busy || snapshots.shelf.has_unreadable() {
            return;
        }
        snapshots.is_sweep_due = false;
        let (shelf, record) = (snapshots.shelf.clone(), self.record.clone());
        let disk = WorkspaceDisk::of(&self.resources.layout, &record.id);
        let swept = task::blocking(move || {
            let kept = shelf.records().iter().map(|record| record.disk.as_slice());
            let lived_in = record.lineage.origin.as_ref().map_or(&[][..], |origin| &origin.deltas);
            let swept = disk.sweep(&record.disk, kept).and_then(|()| shelf.sweep_memory(lived_in));
            swept.map_err(|source| Error::Store {
                operation: "remove what nothing needs in",
                path: shelf.files().memory(),
                source,
            })
        });
        if let Err(error) = swept.await {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot remove files that nothing needs");
        }
    }
}

/// Whether a disk with so many frozen layers may have one more.
fn admit_layers(frozen: usize, workspace: &WorkspaceId) -> Result<(), Error> {
    if frozen < MOST_LAYERS {
        return Ok(());
    }
    let reason = format!(
        "the disk of workspace `{workspace}` has {frozen} layers; it gets fewer when snapshots are deleted or it is reset"
    );
    Err(Error::LimitReached { limit: "layers", reason })
}

/// The snapshot with the digests of its layers that others know.
fn with_digests(snapshot: &SnapshotRecord, known: &[Arc<SnapshotRecord>]) -> SnapshotRecord {
    let mut snapshot = snapshot.clone();
    let known = || known.iter().flat_map(|record| &record.disk).filter(|layer| layer.file.is_read());
    for layer in snapshot.disk.iter_mut().filter(|layer| !layer.file.is_read()) {
        if let Some(same) = known().find(|known| known.id == layer.id) {
            layer.file = same.file.clone();
        }
    }
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspaces::snapshots::MOST_STEPS;

    #[test]
    fn the_last_layer_is_admitted_and_one_more_is_refused() {
        let workspace = WorkspaceId::from_bytes([1; 6]);
        admit_layers(MOST_LAYERS - 1, &workspace).unwrap();
        let refused = admit_layers(MOST_LAYERS, &workspace).unwrap_err();
        assert!(matches!(refused, Error::LimitReached { limit: "layers", .. }), "{refused}");
        // All that must stay apart fits: no workspace with as many snapshots as it may have refuses its calls.
        const { assert!(MOST_SNAPSHOTS + MOST_STEPS + 1 < PRESSING_LAYERS && PRESSING_LAYERS < MOST_LAYERS) };
    }
}
