//! [`Report`]: changes in the host's words, and the patch.

use bytes::{Bytes, BytesMut};
use pyro_patch::{FilePath, Mode, Stat, WriteOptions};
use pyro_protocol::work::{self, ChangeStatus, Diff, DiffDone, Entry, EntryKind};
use pyro_tree::RelativePath;
use sha2::{Digest as _, Sha256};

use super::{
    super::{binary_parts::is_beyond_text, diff::DiffReport, error::FileError},
    Side, SideError,
    contents::{Content, Sides},
    renames::{Change, patch_mode},
};

/// A report as it grows, change by change.
pub(super) struct Report<'a> {
    request: &'a Diff,
    sides: Sides<'a>,
    changes: Vec<work::Change>,
    patch: BytesMut,
    done: DiffDone,
    left_out_bytes: usize,
}

/// One side of a change as far as patches know it.
struct PatchSide {
    path: FilePath,
    mode: Mode,
    /// None: too many.
    bytes: Option<Bytes>,
}

impl PatchSide {
    /// Without content, if that is too long.
    fn side(&self) -> pyro_patch::Side<'_> {
        let content = self.bytes.as_deref().unwrap_or_default();
        pyro_patch::Side { path: &self.path, mode: self.mode, content }
    }
}

/// What a look at both sides' contents tells.
struct Written {
    stat: Stat,
    /// Of a file that was not read on both sides it is right only if the digests are equal.
    text: Vec<u8>,
    /// Digests of both sides, of those that were read.
    digests: [Option<Vec<u8>>; 2],
}

impl<'a> Report<'a> {
    /// An empty one.
    pub(super) fn new(request: &'a Diff, sides: Sides<'a>, notes: Vec<String>) -> Self {
        Self {
            request,
            sides,
            changes: Vec::new(),
            patch: BytesMut::new(),
            done: DiffDone { left_out: Vec::new(), notes },
            left_out_bytes: 0,
        }
    }

    /// The report of these changes, in their order.
    pub(super) async fn of(mut self, changes: Vec<Change>) -> Result<DiffReport, SideError> {
        for change in changes {
            self.add(change).await?;
        }
        self.done.notes.truncate(work::DIFF_NOTES);
        Ok(DiffReport { changes: self.changes, patch: self.patch.freeze(), done: self.done })
    }

    async fn add(&mut self, change: Change) -> Result<(), SideError> {
        let Change { path, old_path, old, new } = change;
        let mut told = work::Change {
            path: path.as_bytes().to_vec(),
            status: status(old.as_ref(), new.as_ref()).into(),
            old_path: old_path.as_ref().map(|path| path.as_bytes().to_vec()).unwrap_or_default(),
            base: old,
            now: new,
            ..work::Change::default()
        };
        if old_path.is_some() {
            told.set_status(ChangeStatus::Renamed);
        }
        let is_listed_only = self.request.names_only && !self.request.with_counts;
        let old_path = old_path.as_ref().unwrap_or(&path);
        if is_listed_only || self.compare(&mut told, old_path, &path).await? {
            self.changes.push(told);
        } else {
            let note = format!("`{path}` changed while it was compared, and is left out");
            self.done.notes.push(note);
        }
        Ok(())
    }

    /// Adds what only a look at the contents tells, and the text to the patch. False if one of them is gone.
    async fn compare(
        &mut self,
        told: &mut work::Change,
        old_path: &RelativePath,
        path: &RelativePath,
    ) -> Result<bool, SideError> {
        let (old, new) = tokio::join!(
            self.patch_side(Side::Old, old_path, told.base.as_ref()),
            self.patch_side(Side::New, path, told.now.as_ref()),
        );
        let (Read::Side(old), Read::Side(new)) = (old?, new?) else { return Ok(false) };
        let has_sides = old.is_some() || new.is_some();
        let (names_only, context) = (self.request.names_only, self.request.context);
        let written = tokio::task::spawn_blocking(move || write(old, new, names_only, context));
        let failed = |_| Side::New.failed()(FileError::Protocol("a thread of the host failed"));
        let Written { stat, text, digests } = written.await.map_err(failed)?;
        told.binary = stat.binary;
        if self.request.with_counts && !stat.binary && has_sides {
            (told.added_lines, told.removed_lines) = (Some(stat.added as u64), Some(stat.removed as u64));
        }
        if told.binary {
            let [old, new] = digests;
            let sides = [(Side::Old, old_path, &mut told.base, old), (Side::New, path, &mut told.now, new)];
            for (side, path, entry, digest) in sides {
                let Some(entry) = entry.as_mut().filter(|entry| entry.kind() == EntryKind::File) else {
                    continue;
                };
                entry.sha256 = match digest {
                    Some(digest) => digest,
                    // It was in doubt, and is known since.
                    None if !entry.sha256.is_empty() => continue,
                    None => match self.sides.digest(side, path).await? {
                        Some(digest) => digest,
                        None => return Ok(false),
                    },
                };
            }
        }
        if !is_beyond_text(told) {
            self.append(&text, told);
        }
        Ok(true)
    }

