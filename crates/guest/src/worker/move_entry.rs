//! `Move`: something gets another name.

use pyro_protocol::work::{Listed, Transfer, WorkFailureCode, work_reply};
use pyro_tree::path::RelativePath;
use rustix::fs::{AtFlags, FileType, RenameFlags, fstat, renameat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::entry::{type_of, word_for};
use super::error::{Result, WorkError};
use super::workspace::{Place, Workspace};

const MOVE: &str = "move";

pub(crate) fn answer(workspace: &Workspace<'_>, request: &Transfer) -> Result<work_reply::Body> {
    let (from, to) = (workspace.path(&request.from)?, workspace.path(&request.to)?);
    let source = workspace.place(MOVE, &from)?;
    let moved = source.stat().map_err(WorkError::at(MOVE, &from))?;
    if to != from && to.below(&from).is_some() {
        return Err(into_itself(&from, &to));
    }
    let target = workspace.place_to_be("move to", &to)?;
    let existing = check_target(&target, &to, type_of(&moved), request.overwrite)?;
    if existing.is_some_and(|existing| (existing.st_dev, existing.st_ino) == (moved.st_dev, moved.st_ino)) {
        // The kernel does nothing when both are names of one file, yet only the new one shall stay.
        if !is_same_place(&source, &target).map_err(WorkError::at(MOVE, &from))? {
            unlinkat(source.directory(), source.name, AtFlags::empty())
                .map_err(WorkError::at(MOVE, &from))?;
        }
        return Ok(work_reply::Body::Done(Listed::default()));
    }
    let (old, new) = (source.directory(), target.directory());
    let renamed = if existing.is_some() {
        renameat(old, source.name, new, target.name)
    } else {
        renameat_with(old, source.name, new, target.name, RenameFlags::NOREPLACE)
    };
    renamed.map_err(|error| match error {
        Errno::INVAL => into_itself(&from, &to),
        Errno::EXIST => WorkError::at("move to", &to)(error),
        Errno::XDEV => {
            let cause = format_args!("`{to}` is on another file system");
            WorkError::about(WorkFailureCode::Unspecified, MOVE, &from, cause)
        }
        error => WorkError::at(MOVE, &from)(error),
    })?;
    Ok(work_reply::Body::Done(Listed::default()))
}

fn into_itself(from: &RelativePath, to: &RelativePath) -> WorkError {
    let cause = format_args!("`{to}` is in it");
    WorkError::about(WorkFailureCode::Invalid, MOVE, from, cause)
}

/// What is at the target, if it may be replaced by something of the type `moved`.
pub(crate) fn check_target(
    target: &Place<'_>,
    path: &RelativePath,
    moved: FileType,
    overwrite: bool,
) -> Result<Option<rustix::fs::Stat>> {
    let existing = match target.stat() {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(WorkError::at("write", path)(error)),
    };
    let found = type_of(&existing);
    if found == FileType::Directory || !overwrite {
        let cause = format_args!("{} is there already", word_for(found));
        return Err(WorkError::about(WorkFailureCode::Exists, "write", path, cause));
    }
    if moved == FileType::Directory {
        let cause = format_args!("{} is there, which a directory does not replace", word_for(found));
        return Err(WorkError::about(WorkFailureCode::WrongType, "write", path, cause));
    }
    Ok(Some(existing))
}

fn is_same_place(a: &Place<'_>, b: &Place<'_>) -> rustix::io::Result<bool> {
    let (above_a, above_b) = (fstat(a.directory())?, fstat(b.directory())?);
    Ok(a.name == b.name && (above_a.st_dev, above_a.st_ino) == (above_b.st_dev, above_b.st_ino))
}
