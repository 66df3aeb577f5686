//! Which of the files that went and of those that came are the same, moved. What is known without reading comes first:
//! a file of a renamed directory is the very file of the seed. `pyro_patch` finds the rest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pyro_patch::rename::{self, Limits, List};
use pyro_patch::{FilePath, Mode};
use pyro_tree::path::RelativePath;

use super::contents::{ContentError, Contents};
use super::entry::sha256;
use super::node::{Difference, Node};

/// A change as people speak of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// Where it is now; before, if it is gone.
    pub(super) path: RelativePath,
    /// Where it was, if it was moved.
    pub(super) old_path: Option<RelativePath>,
    /// What was there.
    pub(super) base: Option<Node>,
    /// What is there now.
    pub(super) now: Option<Node>,
}

impl From<Difference> for Change {
    fn from(Difference { path, base, now }: Difference) -> Self {
        Self { path, old_path: None, base, now }
    }
}

/// Joins what went and what came where both are the same file. The order stays, by the path now.
///
/// # Errors
/// Contents cannot be read; what is gone meanwhile is no error.
pub(super) fn join(
    differences: Vec<Difference>,
    contents: Contents<'_>,
) -> Result<Vec<Change>, ContentError> {
    let moved = |went: bool| {
        let files = differences.iter().enumerate().filter_map(move |(index, difference)| {
            let node = match (&difference.base, &difference.now) {
                (Some(base), None) if went => base,
                (None, Some(now)) if !went => now,
                _ => return None,
            };
            let path = FilePath::new(difference.path.as_bytes()).ok()?;
            Some(Candidate { index, node, mode: node.patch_mode()?, path, is_paired: false })
        });
        files.collect::<Vec<_>>()
    };
    let (mut deleted, mut added) = (moved(true), moved(false));
    let mut sources = same_files(&mut deleted, &mut added, contents)?;
    deleted.retain(|candidate| !candidate.is_paired);
    added.retain(|candidate| !candidate.is_paired);
    sources.extend(similar_files(&deleted, &added, contents)?);
    Ok(joined(differences, &sources))
}

/// A file that went or came.
struct Candidate<'a> {
    /// Which difference.
    index: usize,
    node: &'a Node,
    mode: Mode,
    path: FilePath,
    is_paired: bool,
}

impl Candidate<'_> {
    fn inode(&self) -> (u64, u64) {
        (self.node.metadata.device, self.node.metadata.inode)
    }

    /// Only files of one size and kind can be equal.
    fn form(&self) -> (u64, bool) {
        (self.node.metadata.size_bytes, self.mode == Mode::Symlink)
    }

    fn is_large(&self) -> bool {
        self.node.metadata.size_bytes > Limits::default().file_bytes
    }
}

/// Pairs that need no look at their content, and those with so much of it that only a digest is taken. By index of the
/// difference that came, the one that went.
fn same_files(
    deleted: &mut [Candidate<'_>],
    added: &mut [Candidate<'_>],
    contents: Contents<'_>,
) -> Result<HashMap<usize, usize>, ContentError> {
    let mut sources = HashMap::new();
    let by_inode: HashMap<_, usize> =
        deleted.iter().enumerate().map(|(at, went)| (went.inode(), at)).collect();
    for came in added.iter_mut() {
        if let Some(&at) = by_inode.get(&came.inode()).filter(|at| !deleted[**at].is_paired) {
            pair(&mut deleted[at], came, &mut sources);
        }
    }
    let mut large: HashMap<_, Vec<(usize, Vec<u8>)>> = HashMap::new();
    for came in added.iter_mut().filter(|came| came.is_large() && !came.is_paired) {
        let form = came.form();
        let candidates = match large.entry(form) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(digests(deleted, form, contents)?),
        };
        if candidates.is_empty() {
            continue;
        }
        let Some(wanted) = digest(came, contents)? else { continue };
        if let Some(found) = candidates.iter().position(|(_at, digest)| *digest == wanted) {
            let (at, _digest) = candidates.swap_remove(found);
            pair(&mut deleted[at], came, &mut sources);
        }
    }
    Ok(sources)
}

fn pair(went: &mut Candidate<'_>, came: &mut Candidate<'_>, sources: &mut HashMap<usize, usize>) {
    (went.is_paired, came.is_paired) = (true, true);
    sources.insert(came.index, went.index);
}

/// Digests of the files of one form, with their places among the deleted ones.
fn digests(
    deleted: &[Candidate<'_>],
    form: (u64, bool),
    contents: Contents<'_>,
) -> Result<Vec<(usize, Vec<u8>)>, ContentError> {
    let mut digests = Vec::new();
    for (at, went) in deleted.iter().enumerate().filter(|(_, went)| went.form() == form && !went.is_paired) {
        digests.extend(digest(went, contents)?.map(|digest| (at, digest)));
    }
    Ok(digests)
}

fn digest(candidate: &Candidate<'_>, contents: Contents<'_>) -> Result<Option<Vec<u8>>, ContentError> {
    match contents.open(candidate.node) {
        Err(error) if error.is_gone() => Ok(None),
        file => Ok(Some(sha256(file?)?)),
    }
}

fn similar_files(
    deleted: &[Candidate<'_>],
    added: &[Candidate<'_>],
    contents: Contents<'_>,
) -> Result<Vec<(usize, usize)>, ContentError> {
    fn entries<'a>(candidates: &'a [Candidate<'_>]) -> Vec<rename::Entry<'a, ()>> {
        let entry = |candidate: &'a Candidate<'_>| rename::Entry {
            path: &candidate.path,
            mode: candidate.mode,
            size_bytes: candidate.node.metadata.size_bytes,
            digest: None,
        };
        candidates.iter().map(entry).collect()
    }
    let content = |list: List, at: usize| -> Result<Cow<'_, [u8]>, ContentError> {
        let candidate = match list {
            List::Deleted => &deleted[at],
            List::Added => &added[at],
        };
        match contents.bytes(candidate.node, Limits::default().file_bytes) {
            Err(error) if error.is_gone() => Ok(Cow::Borrowed(b"")),
            bytes => Ok(Cow::Owned(bytes?.unwrap_or_default())),
        }
    };
    let renames = rename::detect(&entries(deleted), &entries(added), Limits::default(), content)?;
    Ok(renames.iter().map(|rename| (added[rename.added].index, deleted[rename.deleted].index)).collect())
}

/// `sources` says for each difference that came which one it was.
fn joined(differences: Vec<Difference>, sources: &HashMap<usize, usize>) -> Vec<Change> {
    let mut changes: Vec<Option<Change>> =
        differences.into_iter().map(|difference| Some(difference.into())).collect();
    for (&came, &went) in sources {
        let Some(Change { path, base, .. }) = changes[went].take() else { continue };
        if let Some(change) = &mut changes[came] {
            (change.old_path, change.base) = (Some(path), base);
        }
    }
    changes.into_iter().flatten().collect()
}
