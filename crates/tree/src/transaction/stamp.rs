//! [`Stamp`]: what is at a path, short enough for the journal, to be told later from what somebody else made of it.

use super::{Below, Result, step::is_gone};
use crate::{
    attributes::{Attributes, FileKind, Metadata},
    beneath::{self, Root},
    path::RelativePath,
};

/// Of a file or link: kind, size, attributes and target. Of a directory: what it holds; its own attributes change with every
/// name that comes or goes. An edit that keeps size and time of a file is not noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) kind: FileKind,
    pub(super) size_bytes: u64,
    pub(super) attributes: Attributes,
    /// Target of a symbolic link; else empty.
    pub(super) link: Vec<u8>,
    /// What a directory holds; else nothing.
    pub(super) below: Below,
}

/// What is at a path, compared with a stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Now {
    /// What the stamp is of.
    Same,
    /// Nothing, or the directory above is gone.
    Nothing,
    /// Something else.
    Other,
}

impl Stamp {
    /// Of what is at `path` and has been looked at; `below` is what it holds.
    pub(super) fn of(
        root: &Root,
        path: &RelativePath,
        found: &Metadata,
        below: Below,
    ) -> beneath::Result<Self> {
        let link = match found.kind {
            FileKind::Symlink => root.read_link(path)?,
            _ => Vec::new(),
        };
        Ok(Self { kind: found.kind, size_bytes: found.size_bytes, attributes: found.attributes, link, below })
    }

    /// Of what is at `staged` and will be at `path`.
    pub(super) fn of_staged(
        root: &Root,
        staged: &RelativePath,
        path: &RelativePath,
    ) -> beneath::Result<Self> {
        let found = root.metadata(staged)?;
        let below = match found.kind {
            FileKind::Directory => Below::as_if_at(root, staged, path),
            _ => Below::default(),
        };
        Self::of(root, staged, &found, below)
    }

    /// What is at `path` now.
    pub(super) fn compare(&self, root: &Root, path: &RelativePath) -> Result<Now> {
        let now = self.glance(root, path)?;
        if now == Now::Same && self.kind == FileKind::Directory && Below::of(root, path) != self.below {
            return Ok(Now::Other);
        }
        Ok(now)
    }

    /// The same, but what a directory holds is not looked at.
    pub(super) fn glance(&self, root: &Root, path: &RelativePath) -> Result<Now> {
        let found = match root.find(path) {
            Err(error) if is_gone(&error) => None,
            found => found?,
        };
        let Some(found) = found else { return Ok(Now::Nothing) };
        let is_same = found.kind == self.kind
            && (found.kind == FileKind::Directory
                || (found.size_bytes, found.attributes) == (self.size_bytes, self.attributes))
            && (found.kind != FileKind::Symlink || root.read_link(path)? == self.link);
        Ok(if is_same { Now::Same } else { Now::Other })
    }
}
