//! [`walk`]: everything below a directory, in the order of the names' bytes, a directory before what it holds.
//!
//! Links are never followed, so there are no loops; what is moved about meanwhile is met once, twice or not at all, but
//! never outside the root. Memory holds the names of the directories on the way down, and one descriptor is open for the
//! directory at hand.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::fs::{AtFlags, statat};

use crate::{
    attributes::{FileKind, Metadata},
    beneath::{self, Root},
    notes::{Notes, Remark},
    path::RelativePath,
    transaction::STAGING_NAME,
};

/// Which files of a tree are taken.
pub trait Selection {
    /// A directory is entered, before its entries are asked for.
    fn enter(&mut self, path: &RelativePath, directory: &Root, notes: &mut Notes) {
        let _ = (path, directory, notes);
    }

    /// Whether a file is taken, and with a directory everything below.
    fn takes(&self, path: &RelativePath, kind: FileKind) -> bool;

    /// The directory entered last is done.
    fn leave(&mut self) {}
}

/// Takes all files.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl Selection for Everything {
    fn takes(&self, _: &RelativePath, _: FileKind) -> bool {
        true
    }
}

/// A file that was met.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// Its path from the walk's root.
    pub path: &'a RelativePath,
    /// What it was when it was met.
    pub metadata: &'a Metadata,
    /// The open directory in which it lies.
    pub directory: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a OsStr,
}

/// A directory on the way down.
struct Level {
    path: RelativePath,
    /// Names not yet met, the next one last.
    names: Vec<Vec<u8>>,
}

/// Calls `visit` for everything below `start`, the directory itself not included. What cannot be inspected or listed is
/// noted and left out; an error is that of `visit`. [`STAGING_NAME`] at the root is passed over.
pub fn walk<E>(
    root: &Root,
    start: &RelativePath,
    selection: &mut dyn Selection,
    notes: &mut Notes,
    visit: &mut dyn FnMut(Met<'_>, &mut Notes) -> Result<(), E>,
) -> Result<(), E> {
    let mut levels = Vec::new();
    let mut current = descend(root, start, selection, notes, &mut levels);
    loop {
        let Some(level) = levels.last_mut() else { return Ok(()) };
        let Some(name) = level.names.pop() else {
            levels.pop();
            selection.leave();
            current = None;
            continue;
        };
        if level.path.is_root() && name == STAGING_NAME.as_bytes() {
            continue;
        }
        let path = match level.path.child(&name) {
            Ok(path) => path,
            Err(error) => {
                notes.add(&level.path, Remark::Unreadable(error.to_string()));
                continue;
            }
        };
        let directory = match current.take().map_or_else(|| root.descend(&level.path), Ok) {
            Ok(directory) => current.insert(directory),
            Err(error) => {
                notes.add(&level.path, Remark::Unreadable(cause(&error)));
                level.names.clear();
                continue;
            }
        };
        let name = OsStr::from_bytes(&name);
        let metadata = match statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Metadata::of(&stat),
            // Deleted since it was listed.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(errno) => {
                notes.add(&path, Remark::Unreadable(io::Error::from(errno).to_string()));
                continue;
            }
        };
        if !selection.takes(&path, metadata.kind) {
            continue;
        }
        visit(Met { path: &path, metadata: &metadata, directory: directory.as_fd(), name }, notes)?;
        if metadata.kind == FileKind::Directory {
            current = descend(root, &path, selection, notes, &mut levels).or(current);
        }
    }
}

/// Opens and lists a directory; with a note if that cannot be.
fn descend(
    root: &Root,
    path: &RelativePath,
    selection: &mut dyn Selection,
    notes: &mut Notes,
    levels: &mut Vec<Level>,
) -> Option<Root> {
    let listed = root.descend(path).and_then(|directory| {
        let mut entries = directory.list(&RelativePath::root())?;
        entries.reverse();
        Ok((directory, entries))
    });
    match listed {
        Ok((directory, entries)) => {
            selection.enter(path, &directory, notes);
            let names = entries.into_iter().map(|entry| entry.name).collect();
            levels.push(Level { path: path.clone(), names });
            Some(directory)
        }
        Err(error) => {
            notes.add(path, Remark::Unreadable(cause(&error)));
            None
        }
    }
}

/// What the system said, without the path that the note has already.
pub(crate) fn cause(error: &beneath::Error) -> String {
    match error {
        beneath::Error::Io { source, .. } => source.to_string(),
        error => error.to_string(),
    }
}

/// How much there is to pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measure {
    /// Files, directories and links.
    pub entries: u64,
    /// Contents of all regular files, one with several names counted for each.
    pub bytes: u64,
}

/// Counts what a walk would meet, for a progress bar.
pub fn measure(root: &Root, start: &RelativePath, selection: &mut dyn Selection) -> Measure {
    let mut measure = Measure::default();
    let mut notes = Notes::default();
    let counted = walk(root, start, selection, &mut notes, &mut |met, _| {
        measure.entries += 1;
        if met.metadata.kind == FileKind::File {
            measure.bytes += met.metadata.size_bytes;
        }
        Ok::<(), std::convert::Infallible>(())
    });
    match counted {
        Ok(()) => measure,
    }
}
