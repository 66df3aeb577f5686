//! The parts of the writable disk that requests need besides `/workspace`.

use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;

use super::error::Result;
use super::workspace::Workspace;
use crate::workspace_mount::STATE;

/// The disk.
pub(super) fn open(workspace: &Workspace<'_>) -> Result<Root> {
    Ok(Root::from_directory(workspace.disk.try_clone_to_owned()?))
}

/// Where the worker remembers things, on a disk with a seed.
pub(super) fn state(disk: &Root) -> Result<Root> {
    Ok(disk.descend(&RelativePath::new(STATE)?)?)
}

/// What is remembered is changed by one worker at a time, by the one that holds this; it goes with a worker that dies.
pub(super) fn lock(state: &Root) -> Result<Root> {
    let lock = state.descend(&RelativePath::root())?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(lock)
}
