//! `List`: what is in a directory, or the one entry that is none, page by page.

use prost::Message as _;
use pyro_protocol::work::{Entries, Entry, EntryKind, List, Listed, WorkFailureCode, work_reply};
use pyro_tree::path::RelativePath;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use super::channel::Output;
use super::entry::{entry_at, stamp, type_of};
use super::error::{Result, WorkError};
use super::walk::{Step, Walk};
use super::workspace::Workspace;

/// From so many bytes on entries are sent.
const BATCH_BYTES: usize = 32 << 10;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &List,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    let mut batch = Batch::new(request.limit);
    if let Some(single) = not_a_directory(workspace, &path)? {
        batch.add(output, single)?;
        return batch.finish(output, Vec::new());
    }
    // One more than the limit, to know whether there is one.
    let at_most =
        usize::try_from(request.limit).ok().filter(|limit| *limit > 0).map(|limit| limit.saturating_add(1));
    let mut walk = Walk::new(workspace, &path)?.at_most(at_most);
    if !request.after.is_empty() {
        let after = workspace.path(&request.after)?;
        if after.below(&path).is_none_or(|way| way.is_root()) {
            let cause = format_args!("the page is to begin behind `{after}`, which is not in it");
            return Err(WorkError::about(WorkFailureCode::Invalid, "list", &path, cause));
        }
        walk = walk.after(&path, &after, request.recursive);
    }
    let mut walk = walk.start()?;
    while let Some(step) = walk.step()? {
        let Step::Found(kind) = step else { continue };
        if let Some(entry) = entry_found(&walk, request.with_stamps)?
            && !batch.add(output, entry)?
        {
            break;
        }
        if request.recursive && kind == FileType::Directory {
            walk.enter()?;
        }
    }
    batch.finish(output, walk.take_notes())
}

/// The entry of what a walk has found; none if it has vanished since.
pub(crate) fn entry_found(walk: &Walk<'_>, with_stamp: bool) -> Result<Option<Entry>> {
    let found = walk.stat().and_then(|stat| {
        let mut entry = entry_at(walk.path(), &stat, walk.directory()?, walk.name())?;
        if with_stamp && entry.kind() == EntryKind::File {
            entry.stamp = stamp(&stat);
        }
        Ok(entry)
    });
    match found {
        Ok(entry) => Ok(Some(entry)),
        // Gone, or a link that has become something else.
        Err(Errno::NOENT | Errno::INVAL | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(walk.failed("inspect", error)),
    }
}

/// The entry at a path, unless it is a directory or a link that leads to one inside.
fn not_a_directory(workspace: &Workspace<'_>, path: &RelativePath) -> Result<Option<Entry>> {
    if path.is_root() {
        return Ok(None);
    }
    let place = workspace.place("list", path)?;
    let stat = place.stat().map_err(WorkError::at("list", path))?;
    if type_of(&stat) == FileType::Directory {
        return Ok(None);
    }
    let entry = entry_at(path.as_bytes(), &stat, place.directory(), place.name);
    let entry = entry.map_err(WorkError::at("list", path))?;
    if entry.kind() != EntryKind::Symlink {
        return Ok(Some(entry));
    }
    match workspace.open(path.as_bytes(), OFlags::PATH).and_then(fstat) {
        Ok(target) if type_of(&target) == FileType::Directory => Ok(None),
        // One that leads nowhere, in circles or out is still there to be listed.
        _ => Ok(Some(entry)),
    }
}

/// Entries on their way to the host, up to a bound.
pub(crate) struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
    /// How many may still come.
    left: u64,
    is_truncated: bool,
}

impl Batch {
    /// `limit` 0: no bound.
    pub(crate) fn new(limit: u64) -> Self {
        let left = if limit == 0 { u64::MAX } else { limit };
        Self { entries: Vec::new(), bytes: 0, left, is_truncated: false }
    }

    /// Takes an entry; false, without taking it, if there may be no more.
    pub(crate) fn add(&mut self, output: &mut Output<'_>, entry: Entry) -> Result<bool> {
        if self.left == 0 {
            self.is_truncated = true;
            return Ok(false);
        }
        self.left -= 1;
        self.bytes += entry.encoded_len();
        self.entries.push(entry);
        if self.bytes >= BATCH_BYTES {
            self.send(output)?;
        }
        Ok(true)
    }

    /// The final reply, after the entries that were not sent yet.
    pub(crate) fn finish(mut self, output: &mut Output<'_>, notes: Vec<String>) -> Result<work_reply::Body> {
        self.send(output)?;
        Ok(work_reply::Body::Done(Listed { truncated: self.is_truncated, notes }))
    }

    fn send(&mut self, output: &mut Output<'_>) -> Result<()> {
        if !self.entries.is_empty() {
            let entries = std::mem::take(&mut self.entries);
            self.bytes = 0;
            output.send(work_reply::Body::Entries(Entries { entries }))?;
        }
        Ok(())
    }
}
