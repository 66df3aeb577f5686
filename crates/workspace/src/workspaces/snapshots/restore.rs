//! From a snapshot to a machine that is ready to start.

use std::sync::Arc;

use pyro_engine::{DiskLayers, SavedMachine};
use tracing::warn;

use super::{
    capture::fits,
    memory::MemoryOf,
    record::{MemoryContent, MemoryStage, SnapshotRecord},
    shelf::SnapshotFiles,
};
use crate::{
    error::{Error, chain},
    files::FileWorkers,
    host::Resources,
    machine_directory::MachineDirectory,
    machine_start::{Claimed, Running},
    run::StartKind,
    session::GuestSession,
    task,
    workspaces::{WorkspaceRecord, disk::WorkspaceDisk, kept_environment},
};

/// Where the state of the devices is put for the machine that is started from it.
const STATE: &str = "snapshot-state";

/// Gets a machine for the workspace ready that goes on from the snapshot, on these layers: with its memory, if that fits and is
/// whole; else it boots, and will say why.
///
/// # Errors
///
/// [`Error::SnapshotDamaged`]: a layer of its disk is not as it was, so there is nothing to go on from.
pub(in super::super) async fn claim(
    resources: &Arc<Resources>,
    record: &WorkspaceRecord,
    snapshot: &SnapshotRecord,
    layers: DiskLayers,
) -> Result<Claimed, Error> {
    let (resources, record, snapshot) = (Arc::clone(resources), record.clone(), snapshot.clone());
    task::blocking(move || {
        let layout = &resources.layout;
        let disk = WorkspaceDisk::of(layout, &record.id);
        let damaged = |source| Error::SnapshotDamaged { snapshot: snapshot.shown_name().to_owned(), source };
        disk.check(&snapshot.disk).map_err(damaged)?;
        let boot = kept_environment::kept(layout, &record.boot_digest, record.kernel_arguments.clone());
        let directory = MachineDirectory::create_for(layout, &record.id)?;
        match memory(&resources, &record, &snapshot, &directory) {
            Ok(saved) => Ok(Claimed::from_snapshot(record.shape, boot, directory, layers, saved)),
            Err(because) => {
                warn!(workspace = %record.id, snapshot = %snapshot.id, %because, "boots, without the memory of a snapshot");
                Ok(Claimed::from_disk(record.shape, boot, directory, layers, Some(because)))
            }
        }
    })
    .await
}

/// What is saved of the machine, or why that is of no use.
fn memory(
    resources: &Resources,
    record: &WorkspaceRecord,
    snapshot: &SnapshotRecord,
    directory: &MachineDirectory,
) -> Result<SavedMachine, String> {
    let Some(memory) = snapshot.memory.clone() else {
        return Err("the workspace had no machine when it was taken".to_owned());
    };
    if memory.stage != MemoryStage::Sealed {
        return Err("its memory could not be kept".to_owned());
    }
    if memory.fits != fits(resources, record) {
        let build = resources.engine.build();
        return Err(unfit(&memory.engine, &format!("{} {}", build.name, build.version)));
    }
    let of = MemoryOf {
        files: SnapshotFiles::of(&resources.layout, &record.id),
        snapshot: snapshot.id.clone(),
        memory,
        shape: record.shape,
        base: record.lineage.template_memory.clone(),
    };
    let state = directory.path().join(STATE);
    let composed = resources.memories.get(&of).and_then(|memory| {
        resources.memories.state(&of, &state)?;
        Ok(SavedMachine { memory, state })
    });
    composed.map_err(|error| chain(&error))
}

/// Why memory that `saved` saved is of no use to `here`.
fn unfit(saved: &str, here: &str) -> String {
    if saved == here {
        return format!(
            "its memory was saved by {saved}, as it is here, but on another processor, with another acceleration or by another build of it"
        );
    }
    format!("its memory was saved by {saved} and does not fit {here} on this host")
}

/// The file workers of a machine that goes on from a snapshot which was taken, or not, while those of then were at rest.
pub(in super::super) fn workers(running: &Running, session: GuestSession, at_rest: bool) -> FileWorkers {
    match running.start {
        StartKind::Restored if at_rest => FileWorkers::going_on(session),
        StartKind::Restored | StartKind::Booted => FileWorkers::taking_over(session),
    }
}

/// What the memory of a machine is that was started so.
pub(in super::super) fn origin(running: &Running, snapshot: &SnapshotRecord) -> Option<MemoryContent> {
    match (running.start, &snapshot.memory) {
        (StartKind::Restored, Some(memory)) => Some(memory.content.clone()),
        (StartKind::Restored, None) => None,
        (StartKind::Booted, _) => Some(MemoryContent::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::unfit;

    #[test]
    fn a_reason_names_two_builds_or_says_what_else_differs() {
        let another = unfit("qemu 9.2", "qemu 7.2");
        assert!(another.contains("qemu 9.2") && another.contains("qemu 7.2"), "{another}");
        let same = unfit("qemu 7.2", "qemu 7.2");
        assert_eq!(same.matches("qemu 7.2").count(), 1, "{same}");
        assert!(same.contains("another processor"), "{same}");
    }
}
