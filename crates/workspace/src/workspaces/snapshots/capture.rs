//! Takes a snapshot of a workspace.
//!
//! ```text
//!  sync the guest's disk ─ make the next layer ─ write down that it is next ─ capture ─ write down layers ─ write the snapshot
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

use pyro_engine::{CaptureRequest, Captured, DiskLayer, Machine};
use tracing::warn;

use super::{
    record::{MemoryContent, MemoryStage, SavedMemory, SnapshotKind, SnapshotRecord},
    shelf::SnapshotFiles,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
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

/// What a snapshot is to be known by.
#[derive(Clone, Debug)]
pub(in super::super) struct Wanted {
    pub(in super::super) kind: SnapshotKind,
    pub(in super::super) name: Option<String>,
    pub(in super::super) comment: Option<String>,
    pub(in super::super) labels: BTreeMap<String, String>,
}

impl Wanted {
    /// One that nobody gave a name.
    pub(in super::super) fn unnamed(kind: SnapshotKind) -> Self {
        Self { kind, name: None, comment: None, labels: BTreeMap::new() }
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
}

impl Capturing<'_> {
    /// Takes a snapshot of a workspace with a machine: its memory, devices and disk of one moment. The machine goes on, unless
    /// it was paused.
    pub(in super::super) async fn machine(
        self,
        machine: &dyn Machine,
        wanted: Wanted,
    ) -> Result<SnapshotRecord, Error> {
        let Self { resources, store, record } = self;
        let capture = machine.capture().ok_or(Error::NoSnapshots { reason: "the engine is not able to" })?;
        let disk = WorkspaceDisk::of(&resources.layout, &record.id);
        let files = SnapshotFiles::of(&resources.layout, &record.id);
        let place = resources.layout.workspace(&record.id);
        let id = SnapshotId::random()?;
        let own = LayerId::random()?;

        // The record says so before the layer is there: what a killed daemon leaves is found by it.
        let next = LayerId::random()?;
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
            let captured = capture.capture(request).await;
            captured.map_err(|source| Error::Engine { operation: "take a snapshot", source })
        };
        let captured: Result<Captured, Error> = captured.await;
        let switched = match &captured {
            Ok(_) => true,
            Err(_) => {
                let layers = [disk.qcow2(before.active.as_ref()), disk.qcow2(Some(&next))];
                let active = capture.active_layer(&layers).await;
                // Of a machine that does not answer, the next layer is taken for the active one as soon as it is gone.
                is_next(active.ok().flatten(), &layers)
            }
        };
        let reached = reach(FaultPoint::SnapshotCaptured, &place);
        let frozen = before.freeze(&disk);
        record.disk = match (switched, &frozen) {
            (true, Ok(frozen)) => DiskRecord { frozen: frozen.clone(), active: Some(next), next: None },
            (true, Err(_)) => record.disk.clone(),
            (false, _) => before,
        };
        let parent = record.lineage.at.clone();
        record.lineage.at = captured.is_ok().then(|| id.clone()).or_else(|| parent.clone());
        let written = store.update_workspace(record).await;
        let taken = async {
            let captured = captured?;
            reached?;
            let disk = frozen?;
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
                id,
                parent: parent.clone(),
                disk,
                memory,
                commands: store.active_commands(&record.id).await?,
                next_sequence: store.next_sequence(&record.id).await?,
                paused: Some(captured.paused),
                ..SnapshotRecord::new(wanted, record)
            };
            let (files, snapshot) = (files.clone(), snapshot);
            task::blocking(move || files.write(&snapshot).map(|()| snapshot)).await
        };
        let taken: Result<SnapshotRecord, Error> = taken.await;
        if taken.is_err() {
            record.lineage.at = parent;
            for plain in [files.plain_delta(&own), files.plain_state(&own)] {
                // Otherwise the next sweep does.
                drop(fs::remove_file(plain));
            }
        }
        taken
    }

    /// Takes a snapshot of a workspace without a machine: its disk.
    pub(in super::super) async fn disk(self, wanted: Wanted) -> Result<SnapshotRecord, Error> {
        let Self { resources, store, record } = self;
        let disk = WorkspaceDisk::of(&resources.layout, &record.id);
        let files = SnapshotFiles::of(&resources.layout, &record.id);
        let next = LayerId::random()?;
        let (made, engine, bytes) = (disk.clone(), Arc::clone(&resources.engine), record.disk_bytes);
        let before = record.disk.clone();
        let disk_record = task::blocking(move || {
            made.create_layer(engine.as_ref(), Some(&next), bytes)?;
            Ok(DiskRecord { frozen: before.freeze(&made)?, active: Some(next), next: None })
        })
        .await?;
        let snapshot = SnapshotRecord {
            id: SnapshotId::random()?,
            parent: record.lineage.at.clone(),
            disk: disk_record.frozen.clone(),
            next_sequence: store.next_sequence(&record.id).await?,
            ..SnapshotRecord::new(wanted, record)
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
    fn new(wanted: Wanted, of: &WorkspaceRecord) -> Self {
        let Wanted { kind, name, comment, labels } = wanted;
        Self {
            // Given by whoever takes it.
            id: SnapshotId::from_bytes([0; 6]),
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
        }
    }
}

fn is_next(active: Option<&DiskLayer>, layers: &[DiskLayer; 2]) -> bool {
    active.is_some_and(|active| active.path == layers[1].path)
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
