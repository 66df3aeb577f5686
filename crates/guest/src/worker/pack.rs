//! `Pack`: files of the workspace as a tar stream.

use std::io::Write as _;

use pyro_protocol::work::{self, WorkFailureCode, work_reply};
use pyro_tree::archive::Writer;
use pyro_tree::pack::Packer;
use pyro_tree::path::RelativePath;
use pyro_tree::unpack::Unpacked;
use pyro_tree::walk::Everything;

use super::channel::Output;
use super::error::{Result, WorkError};
use super::seed::told;
use super::workspace::Workspace;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Pack,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let base = workspace.path(&request.base)?;
    let mut paths = Vec::with_capacity(request.paths.len());
    for path in &request.paths {
        paths.push(member(workspace, path, &base)?);
    }
    let root = workspace.root.try_clone()?.without_links().descend(&base)?;
    let mut writer = Writer::new(output);
    let mut packer = Packer::new(&root, &mut writer)?;
    for path in &paths {
        if request.not_recursive {
            packer.append(path)?;
        } else {
            packer.append_tree(path, &mut Everything)?;
        }
    }
    let packed = packer.finish();
    writer.finish()?.flush()?;
    let unpacked = Unpacked { entries: packed.entries, bytes: packed.bytes, notes: packed.notes };
    Ok(work_reply::Body::Unpacked(told(&unpacked)))
}

/// A path as the archive names it: relative to the base. It is there, and no link is on the way.
fn member(workspace: &Workspace<'_>, path: &[u8], base: &RelativePath) -> Result<RelativePath> {
    let path = workspace.path(path)?;
    // Says which links leave the workspace.
    workspace.root.metadata(&path)?;
    workspace.root.try_clone()?.without_links().metadata(&path)?;
    path.below(base).ok_or_else(|| {
        WorkError::about(WorkFailureCode::Invalid, "pack", &path, format_args!("it is not below `{base}`"))
    })
}
