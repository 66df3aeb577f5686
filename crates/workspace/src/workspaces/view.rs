//! What is told about a workspace.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyro_engine::{BootFiles, Isolation, Stall};

use super::{
    WorkspaceRecord,
    disk::WorkspaceDisk,
    kept_environment,
    snapshots::{SnapshotRecord, shelf},
};
use crate::{commands::CommandCounts, error::Error, layout::Layout, run::StartKind};

/// A workspace as it is now.
#[derive(Clone, Debug)]
pub struct WorkspaceView {
    /// What is written down about it.
    pub record: WorkspaceRecord,
    /// About the machine, while one runs.
    pub machine: Option<MachineView>,
    /// How many commands it ran and runs.
    pub commands: CommandCounts,
    /// Bytes that its disk and its snapshots take on the host.
    pub disk_used_bytes: u64,
    /// How many snapshots it has, the baseline included.
    pub snapshots: usize,
    /// What it boots.
    pub boot: BootFiles,
}

/// A running machine, as far as it concerns people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineView {
    /// What separates it from the host.
    pub isolation: Isolation,
    /// How it came to life; none if an earlier daemon started it.
    pub start: Option<StartKind>,
    /// Why it was booted though there was something to restore.
    pub because: Option<String>,
    /// Why it stands still, if it does.
    pub stall: Option<Stall>,
}

impl WorkspaceRecord {
    /// When it will be stopped if nobody uses it until then.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.ttl.and_then(|ttl| self.last_activity_at.checked_add(ttl))
    }

    /// How long it may stay unused from now on.
    pub(crate) fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.expires_at().map(|end| end.duration_since(now).unwrap_or_default())
    }
}

/// What the driver lets everybody see, without being asked.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) record: Arc<WorkspaceRecord>,
    pub(super) machine: Option<MachineView>,
    pub(super) snapshots: Arc<[Arc<SnapshotRecord>]>,
}

/// What the disk and the snapshots of a workspace take on the host, bytes; of what it shares, its share. Blocks.
pub(super) fn used_bytes(layout: &Layout, record: &WorkspaceRecord) -> u64 {
    let snapshots = shelf::SnapshotFiles::of(layout, &record.id);
    // Without a template's memory it was never made from a template, but loaded: its base is its own.
    let owns_base = !record.one_shot && record.lineage.template_memory.is_none();
    WorkspaceDisk::of(layout, &record.id).used_bytes(owns_base) + snapshots.used_bytes()
}

impl Seen {
    /// The snapshot of that name, or of that id.
    pub(super) fn find_snapshot(&self, reference: &str) -> Result<Arc<SnapshotRecord>, Error> {
        shelf::find(&self.snapshots, reference).ok_or_else(|| Error::UnknownSnapshot {
            workspace: self.record.id.clone(),
            name: reference.trim().to_owned(),
        })
    }

    pub(super) fn view(self, commands: CommandCounts, layout: &Layout) -> WorkspaceView {
        let Self { record, machine, snapshots } = self;
        WorkspaceView {
            disk_used_bytes: used_bytes(layout, &record),
            snapshots: snapshots.iter().filter(|snapshot| snapshot.kind.is_listed()).count(),
            boot: kept_environment::kept(layout, &record.boot_digest, record.kernel_arguments.clone()),
            record: Arc::unwrap_or_clone(record),
            machine,
            commands,
        }
    }
}
