//! Takes a snapshot of a workspace.
//!
//! ```text
//!  sync the guest's disk ─ write down which layer is next ─ make that layer ─ capture ─ write down layers ─ write the snapshot
//!                                                                              │
//!                                        fails: which layer is active is asked ┘
//! ```
//!
//! Whatever dies in between leaves a workspace that goes on and has one layer more at the most, and either no snapshot or a
//! whole one, whose memory may still have to be [sealed](super::seal).

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyro_engine::{Capture, CaptureRequest, Captured, EngineError, Machine};
use tracing::warn;

use super::{
    record::{MemoryContent, MemoryStage, SavedMemory, SnapshotKind, SnapshotRecord},
    shelf::SnapshotFiles,
    step::Step,
};
use crate::{
    commands::CommandRecord,
    error::{Error, chain},
    fault::FaultPoint,
    files::FileWorkers,
    greeting::RESTORE_PATIENCE,
    host::Resources,
    machine_start::reach,
    session::GuestSession,
    store::Store,
    task,
    template::TemplateKey,
    workspaces::{
        WorkspaceRecord,
        disk::{DiskRecord, WorkspaceDisk},
        id::{LayerId, SnapshotId},
    },
};

/// How long a guest may take to write its disk's caches out before it is captured all the same: the memory has them.
const SYNC_PATIENCE: Duration = Duration::from_secs(20);

/// How long the processes of a guest stand still at the most when nobody lets them go on, of its own time: longer than a twin may take
/// to get its identity, for a session and for that.
const HOLD: Duration = Duration::from_secs(3 * RESTORE_PATIENCE.as_secs());
/// How long a guest may take to hold its processes.
const HOLD_PATIENCE: Duration = Duration::from_secs(10);

/// What a snapshot is to be known by.
#[derive(Clone, Debug)]
pub(in super::super) struct Wanted {
    pub(in super::super) kind: SnapshotKind,
    pub(in super::super) name: Option<String>,
    pub(in super::super) comment: Option<String>,
    pub(in super::super) labels: BTreeMap<String, String>,
    /// The call that it is taken before.
    pub(in super::super) step: Option<Step>,
}

impl Wanted {
    /// One that nobody gave a name.
    pub(in super::super) fn unnamed(kind: SnapshotKind) -> Self {
        Self { kind, name: None, comment: None, labels: BTreeMap::new(), step: None }
    }

    /// One before this call.
    pub(in super::super) fn before(step: Step) -> Self {
        Self { step: Some(step), ..Self::unnamed(SnapshotKind::Checkpoint) }
    }

    /// What every workspace begins with.
    pub(in super::super) fn baseline() -> Self {
        Self { name: Some(super::BASELINE.to_owned()), ..Self::unnamed(SnapshotKind::Baseline) }
    }
}

/// Has the guest write out what its disk's caches hold, so that the disk alone is worth booting.
pub(in super::super) async fn sync(session: &GuestSession) {
    match tokio::time::timeout(SYNC_PATIENCE, session.sync()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(error = %chain(&error), "a guest is captured that did not sync its disk"),
        Err(_) => warn!("a guest is captured that takes long to sync its disk"),
    }
}

/// Whose snapshot is taken.
pub(in super::super) struct Capturing<'a> {
    pub(in super::super) resources: &'a Arc<Resources>,
    pub(in super::super) store: &'a Store,
    /// Changed, and written down, on the way.
    pub(in super::super) record: &'a mut WorkspaceRecord,
    /// Who works with its files, if anybody talks to the guest.
    pub(in super::super) files: Option<FileWorkers>,
    /// The guest, if it is not paused and anybody talks to it.
    pub(in super::super) session: Option<GuestSession>,
}

/// Processes of a guest that stand still as long as this is there.
struct Held(GuestSession);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// Holds what runs in the guest, so that nothing of it runs in a twin which still has the random pool and the name of its parent.
async fn hold(session: GuestSession) -> Option<Held> {
    // Whatever becomes of it, it is let go.
    let held = Held(session.clone());
    match tokio::time::timeout(HOLD_PATIENCE, session.hold(HOLD)).await {
        Ok(Ok(())) => Some(held),
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "a guest is captured that does not hold its processes");
            None
        }
        Err(_) => {
            warn!("a guest is captured that takes long to hold its processes");
            None
        }
    }
}

