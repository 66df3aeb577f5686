//! `Stat`: one entry, links not followed.

use std::fs::File;

use pyro_protocol::work::{EntryKind, PathRef, work_reply};
use rustix::fs::{Mode, OFlags, fstat, openat};

use super::entry::{entry, entry_at, sha256};
use super::error::{Result, WorkError};
use super::workspace::Workspace;

pub(crate) fn answer(workspace: &Workspace<'_>, request: &PathRef) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    if path.is_root() {
        let stat = fstat(&workspace.root).map_err(WorkError::at("inspect", &path))?;
        return Ok(work_reply::Body::Entry(entry(b"", &stat)));
    }
    let place = workspace.place("inspect", &path)?;
    let stat = place.stat().map_err(WorkError::at("inspect", &path))?;
    let mut entry = entry_at(path.as_bytes(), &stat, place.directory(), place.name)
        .map_err(WorkError::at("inspect", &path))?;
    if request.with_sha256 && entry.kind() == EntryKind::File {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(place.directory(), place.name, flags, Mode::empty())
            .map_err(WorkError::at("read", &path))?;
        entry.sha256 = sha256(File::from(file)).map_err(WorkError::at("read", &path))?;
    }
    Ok(work_reply::Body::Entry(entry))
}
