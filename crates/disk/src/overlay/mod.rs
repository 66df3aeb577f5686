//! Two trees shown as one, as the kernel's overlay shows them: what was changed above, what it was made of below.
//!
//! What the kernel writes into the upper tree, and what it means:
//!
//! - a *whiteout*, a character device 0:0, or an empty file with the attribute `whiteout` in a directory with `opaque=x`:
//!   the name is gone;
//! - `opaque=y` on a directory: nothing from below shows in it;
//! - `redirect` on a directory: what is below it lies elsewhere, because the directory was renamed. A name replaces the
//!   directory's own, next to where its parent lies below; a path from `/` starts at the root of the lower tree;
//! - entries of the *index* ([`index`]): a lower file with several names was changed through one of them.
//!
//! Attributes begin with `trusted.overlay.`; those that begin otherwise are a program's. Whatever stands in them, nothing
//! outside of the two trees is ever reached, and each directory shown is at most one upper and one lower directory.

mod index;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Error;
use crate::filesystem::{Attributes, FileSystem, Kind, Metadata, Named, Node};
use crate::path;
use index::Index;

const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const REDIRECT: &[u8] = b"trusted.overlay.redirect";
const WHITEOUT: &[u8] = b"trusted.overlay.whiteout";
/// What the kernel notes for itself; programs in the machine never saw it.
pub(crate) const ATTRIBUTES: &[u8] = b"trusted.overlay.";

/// A directory of a file system with all below it.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) files: Arc<FileSystem>,
    pub(crate) root: Node,
}

/// The two trees. With one of them missing, the other is shown as it is.
#[derive(Debug)]
pub(crate) struct Overlay {
    upper: Option<Tree>,
    lower: Option<Tree>,
    index: Index,
}

/// A tree's place in an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Side {
    Upper,
    Lower,
}

/// A file as an overlay shows it.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// Of the tree in which it lies, the upper one if in both.
    side: Side,
    node: Node,
    /// Of an upper directory: the lower one that shows through.
    below: Option<Node>,
}

impl Merged {
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.node.metadata
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.node.is_directory()
    }

    /// Which file it is, whatever its names.
    pub(crate) fn identity(&self) -> (Side, u64) {
        (self.side, self.node.metadata.inode)
    }
}

/// What an upper directory's attributes say.
#[derive(Default)]
struct Notes {
    opaque: bool,
    has_whiteout_files: bool,
    redirect: Option<Vec<u8>>,
}

impl Overlay {
    /// `index` is the kernel's list of changed lower files with several names, in the file system of `upper`.
    pub(crate) fn new(upper: Option<Tree>, lower: Option<Tree>, index: Option<&Node>) -> Result<Self, Error> {
        let index = match (&upper, index) {
            (Some(upper), Some(index)) => Index::read(&upper.files, index)?,
            _ => Index::default(),
        };
        Ok(Self { upper, lower, index })
    }

    pub(crate) fn root(&self) -> Option<Merged> {
        let below = self.lower.as_ref().map(|lower| lower.root.clone());
        match &self.upper {
            Some(upper) => Some(Merged { side: Side::Upper, node: upper.root.clone(), below }),
            None => below.map(|node| Merged { side: Side::Lower, node, below: None }),
        }
    }

    /// The file system in which a file lies.
    fn files(&self, side: Side) -> Option<&FileSystem> {
        let tree = match side {
            Side::Upper => &self.upper,
            Side::Lower => &self.lower,
        };
        tree.as_ref().map(|tree| &*tree.files)
    }

    /// What a directory shows, by name; nothing for anything else.
    pub(crate) fn list(&self, directory: &Merged) -> Result<BTreeMap<Vec<u8>, Merged>, Error> {
        let (upper, lower) = self.halves(directory);
        let mut shown = BTreeMap::new();
        let mut below = BTreeMap::new();
        for Named { name, node } in self.named(Side::Lower, lower)? {
            below.insert(name, node);
        }
        let notes = self.notes(upper)?;
        for Named { name, node } in self.named(Side::Upper, upper)? {
            let beneath = below.remove(&name);
            if !self.is_whiteout(Side::Upper, &node, notes.has_whiteout_files)? {
                shown.insert(name, self.upper_node(node, lower, beneath)?);
            }
        }
        for (name, node) in below {
            if let Some(node) = self.lower_node(node)? {
                shown.insert(name, node);
            }
        }
        Ok(shown)
    }

