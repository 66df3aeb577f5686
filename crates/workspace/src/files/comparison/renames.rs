//! Which of the files that only one side has are the same under another name. `pyro_patch` finds them; what it wants to read it
//! is given while it looks.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use pyro_patch::{
    FilePath, Mode,
    rename::{self, Limits, List, Rename},
};
use pyro_protocol::work::{Entry, EntryKind};
use pyro_tree::RelativePath;
use tokio::sync::{mpsc, oneshot};

use super::{
    Side, SideError,
    contents::{Content, Sides},
    differences::Difference,
};
use crate::files::error::FileError;

/// A change as people speak of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Change {
    /// Where it is on the new side; on the old one, if only that has it.
    pub(super) path: RelativePath,
    /// Where it is on the old side, if that is elsewhere.
    pub(super) old_path: Option<RelativePath>,
    /// What the old side has.
    pub(super) old: Option<Entry>,
    /// What the new side has.
    pub(super) new: Option<Entry>,
}

impl From<Difference> for Change {
    fn from(Difference { path, old, new }: Difference) -> Self {
        Self { path, old_path: None, old, new }
    }
}

/// Joins what only the old side has and what only the new one has, where both are the same file. The order stays, by the path
/// on the new side.
pub(super) async fn join(differences: Vec<Difference>, sides: Sides<'_>) -> Result<Vec<Change>, SideError> {
    let (deleted, added) = (candidates(&differences, Side::Old), candidates(&differences, Side::New));
    if deleted.is_empty() || added.is_empty() {
        return Ok(differences.into_iter().map(Change::from).collect());
    }
    let (deleted, added) = with_digests(deleted, added, sides).await?;
    let (deleted, added) = (Arc::new(deleted), Arc::new(added));
    let (questions, mut asked) = mpsc::channel(1);
    let lists = (Arc::clone(&deleted), Arc::clone(&added));
    let search = tokio::task::spawn_blocking(move || search(&lists.0, &lists.1, &questions));
    // Returning before the end ends the search as well.
    while let Some(Question { list, at, answer }) = asked.recv().await {
        let (side, candidate) = match list {
            List::Deleted => (Side::Old, deleted.get(at)),
            List::Added => (Side::New, added.get(at)),
        };
        let Some(Candidate { path, entry, .. }) = candidate else { break };
        let bytes = match sides.content(side, path, entry, Limits::default().file_bytes).await? {
            Content::Bytes(bytes) => bytes,
            Content::TooLong | Content::Gone => Bytes::new(),
        };
        // If nobody waits for it, the search's result says why.
        drop(answer.send(bytes));
    }
    let failed = || Side::New.failed()(FileError::Protocol("a thread of the host failed"));
    let renames = search.await.ok().and_then(Result::ok).ok_or_else(failed)?;
    let sources = renames.iter().map(|rename| (added[rename.added].index, deleted[rename.deleted].index));
    Ok(joined(differences, sources.collect()))
}

/// A file that only one side has.
#[derive(Debug)]
struct Candidate {
    /// Which difference.
    index: usize,
    path: RelativePath,
    /// The same for patches.
    file: FilePath,
    mode: Mode,
    entry: Entry,
    identity: Identity,
}

/// What files of one size have in common if they are the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Identity {
    /// Their content.
    Content(Vec<u8>),
    /// Nothing: no file of the other side can be this one. Holds which difference it is.
    Alone(usize),
}

impl Candidate {
    /// Only files of one size and kind can be equal.
    fn form(&self) -> (u64, bool) {
        (self.entry.size_bytes, self.mode == Mode::Symlink)
    }
}

/// The files of `side` that the other one has not.
fn candidates(differences: &[Difference], side: Side) -> Vec<Candidate> {
    let files = differences.iter().enumerate().filter_map(|(index, difference)| {
        let ((Side::Old, Some(entry), None) | (Side::New, None, Some(entry))) =
            (side, &difference.old, &difference.new)
        else {
            return None;
        };
        Some(Candidate {
            index,
            path: difference.path.clone(),
            file: FilePath::new(difference.path.as_bytes()).ok()?,
            mode: patch_mode(entry)?,
            entry: entry.clone(),
            identity: Identity::Alone(index),
        })
    });
    files.collect()
}

/// Finds out what those are that may be equal to one of the other side.
async fn with_digests(
    mut deleted: Vec<Candidate>,
    mut added: Vec<Candidate>,
    sides: Sides<'_>,
) -> Result<(Vec<Candidate>, Vec<Candidate>), SideError> {
    let forms = |files: &[Candidate]| files.iter().map(Candidate::form).collect::<HashSet<_>>();
    let common: HashSet<_> = forms(&deleted).intersection(&forms(&added)).copied().collect();
    let paths = |side| {
        let files = match side {
            Side::Old => &deleted,
            Side::New => &added,
        };
        let equal = files.iter().filter(|file| file.mode != Mode::Symlink && common.contains(&file.form()));
        equal.map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let (old, new) = sides.both(|side, files| files.digests(paths(side))).await?;
    for (files, digests) in [(&mut deleted, old), (&mut added, new)] {
        for file in files {
            if file.mode == Mode::Symlink {
                file.identity = Identity::Content(file.entry.link_target.clone());
            } else if let Some(digest) = digests.get(&file.path) {
                file.identity = Identity::Content(digest.to_vec());
            }
        }
    }
    Ok((deleted, added))
}

/// A content that the search wants to see.
struct Question {
    list: List,
    at: usize,
    answer: oneshot::Sender<Bytes>,
}

/// Nobody answers any more.
struct Unanswered;

/// On a thread that may block.
fn search(
    deleted: &[Candidate],
    added: &[Candidate],
    questions: &mpsc::Sender<Question>,
) -> Result<Vec<Rename>, Unanswered> {
    fn entries(files: &[Candidate]) -> Vec<rename::Entry<'_, &Identity>> {
        let entry = |file| {
            let Candidate { file, mode, entry, identity, .. }: &Candidate = file;
            rename::Entry { path: file, mode: *mode, size_bytes: entry.size_bytes, digest: Some(identity) }
        };
        files.iter().map(entry).collect()
    }
    let content = |list, at| {
        let (answer, told) = oneshot::channel();
        questions.blocking_send(Question { list, at, answer }).map_err(|_| Unanswered)?;
        told.blocking_recv().map(|bytes| Cow::Owned(bytes.to_vec())).map_err(|_| Unanswered)
    };
    rename::detect(&entries(deleted), &entries(added), Limits::default(), content)
}

/// `sources` says for each difference that came which one it was.
fn joined(differences: Vec<Difference>, sources: HashMap<usize, usize>) -> Vec<Change> {
    let mut changes: Vec<_> =
        differences.into_iter().map(|difference| Some(Change::from(difference))).collect();
    for (came, went) in sources {
        let Some(Change { path, old, .. }) = changes[went].take() else { continue };
        if let Some(change) = &mut changes[came] {
            (change.old_path, change.old) = (Some(path), old);
        }
    }
    changes.into_iter().flatten().collect()
}

/// What an entry is to a patch; none for what patches do not know.
pub(super) fn patch_mode(entry: &Entry) -> Option<Mode> {
    let kind = match entry.kind() {
        EntryKind::File => 0o100_000,
        EntryKind::Symlink => 0o120_000,
        EntryKind::Directory | EntryKind::Special => return None,
    };
    Mode::from_number(kind | entry.mode & 0o7777)
}
