//! Lists of what is in a directory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use crate::Error;
use crate::filesystem::{Kind, Metadata};
use crate::overlay::Side;
use crate::path::{self, Shown};
use crate::root::{Follow, MAX_DEPTH, Root, RootNode, too_deep};

/// Most names that are kept in mind while a tree is gone through.
pub(crate) const MAX_PENDING: usize = 2_000_000;
/// Most bytes of all paths of a list.
const MAX_PATH_BYTES: usize = 512 << 20;

/// How far a list goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListLimits {
    /// What is in directories of the directory too, and so on.
    pub recursive: bool,
    /// Only what comes after this path.
    pub after: Option<Vec<u8>>,
    /// So many entries at most, the first by their paths.
    pub entries: usize,
}

impl ListLimits {
    fn is_after(&self, path: &[u8]) -> bool {
        self.after.as_deref().is_none_or(|after| path > after)
    }

    /// Whether anything below a directory can come after.
    fn may_hold_more(&self, directory: &[u8]) -> bool {
        self.after.as_deref().is_none_or(|after| {
            let below = path::joined(directory, b"");
            after.starts_with(&below) || below.as_slice() > after
        })
    }
}

/// A list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// In the order of their paths' bytes.
    pub entries: Vec<Entry>,
    /// There is more.
    pub truncated: bool,
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Absolute, without links before the last name.
    pub path: Vec<u8>,
    /// What is noted of it.
    pub metadata: Metadata,
    /// Where a symbolic link points.
    pub link_target: Option<Vec<u8>>,
}

/// Something that is to be listed; the order is that of the paths.
struct Pending {
    path: Vec<u8>,
    node: RootNode,
    /// Identities of the directories above, the nearest last.
    above: Option<Rc<Above>>,
}

/// What is still to be listed.
#[derive(Default)]
struct Ahead {
    pending: BinaryHeap<Reverse<Pending>>,
    /// Of all that ever was.
    path_bytes: usize,
}

impl Ahead {
    fn enter(
        &mut self,
        root: &Root,
        at: &[u8],
        directory: &RootNode,
        above: Option<&Rc<Above>>,
    ) -> Result<(), Error> {
        let above = Above::enter(above, at, directory)?;
        for (name, node) in root.children(at, directory)? {
            self.push(path::joined(at, &name), node, Some(Rc::clone(&above)))?;
        }
        Ok(())
    }

    fn push(&mut self, path: Vec<u8>, node: RootNode, above: Option<Rc<Above>>) -> Result<(), Error> {
        let too_much =
            |what, limit: usize| Error::TooMuch { path: Shown::new(&path), what, limit: limit as u64 };
        if self.pending.len() >= MAX_PENDING {
            return Err(too_much("names before and beside it", MAX_PENDING));
        }
        self.path_bytes += path.len();
        if self.path_bytes > MAX_PATH_BYTES {
            return Err(too_much("bytes of paths before it", MAX_PATH_BYTES));
        }
        self.pending.push(Reverse(Pending { path, node, above }));
        Ok(())
    }
}

/// A directory and those above it.
pub(crate) struct Above {
    identity: (usize, Side, u64),
    depth: usize,
    next: Option<Rc<Self>>,
}

impl Above {
    /// The way to what is in `directory`.
    ///
    /// # Errors
    /// When it lies in itself, or too deep.
    pub(crate) fn enter(
        above: Option<&Rc<Self>>,
        path: &[u8],
        directory: &RootNode,
    ) -> Result<Rc<Self>, Error> {
        let identity = directory.identity();
        let mut next = above;
        while let Some(directory) = next {
            if directory.identity == identity {
                return Err(Error::Cycle { path: Shown::new(path) });
            }
            next = directory.next.as_ref();
        }
        let depth = above.map_or(0, |above| above.depth + 1);
        if depth > MAX_DEPTH {
            return Err(too_deep(path));
        }
        Ok(Rc::new(Self { identity, depth, next: above.cloned() }))
    }
}

impl Root {
    /// What is in the directory at `path`; of anything else, that itself. The last name is followed if it is a link.
    ///
    /// # Errors
    /// As [`Root::metadata`]; [`Error::Cycle`] and [`Error::TooMuch`] for a tree that no file system should hold.
    pub fn list(&self, path: &[u8], limits: &ListLimits) -> Result<Listing, Error> {
        let found = self.locate(path, Follow::Last)?;
        let mut ahead = Ahead::default();
        if found.node.is_directory() {
            ahead.enter(self, &found.path, &found.node, None)?;
        } else {
            ahead.push(found.path, found.node, None)?;
        }
        let mut entries = Vec::new();
        while let Some(Reverse(next)) = ahead.pending.pop() {
            let is_after = limits.is_after(&next.path);
            if is_after && entries.len() == limits.entries {
                return Ok(Listing { entries, truncated: true });
            }
            if limits.recursive && next.node.is_directory() && limits.may_hold_more(&next.path) {
                ahead.enter(self, &next.path, &next.node, next.above.as_ref())?;
            }
            if is_after {
                entries.push(self.entry(next.path, &next.node)?);
            }
        }
        Ok(Listing { entries, truncated: false })
    }

    fn entry(&self, path: Vec<u8>, node: &RootNode) -> Result<Entry, Error> {
        let metadata = node.metadata().clone();
        let link_target = (metadata.kind == Kind::Symlink).then(|| self.read_link(node)).transpose()?;
        Ok(Entry { path, metadata, link_target })
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Pending {}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.path.cmp(&other.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let limits = ListLimits { recursive: true, after: Some(b"/a/m/x".to_vec()), entries: 10 };
        for (path, is_after) in
            [("/a/m/x", false), ("/a/m", false), ("/a/m/x/y", true), ("/a/m/y", true), ("/b", true)]
        {
            assert_eq!(limits.is_after(path.as_bytes()), is_after, "{path}");
        }
        // `/a b` sorts before `/a/…`, and what is below `/a` after both.
        for (directory, may) in
            [("/a", true), ("/a/m", true), ("/a/l", false), ("/a b", false), ("/a/m/x", true), ("/b", true)]
        {
            assert_eq!(limits.may_hold_more(directory.as_bytes()), may, "{directory}");
        }
    }
}
