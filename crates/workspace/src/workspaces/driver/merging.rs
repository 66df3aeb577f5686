//! Layers of the disk that nothing tells apart any more become one, in the background.
//!
//! ```text
//!  plan ─ write the merged layer ─ the workspace's record ─ records of snapshots, one by one ─ nothing is left to do ─ sweep
//!                                  └─ names what is being put in place; the next daemon goes on from here
//! ```
//!
//! The layers of before and the merged one are the same to a machine, so every record is right at any time, whichever it names,
//! and files go only when no record names them. A machine that runs has its layers open and keeps them until it ends.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::{
    super::{
        disk::{FrozenLayer, WorkspaceDisk},
        frozen_file::FrozenFile,
        id::LayerId,
        merge_policy::{FEW_LAYERS, next_run, with_merged},
        snapshots::SnapshotRecord,
    },
    Driver,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    machine_start::reach,
    task,
};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Layers that became one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MergedLayers {
    /// Which, the lowest first.
    run: Vec<Option<LayerId>>,
    /// What they became.
    pub(in super::super) layer: FrozenLayer,
}

/// What the driver knows of merging.
#[derive(Debug)]
pub(super) struct Merging {
    work: Option<Work>,
    /// A merged layer that no record names yet.
    unnamed: Option<MergedLayers>,
    /// Layers may have become superfluous.
    is_due: bool,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Work {
    task: JoinHandle<Result<Option<MergedLayers>, Error>>,
    _stop: DropGuard,
}

impl Merging {
    pub(super) fn new() -> Self {
        // What a daemon of before did not come to.
        Self { work: None, unnamed: None, is_due: true, not_before: None }
    }

    /// There may be layers that nothing tells apart.
    pub(super) fn mark_due(&mut self) {
        self.is_due = true;
    }

    /// Whether there is, or may be, a layer that no record names yet.
    pub(super) fn has_unnamed(&self) -> bool {
        self.work.is_some() || self.unnamed.is_some()
    }

    /// Resolves when layers are merged, or cannot be; never when none are.
    pub(super) async fn merged(&mut self) -> Result<Option<MergedLayers>, Error> {
        match &mut self.work {
            None => std::future::pending().await,
            Some(work) => {
                let merged = (&mut work.task).await;
                merged.unwrap_or_else(|error| Err(Error::Task(error.to_string())))
            }
        }
    }

    /// Waits until nobody writes a layer any more, which is soon.
    pub(super) async fn stop(&mut self) {
        if let Some(Work { task, _stop }) = self.work.take() {
            drop(_stop);
            drop(task.await);
        }
    }
}

impl Driver {
    /// Begins to merge layers, if that is worth it. Not while the disk is read or a snapshot is sealed.
    pub(super) fn merge_if_due(&mut self) {
        let snapshots = &self.snapshots;
        let is_early = snapshots.merging.not_before.is_some_and(|time| Instant::now() < time);
        let is_busy = snapshots.is_sealing_any()
            || snapshots.merging.has_unnamed()
            || self.record.disk.merged.is_some()
            || self.disk_lent.is_lent();
        let is_long = self.record.disk.frozen.len() > FEW_LAYERS;
        if !snapshots.merging.is_due || !is_long || is_early || is_busy || snapshots.shelf.has_unreadable() {
            return;
        }
        let job = Job {
            disk: WorkspaceDisk::of(&self.resources.layout, &self.record.id),
            engine: Arc::clone(&self.resources.engine),
            frozen: self.record.disk.frozen.clone(),
            snapshots: snapshots.shelf.records().to_vec(),
            stopped: CancellationToken::new(),
        };
        let stop = job.stopped.clone().drop_guard();
        let task = tokio::spawn(task::blocking(move || job.merge()));
        self.snapshots.merging.is_due = false;
        self.snapshots.merging.work = Some(Work { task, _stop: stop });
    }

    /// Merges layers once, or waits for who does; whether that was to be done.
    pub(super) async fn merge_now(&mut self) -> bool {
        self.merge_if_due();
        let is_at_work = self.snapshots.merging.work.is_some();
        if is_at_work {
            let merged = self.snapshots.merging.merged().await;
            self.merged(merged).await;
        }
        is_at_work
    }

