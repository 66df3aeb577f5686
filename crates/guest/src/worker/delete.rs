//! `Delete`: something goes, a directory with all it holds only where that is said.

use pyro_protocol::work::{Delete, Listed, WorkFailureCode, work_reply};
use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;

use super::entry::type_of;
use super::error::{Result, WorkError};
use super::workspace::Workspace;

const DELETE: &str = "delete";

pub(crate) fn answer(workspace: &Workspace<'_>, request: &Delete) -> Result<work_reply::Body> {
    match delete(workspace, request) {
        Err(error) if error.is_not_found() && request.missing_ok => {}
        deleted => deleted?,
    }
    Ok(work_reply::Body::Done(Listed::default()))
}

fn delete(workspace: &Workspace<'_>, request: &Delete) -> Result<()> {
    let path = workspace.path(&request.path)?;
    let place = workspace.place(DELETE, &path)?;
    let kind = type_of(&place.stat().map_err(WorkError::at(DELETE, &path))?);
    let flags = match kind {
        FileType::Directory if request.recursive => return Ok(workspace.root.remove_tree(&path)?),
        FileType::Directory => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    unlinkat(place.directory(), place.name, flags).map_err(|error| match error {
        Errno::NOTEMPTY | Errno::EXIST => {
            let cause = "the directory is not empty";
            WorkError::about(WorkFailureCode::NotEmpty, DELETE, &path, cause)
        }
        error => WorkError::at(DELETE, &path)(error),
    })
}