    /// What a directory shows under a name.
    pub(crate) fn find(&self, directory: &Merged, name: &[u8]) -> Result<Option<Merged>, Error> {
        let (upper, lower) = self.halves(directory);
        let find = |side, directory: Option<&Node>| match (self.files(side), directory) {
            (Some(files), Some(directory)) => files.find(directory, name),
            _ => Ok(None),
        };
        if let Some(node) = find(Side::Upper, upper)? {
            if self.is_whiteout(Side::Upper, &node, self.notes(upper)?.has_whiteout_files)? {
                return Ok(None);
            }
            let beneath = if node.is_directory() { find(Side::Lower, lower)? } else { None };
            return self.upper_node(node, lower, beneath).map(Some);
        }
        find(Side::Lower, lower)?.map_or(Ok(None), |node| self.lower_node(node))
    }

    /// The directories that a shown one is made of.
    fn halves<'a>(&self, directory: &'a Merged) -> (Option<&'a Node>, Option<&'a Node>) {
        match directory.side {
            Side::Upper => (Some(&directory.node), directory.below.as_ref()),
            Side::Lower => (None, Some(&directory.node)),
        }
    }

    fn named(&self, side: Side, directory: Option<&Node>) -> Result<Vec<Named>, Error> {
        match (self.files(side), directory) {
            (Some(files), Some(directory)) => files.list(directory),
            _ => Ok(Vec::new()),
        }
    }

    /// Something of the upper tree, whose directory's lower half is `lower` and has `beneath` under the same name.
    fn upper_node(&self, node: Node, lower: Option<&Node>, beneath: Option<Node>) -> Result<Merged, Error> {
        let below = if node.is_directory() { self.below(&node, lower, beneath)? } else { None };
        Ok(Merged { side: Side::Upper, node, below })
    }

    /// The lower directory that shows through an upper one.
    fn below(
        &self,
        upper: &Node,
        lower: Option<&Node>,
        beneath: Option<Node>,
    ) -> Result<Option<Node>, Error> {
        let Some(tree) = &self.lower else { return Ok(None) };
        let notes = self.notes(Some(upper))?;
        if notes.opaque {
            return Ok(None);
        }
        let below = match (&notes.redirect, lower) {
            (None, _) => beneath,
            (Some(path), _) if path.first() == Some(&b'/') => self.follow_redirect(tree, path)?,
            (Some(name), Some(lower)) if path::is_name(name) => tree.files.find(lower, name)?,
            (Some(_), _) => None,
        };
        Ok(below.filter(Node::is_directory))
    }

    fn follow_redirect(&self, tree: &Tree, path: &[u8]) -> Result<Option<Node>, Error> {
        let mut node = tree.root.clone();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if !path::is_name(name) {
                return Ok(None);
            }
            match tree.files.find(&node, name)? {
                Some(found) => node = found,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Something of the lower tree, which may have been changed under another of its names.
    fn lower_node(&self, node: Node) -> Result<Option<Merged>, Error> {
        if self.is_whiteout(Side::Lower, &node, false)? {
            return Ok(None);
        }
        Ok(Some(match self.index.current(&node) {
            Some(changed) => Merged { side: Side::Upper, node: changed.clone(), below: None },
            None => Merged { side: Side::Lower, node, below: None },
        }))
    }

    fn is_whiteout(&self, side: Side, node: &Node, may_be_file: bool) -> Result<bool, Error> {
        let metadata = &node.metadata;
        match metadata.kind {
            Kind::CharacterDevice => Ok(metadata.device == (0, 0)),
            Kind::File if may_be_file && metadata.size_bytes == 0 => match self.files(side) {
                Some(files) => Ok(files.attributes(node)?.iter().any(|(name, _)| name == WHITEOUT)),
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }

    fn notes(&self, upper: Option<&Node>) -> Result<Notes, Error> {
        let mut notes = Notes::default();
        let (Some(tree), Some(directory)) = (&self.upper, upper) else { return Ok(notes) };
        for (name, value) in tree.files.attributes(directory)? {
            match (name.as_slice(), value.as_slice()) {
                (OPAQUE, b"y") => notes.opaque = true,
                (OPAQUE, b"x") => notes.has_whiteout_files = true,
                (REDIRECT, _) => notes.redirect = Some(value),
                _ => {}
            }
        }
        Ok(notes)
    }

    /// Reads contents; fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, file: &Merged, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.files(file.side).map_or(Ok(0), |files| files.read_at(&file.node, offset, buffer))
    }

    /// Target of a symbolic link.
    pub(crate) fn read_link(&self, link: &Merged) -> Result<Vec<u8>, Error> {
        self.files(link.side).map_or(Ok(Vec::new()), |files| files.read_link(&link.node))
    }

    /// Extended attributes, the overlay's own left out.
    pub(crate) fn attributes(&self, file: &Merged) -> Result<Attributes, Error> {
        let Some(files) = self.files(file.side) else { return Ok(Vec::new()) };
        let mut attributes = files.attributes(&file.node)?;
        attributes.retain(|(name, _)| !name.starts_with(ATTRIBUTES));
        Ok(attributes)
    }
}