    /// Layers are merged, or there was nothing to merge, or it cannot be done.
    pub(super) async fn merged(&mut self, merged: Result<Option<MergedLayers>, Error>) {
        self.snapshots.merging.work = None;
        match merged {
            Ok(None) => {}
            Ok(Some(merged)) => {
                let reached = reach(FaultPoint::LayersMerged, &self.place());
                match reached {
                    Ok(()) => self.snapshots.merging.unnamed = Some(merged),
                    Err(error) => self.put_off_merging(&error),
                }
                // Otherwise when the one is sealed that is being sealed.
                self.seal_next().await;
            }
            Err(error) => {
                self.put_off_merging(&error);
                self.sweep_if_due().await;
            }
        }
    }

    fn put_off_merging(&mut self, error: &Error) {
        warn!(workspace = %self.record.id, error = %chain(error), "cannot merge layers of a disk");
        self.snapshots.sweep_is_due();
        self.snapshots.merging.is_due = true;
        self.snapshots.merging.not_before = Some(Instant::now() + RETRY);
    }

    /// Has all records name the merged layer. Only while no snapshot is being sealed, whose record would be written over.
    pub(super) async fn name_merged(&mut self) {
        if let Some(merged) = self.snapshots.merging.unnamed.take() {
            let mut record = self.record.clone();
            if let Some(frozen) = with_merged(&record.disk.frozen, &merged.run, &merged.layer) {
                record.disk.frozen = frozen;
            }
            record.disk.merged = Some(merged);
            if let Err(error) = self.store.update_workspace(&record).await {
                self.put_off_merging(&error);
                return;
            }
            self.record = record;
        }
        let Some(merged) = self.record.disk.merged.clone() else { return };
        match self.name_everywhere(&merged).await {
            Ok(()) => {
                info!(workspace = %self.record.id, layers = merged.run.len(), "layers of a disk became one");
                self.snapshots.sweep_is_due();
                self.snapshots.merging.is_due = true;
            }
            Err(error) => self.put_off_merging(&error),
        }
        self.show();
    }

    /// Has the snapshots name it, and then the record nothing that is to be done.
    async fn name_everywhere(&mut self, merged: &MergedLayers) -> Result<(), Error> {
        reach(FaultPoint::MergeRecorded, &self.place())?;
        for snapshot in self.snapshots.shelf.records().to_vec() {
            let Some(disk) = with_merged(&snapshot.disk, &merged.run, &merged.layer) else { continue };
            let changed = SnapshotRecord { disk, ..(*snapshot).clone() };
            let files = self.snapshots.shelf.files().clone();
            let written = task::blocking(move || files.write(&changed).map(|()| changed)).await?;
            self.snapshots.shelf.put(written);
        }
        let mut record = self.record.clone();
        record.disk.merged = None;
        self.store.update_workspace(&record).await?;
        self.record = record;
        reach(FaultPoint::MergeSnapshotsRecorded, &self.place())
    }
}

/// What merging needs, for a thread of its own.
#[derive(Debug)]
struct Job {
    disk: WorkspaceDisk,
    engine: Arc<dyn pyro_engine::Engine>,
    frozen: Vec<FrozenLayer>,
    snapshots: Vec<Arc<SnapshotRecord>>,
    stopped: CancellationToken,
}

impl Job {
    /// Merges what is worth it, if anything is. Blocks.
    fn merge(self) -> Result<Option<MergedLayers>, Error> {
        let costs = self.disk.layer_costs(&self.frozen)?;
        let snapshots = self.snapshots.iter().map(|snapshot| snapshot.disk.as_slice());
        let Some(run) = next_run(&self.frozen, snapshots, &costs) else { return Ok(None) };
        let run = &self.frozen[run];
        let damaged = |source| Error::Store {
            operation: "merge what was frozen in",
            path: self.disk.layer(run.first().and_then(|layer| layer.id.as_ref())),
            source: std::io::Error::other(source),
        };
        self.disk.check(run).map_err(damaged)?;
        let id = LayerId::random()?;
        let path = self.disk.layer(Some(&id));
        let layers: Vec<_> = run.iter().map(|layer| self.disk.qcow2(layer.id.as_ref())).collect();
        let merged = self.engine.merge_layers(&layers, &path, &mut |_| match self.stopped.is_cancelled() {
            true => Err(std::io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        });
        merged.map_err(|source| Error::Engine { operation: "merge layers of the disk", source })?;
        // A VMM that was taken over may write to what it has open.
        self.disk.check(run).map_err(damaged)?;
        let file = FrozenFile::note(&path).map_err(|source| Error::Store {
            operation: "look at the layer",
            path: path.clone(),
            source,
        })?;
        let file = file.read(&path).map_err(damaged)?;
        let run = run.iter().map(|layer| layer.id.clone()).collect();
        Ok(Some(MergedLayers { run, layer: FrozenLayer { id: Some(id), file } }))
    }
}
