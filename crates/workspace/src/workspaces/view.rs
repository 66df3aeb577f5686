//! What is told about a workspace.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyro_engine::{BootFiles, Isolation, Stall};

use super::{WorkspaceRecord, disk::WorkspaceDisk, kept_environment};
use crate::{commands::CommandCounts, layout::Layout, run::StartKind};

/// A workspace as it is now.
#[derive(Clone, Debug)]
pub struct WorkspaceView {
    /// What is written down about it.
    pub record: WorkspaceRecord,
    /// About the machine, while one runs.
    pub machine: Option<MachineView>,
    /// How many commands it ran and runs.
    pub commands: CommandCounts,
    /// Bytes that its disk takes on the host.
    pub disk_used_bytes: u64,
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
}

impl Seen {
    pub(super) fn view(self, commands: CommandCounts, layout: &Layout) -> WorkspaceView {
        let Self { record, machine } = self;
        WorkspaceView {
            disk_used_bytes: WorkspaceDisk::of(layout, &record.id).used_bytes(),
            boot: kept_environment::kept(layout, &record.boot_digest, record.kernel_arguments.clone()),
            record: Arc::unwrap_or_clone(record),
            machine,
            commands,
        }
    }
}
