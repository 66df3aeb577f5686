//! `Changes`: what differs from what host and guest had in common last, with what that was: the guest's side of a
//! three-way merge.

use pyro_protocol::work::{self, ChangeStatus, Entry, EntryKind, Listed, work_reply};
use pyro_tree::path::RelativePath;

use super::channel::Output;
use super::contents::{ContentError, Contents};
use super::diff::Batch;
use super::disk;
use super::error::{Result, WorkError};
use super::filter::Filter;
use super::layers::Layers;
use super::node::{Difference, Node};
use super::overlay;
use super::synced::{Common, is_gone};
use super::workspace::Workspace;

const MAX_NOTES: usize = 100;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Changes,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let filter = Filter::new(vec![workspace.path(&request.path)?]);
    let root = workspace.root.try_clone()?.without_links();
    let disk = disk::open(workspace)?;
    let (layers, state) = (Layers::open(&disk, workspace.mount.attributes)?, disk::state(&disk)?);
    let common = Common::read(&state)?;
    let contents = Contents { layers: Some(&layers), workspace: &root, spool: None };
    let mut found = overlay::differences(&layers, contents, &state, &filter)?;
    found.list.extend(as_seeded(&layers, &common, &filter, &found.list)?);
    found.list.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let mut batch = Batch::new();
    for Difference { path, base, now } in found.list {
        match told(contents, &common, &path, base.as_ref(), now.as_ref()) {
            Ok(Some(change)) => batch.add(change, output)?,
            Ok(None) => {}
            Err(error) if error.is_gone() => {
                let cause = "it changed while it was looked at";
                return Err(WorkError::about(work::WorkFailureCode::Changed, "compare", &path, cause));
            }
            Err(error) => return Err(error.into()),
        }
    }
    batch.send(output)?;
    found.notes.truncate(MAX_NOTES);
    Ok(work_reply::Body::Done(Listed { truncated: false, notes: found.notes }))
}

/// Paths that are as the seed has them, while something else was in common last.
fn as_seeded(
    layers: &Layers,
    common: &Common,
    filter: &Filter,
    differing: &[Difference],
) -> Result<Vec<Difference>> {
    let mut reverted = Vec::new();
    for (path, _entry) in common.iter().filter(|(path, _entry)| filter.takes(path)) {
        if differing.binary_search_by(|difference| difference.path.cmp(path)).is_err() {
            reverted.push(Difference { path: path.clone(), base: None, now: layers.find(path)? });
        }
    }
    Ok(reverted)
}

/// The change for the host; `None` if it is what was in common last.
fn told(
    contents: Contents<'_>,
    common: &Common,
    path: &RelativePath,
    seeded: Option<&Node>,
    now: Option<&Node>,
) -> std::result::Result<Option<work::Change>, ContentError> {
    let entry = |node: Option<&Node>| node.map(|node| contents.entry(path, node, true)).transpose();
    let base = match common.get(path) {
        Some(entry) if is_gone(entry) => None,
        Some(entry) => Some(entry.clone()),
        None => entry(seeded)?,
    };
    let now = entry(now)?;
    let status = match (&base, &now) {
        (None, None) => return Ok(None),
        (Some(base), Some(now)) if is_same(base, now) => return Ok(None),
        (None, Some(_)) => ChangeStatus::Added,
        (Some(_), None) => ChangeStatus::Deleted,
        (Some(base), Some(now)) if base.kind != now.kind => ChangeStatus::TypeChanged,
        (Some(_), Some(_)) => ChangeStatus::Modified,
    };
    let path = path.as_bytes().to_vec();
    Ok(Some(work::Change { path, status: status.into(), now, base, ..work::Change::default() }))
}

/// Whether two entries stand for the same. Owners and times do not count.
fn is_same(base: &Entry, now: &Entry) -> bool {
    base.kind == now.kind
        && match now.kind() {
            EntryKind::File => (&base.sha256, base.mode) == (&now.sha256, now.mode),
            EntryKind::Directory => base.mode == now.mode,
            EntryKind::Symlink => base.link_target == now.link_target,
            EntryKind::Special => base.mode == now.mode,
        }
}
