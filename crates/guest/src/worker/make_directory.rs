//! `MakeDirectory`: a directory and those above it.

use pyro_protocol::work::{Listed, MakeDirectory, WorkFailureCode, work_reply};
use pyro_tree::path::RelativePath;
use rustix::fs::{FileType, Mode, OFlags, fchmod, mkdirat, openat};

use super::entry::{type_of, word_for};
use super::error::{Result, WorkError};
use super::workspace::Workspace;

const MAKE: &str = "make directory";

pub(crate) fn answer(workspace: &Workspace<'_>, request: &MakeDirectory) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    let mode = request.mode.unwrap_or(0o755);
    if mode > 0o7777 {
        return Err(WorkError::about(
            WorkFailureCode::Invalid,
            MAKE,
            &path,
            format_args!("mode {mode:o} is none"),
        ));
    }
    if path.is_root() {
        if request.must_create {
            return Err(WorkError::about(WorkFailureCode::Exists, MAKE, &path, "it is there already"));
        }
        return Ok(work_reply::Body::Done(Listed::default()));
    }
    let place = workspace.place_to_be(MAKE, &path)?;
    drop(place);
    match make_one(workspace, &path, mode) {
        Err(error) if error.code == WorkFailureCode::Exists && !request.must_create => {
            must_be_directory(workspace, &path)?;
        }
        made => made?,
    }
    Ok(work_reply::Body::Done(Listed::default()))
}

/// Makes one directory, with exactly this mode whatever the mask of new files is.
pub(crate) fn make_one(workspace: &Workspace<'_>, path: &RelativePath, mode: u32) -> Result<()> {
    let place = workspace.place(MAKE, path)?;
    let mode = Mode::from_raw_mode(mode);
    mkdirat(place.directory(), place.name, mode).map_err(WorkError::at(MAKE, path))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(place.directory(), place.name, flags, Mode::empty());
    made.and_then(|made| fchmod(made, mode)).map_err(WorkError::at("set mode of", path))
}

/// A link to a directory inside is one.
fn must_be_directory(workspace: &Workspace<'_>, path: &RelativePath) -> Result<()> {
    let place = workspace.place(MAKE, path)?;
    let found = type_of(&place.stat().map_err(WorkError::at(MAKE, path))?);
    match found {
        FileType::Directory => Ok(()),
        FileType::Symlink => {
            let opened = workspace.open(path.as_bytes(), OFlags::PATH | OFlags::DIRECTORY);
            opened.map(drop).map_err(WorkError::resolving(MAKE, path))
        }
        other => Err(WorkError::about(
            WorkFailureCode::Exists,
            MAKE,
            path,
            format_args!("{} is there already", word_for(other)),
        )),
    }
}
