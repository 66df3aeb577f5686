//! `Diff`: what was changed in `/workspace` since it was seeded, and the same as a patch. [`Report`] is the part that
//! [`diff_against`](super::diff_against) shares.
//!
//! Directories that came or went are told only if they are empty: else what is in them tells. Memory holds what changed
//! without its content, and the content of one file at a time; the patch is spooled, because where each file has its part
//! is told before.

use std::collections::HashSet;
use std::io::{self, Write as _};

use prost::Message as _;
use pyro_patch::{FilePath, Side, Stat, WriteOptions};
use pyro_protocol::work::{self, ChangeStatus, Changed, DiffDone, work_reply};
use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;

use super::channel::Output;
use super::contents::{ContentError, Contents};
use super::disk;
use super::entry::sha256;
use super::error::Result;
use super::filter::Filter;
use super::layers::Layers;
use super::node::{Difference, Node};
use super::overlay;
use super::renames::{self, Change};
use super::spool::Spool;
use super::workspace::Workspace;

/// So many bytes of changes are sent at once.
const BATCH_BYTES: usize = 128 << 10;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &work::Diff,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let filter = filter(workspace, request)?;
    let root = workspace.root.try_clone()?.without_links();
    let disk = disk::open(workspace)?;
    let (layers, state) = (Layers::open(&disk, workspace.mount.attributes)?, disk::state(&disk)?);
    let contents = Contents { layers: Some(&layers), workspace: &root, spool: None };
    let found = overlay::differences(&layers, contents, &state, &filter)?;
    let report = Report { request, contents, state: &state };
    report.send(found.list, found.notes, output)
}

/// What a request is about.
pub(super) fn filter(workspace: &Workspace<'_>, request: &work::Diff) -> Result<Filter> {
    Ok(Filter::new(request.paths.iter().map(|path| workspace.path(path)).collect::<Result<_>>()?))
}

/// How a path changed.
pub(super) fn status(base: Option<&Node>, now: Option<&Node>) -> ChangeStatus {
    match (base, now) {
        (None, _) => ChangeStatus::Added,
        (_, None) => ChangeStatus::Deleted,
        (Some(base), Some(now)) if base.metadata.kind != now.metadata.kind => ChangeStatus::TypeChanged,
        _ => ChangeStatus::Modified,
    }
}

/// Tells the host what changed.
pub(super) struct Report<'a> {
    pub(super) request: &'a work::Diff,
    pub(super) contents: Contents<'a>,
    /// Where the patch may be spooled.
    pub(super) state: &'a Root,
}

/// Changes on their way out.
pub(super) struct Batch {
    changed: Changed,
    bytes: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { changed: Changed { changes: Vec::new() }, bytes: 0 }
    }

    /// Adds one, and sends them if they are many.
    pub(super) fn add(&mut self, change: work::Change, output: &mut Output<'_>) -> io::Result<()> {
        self.bytes += change.encoded_len();
        self.changed.changes.push(change);
        if self.bytes > BATCH_BYTES { self.send(output) } else { Ok(()) }
    }

    /// Sends what is left.
    pub(super) fn send(&mut self, output: &mut Output<'_>) -> io::Result<()> {
        self.bytes = 0;
        let changes = std::mem::take(&mut self.changed.changes);
        if changes.is_empty() { Ok(()) } else { output.send(work_reply::Body::Changed(Changed { changes })) }
    }
}