impl Capturing<'_> {
    /// Takes a snapshot of a workspace with a machine: its memory, devices and disk of one moment. The machine goes on, unless
    /// it was paused.
    pub(in super::super) async fn machine(
        self,
        machine: &dyn Machine,
        wanted: Wanted,
    ) -> Result<SnapshotRecord, Error> {
        let Self { resources, store, record, files: workers, session } = self;
        let capture = machine.capture().ok_or(Error::NoSnapshots { reason: "the engine is not able to" })?;
        let disk = WorkspaceDisk::of(&resources.layout, &record.id);
        let files = SnapshotFiles::of(&resources.layout, &record.id);
        let place = resources.layout.workspace(&record.id);
        let id = SnapshotId::random()?;
        let own = LayerId::random()?;

        // What ends while the machine is captured runs in what is captured.
        let running = store.active_commands(&record.id).await?;

        // The record says so before the layer is there: what a killed daemon leaves is found by it.
        let next = LayerId::random()?;
        record.disk = settle_switch(capture, &disk, &record.disk).await?;
        let before = record.disk.clone();
        record.disk.next = Some(next.clone());
        if let Err(error) = store.update_workspace(record).await {
            record.disk = before;
            return Err(error);
        }
        let captured = async {
            reach(FaultPoint::SnapshotRecorded, &place)?;
            let (made, engine) = (disk.clone(), Arc::clone(&resources.engine));
            let (layer, bytes) = (next.clone(), record.disk_bytes);
            let next_layer =
                task::blocking(move || made.create_layer(engine.as_ref(), Some(&layer), bytes)).await?;
            reach(FaultPoint::SnapshotLayerMade, &place)?;
            let request = CaptureRequest {
                next_layer,
                memory: files.plain_delta(&own),
                state: files.plain_state(&own),
            };
            let resting = workers.and_then(|workers| workers.rest());
            let held = match session {
                Some(session) => hold(session).await,
                None => None,
            };
            let captured = capture.capture(request).await;
            drop(held);
            let captured =
                captured.map_err(|source| Error::Engine { operation: "take a snapshot", source })?;
            Ok((captured, resting.is_some()))
        };
        let captured: Result<(Captured, bool), Error> = captured.await;
        let reached = reach(FaultPoint::SnapshotCaptured, &place);
        let recorded = record.disk.clone();
        let settled = match &captured {
            Ok(_) => recorded.switched(&disk),
            Err(_) => settle_switch(capture, &disk, &recorded).await,
        };
        // A machine that does not tell which layer it has keeps both in its record.
        let settled = settled.map(|settled| record.disk = settled);
        let lineage = record.lineage.clone();
        // What is made in passing for others is no ancestor.
        if captured.is_ok() && wanted.kind != SnapshotKind::Fork {
            record.lineage.at = Some(id.clone());
            wanted.step.iter().for_each(|step| record.lineage.step(step.number));
        }
        let written = store.update_workspace(record).await;
        let failed = id.clone();
        let taken = async {
            let (captured, at_rest) = captured?;
            reached?;
            settled?;
            written?;
            reach(FaultPoint::SnapshotLayersRecorded, &place)?;
            let memory = record.lineage.origin.clone().map(|since| SavedMemory {
                fits: fits(resources, record),
                engine: format!("{} {}", resources.engine.build().name, resources.engine.build().version),
                content: extended(&since, &own),
                stage: MemoryStage::Plain { since },
                pages: captured.pages,
                stored_bytes: captured.stored_bytes,
            });
            let snapshot = SnapshotRecord {
                parent: lineage.at.clone(),
                steps: lineage.steps.clone(),
                disk: record.disk.frozen.clone(),
                memory,
                commands: together(running, store.active_commands(&record.id).await?),
                next_sequence: store.next_sequence(&record.id).await?,
                paused: Some(captured.paused),
                at_rest,
                ..SnapshotRecord::new(id, wanted, record)
            };
            let files = files.clone();
            task::blocking(move || files.write(&snapshot).map(|()| snapshot)).await
        };
        let taken: Result<SnapshotRecord, Error> = taken.await;
        if taken.is_err() {
            record.lineage = lineage;
            // It may have got its name before that could be made durable.
            let named = files.clone();
            drop(task::blocking(move || named.remove(&failed)).await);
            for plain in [files.plain_delta(&own), files.plain_state(&own)] {
                // Otherwise the next sweep does.
                drop(fs::remove_file(plain));
            }
        }
        taken
    }

    /// Takes a snapshot of a workspace without a machine: its disk.
    pub(in super::super) async fn disk(self, wanted: Wanted) -> Result<SnapshotRecord, Error> {
        let Self { resources, store, record, .. } = self;
        let disk = WorkspaceDisk::of(&resources.layout, &record.id);
        let files = SnapshotFiles::of(&resources.layout, &record.id);
        let next = LayerId::random()?;
        let (made, engine, bytes) = (disk.clone(), Arc::clone(&resources.engine), record.disk_bytes);
        let before = record.disk.clone();
        let disk_record = task::blocking(move || {
            made.create_layer(engine.as_ref(), Some(&next), bytes)?;
            let settled = before.settled(&made)?;
            Ok(DiskRecord { frozen: settled.freeze(&made)?, active: Some(next), next: None, ..settled })
        })
        .await?;
        let snapshot = SnapshotRecord {
            parent: record.lineage.at.clone(),
            disk: disk_record.frozen.clone(),
            next_sequence: store.next_sequence(&record.id).await?,
            ..SnapshotRecord::new(SnapshotId::random()?, wanted, record)
        };
        let mut changed = WorkspaceRecord { disk: disk_record, ..record.clone() };
        changed.lineage.at = Some(snapshot.id.clone());
        store.update_workspace(&changed).await?;
        *record = changed;
        reach(FaultPoint::SnapshotLayersRecorded, &resources.layout.workspace(&record.id))?;
        task::blocking(move || files.begin(None).and_then(|()| files.write(&snapshot)).map(|()| snapshot))
            .await
    }
}