    async fn patch_side(
        &self,
        side: Side,
        path: &RelativePath,
        entry: Option<&Entry>,
    ) -> Result<Read, SideError> {
        let Some(entry) = entry else { return Ok(Read::Side(None)) };
        let Some(mode) = patch_mode(entry) else { return Ok(Read::Side(None)) };
        let Ok(file) = FilePath::new(path.as_bytes()) else { return Ok(Read::Side(None)) };
        let bytes = match self.sides.content(side, path, entry, work::DIFF_TEXT_BYTES).await? {
            Content::Bytes(bytes) => Some(bytes),
            Content::TooLong => None,
            Content::Gone => return Ok(Read::Gone),
        };
        Ok(Read::Side(Some(PatchSide { path: file, mode, bytes })))
    }

    /// Adds a file's part to the patch, if it fits.
    fn append(&mut self, text: &[u8], told: &mut work::Change) {
        if text.is_empty() {
            return;
        }
        let at = self.patch.len() as u64;
        if at + text.len() as u64 > self.request.max_bytes {
            self.leave_out(&told.path);
            return;
        }
        self.patch.extend_from_slice(text);
        (told.patch_offset, told.patch_bytes) = (Some(at), text.len() as u64);
    }

    /// Names a path that has no part. The others are seen by their changes.
    fn leave_out(&mut self, path: &[u8]) {
        let fits = self.left_out_bytes <= work::DIFF_LEFT_OUT_BYTES;
        self.left_out_bytes += path.len() + 4;
        if self.left_out_bytes <= work::DIFF_LEFT_OUT_BYTES {
            self.done.left_out.push(path.to_vec());
        } else if fits {
            self.done.notes.insert(0, "more was left out of the patch than is named".to_owned());
        }
    }
}

/// A side that was read.
enum Read {
    Side(Option<PatchSide>),
    Gone,
}

/// How a path changed.
fn status(old: Option<&Entry>, new: Option<&Entry>) -> ChangeStatus {
    match (old, new) {
        (None, _) => ChangeStatus::Added,
        (_, None) => ChangeStatus::Deleted,
        (Some(old), Some(new)) if old.kind() != new.kind() => ChangeStatus::TypeChanged,
        _ => ChangeStatus::Modified,
    }
}

/// On a thread that may take its time.
fn write(old: Option<PatchSide>, new: Option<PatchSide>, names_only: bool, context: Option<u32>) -> Written {
    let is_unread = [&old, &new].into_iter().flatten().any(|side| side.bytes.is_none());
    let (old_side, new_side) = (old.as_ref().map(PatchSide::side), new.as_ref().map(PatchSide::side));
    let context = context.map_or_else(|| WriteOptions::default().context, |lines| lines as usize);
    let options = WriteOptions { context };
    let mut text = Vec::new();
    let stat = if is_unread {
        // Another name or mode, with no content to be read.
        let empty = |side| pyro_patch::Side { content: b"", ..side };
        if !names_only {
            pyro_patch::write(&mut text, old_side.map(empty), new_side.map(empty), options);
        }
        Stat { binary: true, ..Stat::default() }
    } else if names_only {
        pyro_patch::stat(old_side, new_side)
    } else {
        pyro_patch::write(&mut text, old_side, new_side, options)
    };
    let digest = |side: Option<PatchSide>| {
        let bytes = side.and_then(|side| side.bytes).filter(|_| stat.binary);
        bytes.map(|bytes| Sha256::digest(bytes).to_vec())
    };
    Written { stat, text, digests: [digest(old), digest(new)] }
}
