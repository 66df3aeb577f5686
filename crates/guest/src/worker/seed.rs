//! `Seed`: an archive becomes what the workspace begins with, and `/workspace` an overlay over it.
//!
//! The marker comes last, when everything is on the disk and the overlay is mounted. What a worker leaves behind that was
//! killed before that is thrown away by the next one; nobody has worked on it.

use std::io;

use pyro_protocol::work::{self, WorkFailureCode, work_reply};
use pyro_tree::archive::{Limits, Reader, Special};
use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;
use pyro_tree::unpack::{Options, Owner, Unpacked, unpack};
use rustix::mount::UnmountFlags;

use super::channel::Input;
use super::disk;
use super::error::{Result, WorkError};
use super::workspace::Workspace;
use crate::workspace_mount::{self, SEED, UPPER, WORK};

/// Most notes that are sent.
const MAX_NOTES: usize = 100;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Seed,
    input: &mut Input<'_>,
) -> Result<work_reply::Body> {
    let disk = disk::open(workspace)?;
    if workspace_mount::is_seeded(workspace.disk)? {
        return Err(WorkError::new(WorkFailureCode::Exists, "seed the workspace: it has a seed already"));
    }
    for leftover in [SEED, UPPER, WORK] {
        disk.remove_tree(&RelativePath::new(leftover)?)?;
    }
    workspace_mount::make_directories(workspace.disk)?;
    let unpacked = if request.has_input { fill(&disk, input)? } else { Unpacked::default() };
    show_attributes_of_seed(&disk)?;
    (workspace.mount.mount)(workspace.disk, workspace.path)
        .map_err(|error| failed("mount the workspace over its seed", error))?;
    if let Err(error) = workspace_mount::mark_seeded(workspace.disk) {
        let _nothing_to_undo = rustix::mount::unmount(workspace.path, UnmountFlags::DETACH);
        return Err(failed("write the seed to the disk", error));
    }
    Ok(work_reply::Body::Unpacked(told(&unpacked)))
}

fn fill(disk: &Root, input: &mut Input<'_>) -> Result<Unpacked> {
    let seed = disk.descend(&RelativePath::new(SEED)?)?;
    // To whom the worker is, which in a machine is root.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let options = Options { owner: Owner::All { uid, gid }, keep_set_id: true, asks_for_room: true };
    let mut reader = Reader::new(&mut *input, Limits::default(), Special::Skip);
    let unpacked = unpack(&mut reader, &seed, options)?;
    reader.finish()?;
    input.finish()?;
    Ok(unpacked)
}

/// `/workspace` itself shows what the upper layer's directory has.
fn show_attributes_of_seed(disk: &Root) -> Result<()> {
    let attributes = disk.metadata(&RelativePath::new(SEED)?)?.attributes;
    let upper = RelativePath::new(UPPER)?;
    disk.set_mode(&upper, attributes.mode)?;
    Ok(disk.set_mtime(&upper, attributes.mtime)?)
}

fn failed(operation: &str, error: io::Error) -> WorkError {
    let mut failure = WorkError::from(error);
    failure.message = format!("{operation}: {}", failure.message);
    failure
}

/// What was unpacked, for the host.
pub(super) fn told(unpacked: &Unpacked) -> work::Unpacked {
    work::Unpacked {
        entry_count: unpacked.entries,
        content_bytes: unpacked.bytes,
        notes: unpacked.notes.list.iter().take(MAX_NOTES).map(ToString::to_string).collect(),
    }
}