impl SnapshotRecord {
    fn new(id: SnapshotId, wanted: Wanted, of: &WorkspaceRecord) -> Self {
        let Wanted { kind, name, comment, labels, step } = wanted;
        Self {
            id,
            name,
            kind,
            parent: None,
            created_at: SystemTime::now(),
            comment,
            labels,
            disk: Vec::new(),
            disk_bytes: of.disk_bytes,
            memory: None,
            commands: Vec::new(),
            next_sequence: 1,
            paused: None,
            at_rest: false,
            steps: of.lineage.steps.clone(),
            before: step.into_iter().collect(),
        }
    }
}

/// Which layers the disk of a living machine has, if a capture was to switch it to the next one.
pub(in super::super) async fn settle_switch(
    capture: &dyn Capture,
    disk: &WorkspaceDisk,
    record: &DiskRecord,
) -> Result<DiskRecord, Error> {
    let not_switched = DiskRecord { next: None, ..record.clone() };
    let next = match &record.next {
        Some(next) if disk.layer(Some(next)).exists() => disk.qcow2(Some(next)),
        _ => return Ok(not_switched),
    };
    let layers = [disk.qcow2(record.active.as_ref()), next];
    match capture.active_layer(&layers).await {
        Ok(Some(active)) if active.path == layers[1].path => record.switched(disk),
        // One that was never prepared for captures was never captured.
        Ok(_) | Err(EngineError::CaptureUnprepared) => Ok(not_switched),
        Err(source) => Err(Error::Engine { operation: "ask for the active layer", source }),
    }
}

/// Those of both, each once.
fn together(before: Vec<CommandRecord>, after: Vec<CommandRecord>) -> Vec<CommandRecord> {
    let mut all: BTreeMap<u64, CommandRecord> =
        before.into_iter().map(|record| (record.sequence, record)).collect();
    all.extend(after.into_iter().map(|record| (record.sequence, record)));
    all.into_values().collect()
}

fn extended(content: &MemoryContent, by: &LayerId) -> MemoryContent {
    let mut extended = content.clone();
    extended.deltas.push(by.clone());
    extended
}

/// What a machine must have for the memory of this workspace to fit.
pub(in super::super) fn fits(resources: &Resources, record: &WorkspaceRecord) -> String {
    let engine = resources.engine.as_ref();
    let key = TemplateKey::of_boot(engine, record.shape, &record.boot_digest, &record.kernel_arguments);
    key.as_str().to_owned()
}
