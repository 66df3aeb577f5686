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