impl Report<'_> {
    /// Sends the differences, in order of path, then the patch. What it returns is the final reply.
    pub(super) fn send(
        &self,
        differences: Vec<Difference>,
        notes: Vec<String>,
        output: &mut Output<'_>,
    ) -> Result<work_reply::Body> {
        let differences = without_implied_directories(differences);
        let changes = if self.request.no_renames {
            differences.into_iter().map(Change::from).collect()
        } else {
            renames::join(differences, self.contents)?
        };
        let mut patch = PatchText {
            spool: None,
            max_bytes: self.request.max_bytes,
            done: DiffDone { left_out: Vec::new(), notes },
            left_out_bytes: 0,
        };
        let mut batch = Batch::new();
        for change in changes {
            match self.told(&change, &mut patch) {
                Ok(told) => batch.add(told, output)?,
                Err(Failure::Content(error)) if error.is_gone() => {
                    patch.note(format!("`{}` changed while it was compared, and is left out", change.path));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        batch.send(output)?;
        if let Some(spool) = &patch.spool {
            io::copy(&mut spool.part(0, spool.length()), output)?;
        }
        let mut done = patch.done;
        done.notes.truncate(work::DIFF_NOTES);
        Ok(work_reply::Body::DiffDone(done))
    }

    fn told(&self, change: &Change, patch: &mut PatchText) -> std::result::Result<work::Change, Failure> {
        let Change { path, old_path, base, now } = change;
        let mut told = work::Change {
            path: path.as_bytes().to_vec(),
            status: status(base.as_ref(), now.as_ref()).into(),
            old_path: old_path.as_ref().map(|path| path.as_bytes().to_vec()).unwrap_or_default(),
            ..work::Change::default()
        };
        if old_path.is_some() {
            told.set_status(ChangeStatus::Renamed);
        }
        let base_path = old_path.as_ref().unwrap_or(path);
        if let Some(base) = base {
            told.base = Some(self.contents.entry(base_path, base, false)?);
        }
        if let Some(now) = now {
            told.now = Some(self.contents.entry(path, now, false)?);
        }
        if !self.request.names_only || self.request.with_counts {
            self.compare(change, base_path, &mut told, patch)?;
        }
        Ok(told)
    }

    /// Adds what only a look at the content tells, and the text to the patch.
    fn compare(
        &self,
        change: &Change,
        base_path: &RelativePath,
        told: &mut work::Change,
        patch: &mut PatchText,
    ) -> std::result::Result<(), Failure> {
        let old = self.side(base_path, change.base.as_ref())?;
        let new = self.side(&change.path, change.now.as_ref())?;
        let is_too_long = |side: &Option<Content>| side.as_ref().is_some_and(|side| side.bytes.is_none());
        let is_unread = is_too_long(&old) || is_too_long(&new);
        let (old, new) = (old.as_ref().map(Content::side), new.as_ref().map(Content::side));
        let mut text = Vec::new();
        let stat = match (self.request.names_only, is_unread) {
            (true, true) => Stat { binary: true, ..Stat::default() },
            (true, false) => pyro_patch::stat(old, new),
            (false, true) => pyro_patch::write_unread(&mut text, old, new),
            (false, false) => {
                let context = self
                    .request
                    .context
                    .map_or_else(|| WriteOptions::default().context, |lines| lines as usize);
                pyro_patch::write(&mut text, old, new, WriteOptions { context })
            }
        };
        told.binary = stat.binary;
        if self.request.with_counts && !stat.binary && (old.is_some() || new.is_some()) {
            (told.added_lines, told.removed_lines) = (Some(stat.added as u64), Some(stat.removed as u64));
        }
        patch.add(&change.path, &text, told, self.state)?;
        if told.binary {
            for (node, entry) in [(&change.base, &mut told.base), (&change.now, &mut told.now)] {
                if let (Some(node), Some(entry)) = (node.as_ref().filter(|node| node.is_file()), entry) {
                    entry.sha256 = sha256(self.contents.open(node)?).map_err(ContentError::from)?;
                }
            }
        }
        Ok(())
    }

    /// One side of a change as far as patches know it.
    fn side(
        &self,
        path: &RelativePath,
        node: Option<&Node>,
    ) -> std::result::Result<Option<Content>, Failure> {
        let Some(node) = node else { return Ok(None) };
        let Some(mode) = node.patch_mode() else { return Ok(None) };
        let Ok(path) = FilePath::new(path.as_bytes()) else { return Ok(None) };
        Ok(Some(Content { path, mode, bytes: self.contents.bytes(node, work::DIFF_TEXT_BYTES)? }))
    }
}

struct Content {
    path: FilePath,
    mode: pyro_patch::Mode,
    /// None: too many.
    bytes: Option<Vec<u8>>,
}

impl Content {
    /// Without content, if that is too long.
    fn side(&self) -> Side<'_> {
        Side { path: &self.path, mode: self.mode, content: self.bytes.as_deref().unwrap_or_default() }
    }
}

/// Why a change is not told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Spool(#[from] io::Error),
}

impl From<Failure> for super::error::WorkError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Content(error) => error.into(),
            Failure::Spool(error) => error.into(),
        }
    }
}

/// The patch as it grows.
struct PatchText {
    spool: Option<Spool>,
    /// 0: no bound.
    max_bytes: u64,
    done: DiffDone,
    left_out_bytes: usize,
}

impl PatchText {
    fn note(&mut self, note: String) {
        self.done.notes.push(note);
    }

    /// Adds a file's part, if it fits.
    fn add(
        &mut self,
        path: &RelativePath,
        text: &[u8],
        told: &mut work::Change,
        state: &Root,
    ) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let at = self.spool.as_ref().map_or(0, Spool::length);
        if self.max_bytes > 0 && at + text.len() as u64 > self.max_bytes {
            self.leave_out(path);
            return Ok(());
        }
        let spool = match &mut self.spool {
            Some(spool) => spool,
            empty => empty.insert(Spool::new(state)?),
        };
        spool.write_all(text)?;
        (told.patch_offset, told.patch_bytes) = (Some(at), text.len() as u64);
        Ok(())
    }

    /// Names a path that has no part. The host sees the others by their changes.
    fn leave_out(&mut self, path: &RelativePath) {
        let fits = self.left_out_bytes <= work::DIFF_LEFT_OUT_BYTES;
        self.left_out_bytes += path.as_bytes().len() + 4;
        if self.left_out_bytes <= work::DIFF_LEFT_OUT_BYTES {
            self.done.left_out.push(path.as_bytes().to_vec());
        } else if fits {
            self.done.notes.insert(0, "more was left out of the patch than is named".to_owned());
        }
    }
}

/// Without directories that came or went with something in them.
fn without_implied_directories(mut differences: Vec<Difference>) -> Vec<Difference> {
    let parents = |side: fn(&Difference) -> bool| {
        let paths = differences.iter().filter(|difference| side(difference));
        paths.filter_map(|difference| difference.path.parent()).collect::<HashSet<_>>()
    };
    let with_new = parents(|difference| difference.now.is_some());
    let with_old = parents(|difference| difference.base.is_some());
    differences.retain(|Difference { path, base, now }| match (base, now) {
        (None, Some(now)) if now.is_directory() => !with_new.contains(path),
        (Some(base), None) if base.is_directory() => !with_old.contains(path),
        _ => true,
    });
    differences
}
