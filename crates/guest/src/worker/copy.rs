//! `Copy`: a file or a tree once more, with modes, owners, times, links and the hard links among its files.
//!
//! It is made aside, in the directory of changes that are not complete, and then renamed, so that half a copy is never
//! seen, and one whose worker died goes with the next change. On a file system of its own below the workspace it is made
//! beside its name, under one that nobody guesses.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use pyro_protocol::work::{Transfer, Unpacked, WorkFailureCode, work_reply};
use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::Scratch;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, chmodat, fstat, openat, renameat_with, statat,
};
use rustix::io::Errno;

use super::copy_tree;
use super::duplicate::{At, leaf};
use super::entry::{type_of, word_for};
use super::error::{Result, WorkError};
use super::move_entry::check_target;
use super::replacement::provisional_name;
use super::workspace::{Place, Workspace};

const COPY: &str = "copy";

pub(crate) fn answer(workspace: &Workspace<'_>, request: &Transfer) -> Result<work_reply::Body> {
    let (from, to) = (workspace.path(&request.from)?, workspace.path(&request.to)?);
    let source = workspace.place(COPY, &from)?;
    let stat = source.stat().map_err(WorkError::at(COPY, &from))?;
    let kind = check_source(&from, type_of(&stat), request.recursive)?;
    let is_directory = kind == FileType::Directory;
    if is_directory && to.below(&from).is_some() {
        return Err(into_itself(&from, &to));
    }
    let target = workspace.place_to_be("copy to", &to)?;
    let existing = check_target(&target, &to, kind, request.overwrite)?;
    if existing.is_some_and(|existing| (existing.st_dev, existing.st_ino) == (stat.st_dev, stat.st_ino)) {
        let cause = format_args!("`{to}` is the same file");
        return Err(WorkError::about(WorkFailureCode::Invalid, COPY, &from, cause));
    }
    if is_directory && lies_in(target.directory(), &stat).map_err(WorkError::at(COPY, &from))? {
        return Err(into_itself(&from, &to));
    }
    let copy = Provisional::new(workspace, &target)?;
    let copied = if is_directory {
        copy_tree::copy(workspace, &from, &stat, copy.at())?
    } else {
        let from_at = At { directory: source.directory(), name: source.name };
        let content_bytes = leaf(from_at, copy.at(), &stat).map_err(WorkError::at(COPY, &from))?;
        Unpacked { entry_count: 1, content_bytes, notes: Vec::new() }
    };
    copy.take_name(&target, existing.is_some()).map_err(WorkError::at("copy to", &to))?;
    Ok(work_reply::Body::Unpacked(copied))
}

fn check_source(from: &RelativePath, kind: FileType, recursive: bool) -> Result<FileType> {
    let cause = match kind {
        FileType::RegularFile | FileType::Symlink => return Ok(kind),
        FileType::Directory if recursive => return Ok(kind),
        FileType::Directory => "it is a directory, which is copied only with all it holds",
        other => word_for(other),
    };
    Err(WorkError::about(WorkFailureCode::WrongType, COPY, from, cause))
}

fn into_itself(from: &RelativePath, to: &RelativePath) -> WorkError {
    let cause = format_args!("`{to}` is in it");
    WorkError::about(WorkFailureCode::Invalid, COPY, from, cause)
}

/// Whether a directory is `above` or lies in it, whatever links led there.
fn lies_in(directory: BorrowedFd<'_>, above: &Stat) -> rustix::io::Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(directory, ".", flags, Mode::empty())?;
    let mut below = None;
    loop {
        let stat = fstat(&at)?;
        let identity = (stat.st_dev, stat.st_ino);
        if identity == (above.st_dev, above.st_ino) {
            return Ok(true);
        }
        // The directory above `/` is `/`.
        if below.replace(identity) == Some(identity) {
            return Ok(false);
        }
        at = openat(&at, "..", flags, Mode::empty())?;
    }
}

/// A copy that does not have its name yet. Dropped before it has, it goes.
struct Provisional {
    parent: OwnedFd,
    name: OsString,
    /// What `parent` is, where that is on the same file system as the target.
    _scratch: Option<Scratch>,
}

impl Provisional {
    fn new(workspace: &Workspace<'_>, target: &Place<'_>) -> Result<Self> {
        let is_elsewhere = fstat(target.directory())?.st_dev != fstat(&workspace.root)?.st_dev;
        let scratch = if is_elsewhere { None } else { Some(Scratch::new(&workspace.root)?) };
        let directory =
            scratch.as_ref().map_or_else(|| target.directory(), |scratch| scratch.directory().as_fd());
        let parent = rustix::io::fcntl_dupfd_cloexec(directory, 0)?;
        Ok(Self { parent, name: provisional_name(), _scratch: scratch })
    }

    fn at(&self) -> At<'_> {
        At { directory: self.parent.as_fd(), name: &self.name }
    }

    fn take_name(self, target: &Place<'_>, overwrite: bool) -> rustix::io::Result<()> {
        let flags = if overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let (old, new) = (&self.parent, target.directory());
        match renameat_with(old, &self.name, new, target.name, flags) {
            // Who is not root must be allowed to write to a directory that moves.
            Err(Errno::ACCESS) => {
                let mode = Mode::from_raw_mode(statat(old, &self.name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
                chmodat(old, &self.name, mode | Mode::WUSR, AtFlags::empty())?;
                renameat_with(old, &self.name, new, target.name, flags)?;
                chmodat(new, target.name, mode, AtFlags::empty())
            }
            renamed => renamed,
        }
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        // Nothing has the name once the copy has its own. If it cannot be removed there is nobody to tell.
        let removed = rustix::io::fcntl_dupfd_cloexec(&self.parent, 0).map(Root::from_directory);
        if let (Ok(parent), Ok(name)) = (removed, RelativePath::new(self.name.as_bytes())) {
            let _left = parent.remove_tree(&name);
        }
    }
}
