//! A replaced file under a second name, so that replacing it is one rename and taking that back another.

use std::io;

use rustix::io::Errno;

use super::{Result, io_error};
use crate::{
    attributes::FileKind,
    beneath::{self, Root},
    path::RelativePath,
};

/// Makes `old` a second name of what is at `path`: then taking back gives the same file again, with its other names
/// and to those who have it open. Where the file system has no links, or forbids one to this file, `old` is a copy.
pub(super) fn keep(root: &Root, path: &RelativePath, old: &RelativePath) -> Result<()> {
    match root.hard_link(path, old) {
        Err(beneath::Error::Io { source, .. }) if is_unlinkable(&source) => copy(root, path, old),
        linked => Ok(linked?),
    }
}

fn is_unlinkable(error: &io::Error) -> bool {
    let causes = [Errno::PERM, Errno::MLINK, Errno::XDEV, Errno::OPNOTSUPP, Errno::NOSYS, Errno::ACCESS];
    error.raw_os_error().is_some_and(|raw| causes.iter().any(|errno| errno.raw_os_error() == raw))
}

pub(super) fn copy(root: &Root, path: &RelativePath, old: &RelativePath) -> Result<()> {
    let metadata = root.metadata(path)?;
    if metadata.kind == FileKind::Symlink {
        root.make_link(old, &root.read_link(path)?)?;
    } else {
        let mut to = root.create(old, 0o600)?;
        io::copy(&mut root.read(path)?, &mut to).map_err(io_error("copy", path))?;
    }
    let made = root.metadata(old)?.attributes;
    let wanted = metadata.attributes;
    if (made.uid, made.gid) != (wanted.uid, wanted.gid) {
        root.set_owner(old, wanted.uid, wanted.gid)?;
    }
    if metadata.kind != FileKind::Symlink {
        root.set_mode(old, wanted.mode)?;
    }
    Ok(root.set_mtime(old, wanted.mtime)?)
}
