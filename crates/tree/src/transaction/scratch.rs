//! [`Scratch`]: a place for what is made aside and then renamed into the tree, without a transaction.
//!
//! Each is a directory in the staging directory, locked by who works in it. What a dead one leaves, whoever cleans the
//! staging directory removes: the next transaction or [`recover`](super::recover).

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use rustix::{
    fs::{FlockOperation, flock, fstat},
    io::Errno,
};

use super::{Result, STAGING_NAME, Trust, io_error, staging::staging_path};
use crate::{
    attributes::{FileKind, Metadata},
    beneath::Root,
    path::RelativePath,
};

const PREFIX: &str = "aside-";

/// A directory of one's own; see the [module](self). Dropped, it goes with what is left in it.
#[derive(Debug)]
pub struct Scratch {
    /// The tree, links refused.
    tree: Root,
    path: RelativePath,
    /// Open and locked.
    directory: Root,
}

impl Scratch {
    /// Makes one.
    pub fn new(tree: &Root) -> Result<Self> {
        let tree = tree.try_clone().map_err(io_error("open", &RelativePath::root()))?.without_links();
        loop {
            match tree.make_directory(&staging_path(), 0o700) {
                Err(error) if !error.is_exists() => return Err(error.into()),
                _ => {}
            }
            // Whoever cleans up may take either directory away until the lock is held.
            let Some(found) = tree.find(&staging_path())? else { continue };
            // No journal is looked for here.
            Trust::Owner.admit(&found)?;
            let path = new_path();
            match tree.make_directory(&path, 0o700) {
                Err(error) if error.is_exists() || error.is_not_found() => continue,
                made => made?,
            }
            let directory = match tree.descend(&path) {
                Err(error) if error.is_not_found() => continue,
                directory => directory?,
            };
            if is_locked(&directory, &path)? && is_at(&directory, &tree, &path)? {
                return Ok(Self { tree, path, directory });
            }
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Root {
        &self.directory
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed by the next one who cleans up.
        let _left = self.tree.remove_tree(&self.path);
        // Somebody else may work there.
        let _shared = self.tree.remove_directory(&staging_path());
    }
}

/// Removes what nobody works in any more.
pub(super) fn remove_abandoned(tree: &Root) -> Result<()> {
    for entry in tree.list(&staging_path())? {
        if !entry.name.starts_with(PREFIX.as_bytes())
            || entry.kind.is_some_and(|kind| kind != FileKind::Directory)
        {
            continue;
        }
        let path = path_of(&entry.name);
        match tree.descend(&path) {
            Err(error) if error.is_not_found() => {}
            directory => {
                let directory = directory?;
                if is_locked(&directory, &path)? {
                    tree.remove_tree(&path)?;
                }
            }
        }
    }
    Ok(())
}

fn is_locked(directory: &Root, path: &RelativePath) -> Result<bool> {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(io_error("lock", path)(errno.into())),
    }
}

fn is_at(directory: &Root, tree: &Root, path: &RelativePath) -> Result<bool> {
    let ours = fstat(directory).map_err(|errno| io_error("inspect", path)(errno.into()))?;
    let ours = Metadata::of(&ours);
    Ok(tree.find(path)?.is_some_and(|named| (named.device, named.inode) == (ours.device, ours.inode)))
}

fn new_path() -> RelativePath {
    path_of(format!("{PREFIX}{:016x}", RandomState::new().build_hasher().finish()).as_bytes())
}

/// Of a name of our own making.
fn path_of(name: &[u8]) -> RelativePath {
    RelativePath::new([STAGING_NAME.as_bytes(), b"/", name].concat()).unwrap_or_default()
}
