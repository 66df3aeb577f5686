//! [`Contents`]: the bytes of nodes, wherever they lie.

use std::io::{self, Read};

use pyro_protocol::work::{Entry, EntryKind};
use pyro_tree::attributes::FileKind;
use pyro_tree::beneath::{self, Root};
use pyro_tree::path::RelativePath;

use super::entry::sha256;
use super::error::WorkError;
use super::layers::{LayerError, Layers};
use super::node::{Location, Node};
use super::spool::Spool;

const COMPARED_BYTES: usize = 64 << 10;

/// Why a node's bytes were not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    /// It lies in a layer that cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It lies in `/workspace`, which cannot be read.
    #[error(transparent)]
    Tree(#[from] beneath::Error),
    /// It was opened.
    #[error("read contents")]
    Read(#[from] io::Error),
}

impl ContentError {
    /// Whether it is not there any more, or has become something else.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Layer(error) => error.is_gone(),
            Self::Tree(error) => is_gone(error),
            Self::Read(_) => false,
        }
    }
}

impl From<ContentError> for WorkError {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Layer(error) => error.into(),
            ContentError::Tree(error) => error.into(),
            ContentError::Read(error) => error.into(),
        }
    }
}

/// Whether the cause is that nothing, or something else, has the name.
pub(super) fn is_gone(error: &beneath::Error) -> bool {
    matches!(error, beneath::Error::ThroughLink { .. } | beneath::Error::WrongKind { .. })
        || matches!(error.io_kind(), Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
        // What readlink says of a file.
        || matches!(error.io_kind(), Some(io::ErrorKind::InvalidInput))
}

/// Everything that nodes may lie in.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    /// The overlay, if there is one.
    pub(super) layers: Option<&'a Layers>,
    /// `/workspace`, links refused.
    pub(super) workspace: &'a Root,
    /// What was spooled.
    pub(super) spool: Option<&'a Spool>,
}

impl<'a> Contents<'a> {
    /// The content of a file.
    pub(super) fn open(self, node: &Node) -> Result<Box<dyn Read + 'a>, ContentError> {
        match &node.location {
            Location::Workspace(path) => Ok(Box::new(self.workspace.read(path)?)),
            Location::Spooled { at, length } => match self.spool {
                Some(spool) => Ok(Box::new(spool.part(*at, *length))),
                None => Err(no_such_place()),
            },
            location => match self.layers.and_then(|layers| layers.read(location)) {
                Some(file) => Ok(Box::new(file?)),
                None => Err(no_such_place()),
            },
        }
    }

    /// The target of a link.
    pub(super) fn target(self, node: &Node) -> Result<Vec<u8>, ContentError> {
        match &node.location {
            Location::Workspace(path) => Ok(self.workspace.read_link(path)?),
            Location::Spooled { .. } => {
                let mut target = Vec::new();
                self.open(node)?.read_to_end(&mut target)?;
                Ok(target)
            }
            location => match self.layers.and_then(|layers| layers.read_link(location)) {
                Some(target) => Ok(target?),
                None => Err(no_such_place()),
            },
        }
    }

    /// What a patch takes for its content: that of a file, the target of a link. `None` if it is longer than `max_bytes`.
    pub(super) fn bytes(self, node: &Node, max_bytes: u64) -> Result<Option<Vec<u8>>, ContentError> {
        if node.metadata.kind == FileKind::Symlink {
            return self.target(node).map(Some);
        }
        if node.metadata.size_bytes > max_bytes {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(node.metadata.size_bytes).unwrap_or(0));
        self.open(node)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
        // It may have grown.
        Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
    }

    /// The node for the host: a link with its target, and if asked for a file with its digest.
    pub(super) fn entry(self, path: &RelativePath, node: &Node, digest: bool) -> Result<Entry, ContentError> {
        let mut entry = node.entry(path);
        match entry.kind() {
            EntryKind::Symlink => entry.link_target = self.target(node)?,
            EntryKind::File if digest => entry.sha256 = sha256(self.open(node)?)?,
            _ => {}
        }
        Ok(entry)
    }

    /// Whether two nodes differ in content, mode, kind or target. What is gone meanwhile differs.
    pub(super) fn differ(self, base: &Node, now: &Node) -> Result<bool, ContentError> {
        let kind = now.metadata.kind;
        if base.metadata.kind != kind {
            return Ok(true);
        }
        if kind != FileKind::Symlink && base.metadata.attributes.mode != now.metadata.attributes.mode {
            return Ok(true);
        }
        let same = match kind {
            FileKind::Directory | FileKind::Fifo | FileKind::Socket => Ok(true),
            FileKind::Device => Ok(base.location == now.location || base.device == now.device),
            FileKind::Symlink => self.same_target(base, now),
            FileKind::File => self.same_content(base, now),
        };
        match same {
            Err(error) if error.is_gone() => Ok(true),
            same => same.map(|same| !same),
        }
    }

    fn same_target(self, one: &Node, other: &Node) -> Result<bool, ContentError> {
        Ok(one.location == other.location || self.target(one)? == self.target(other)?)
    }

    /// Whether two files have the same content.
    pub(super) fn same_content(self, one: &Node, other: &Node) -> Result<bool, ContentError> {
        let identity = |node: &Node| (node.metadata.device, node.metadata.inode);
        if one.location == other.location {
            return Ok(true);
        }
        if one.metadata.size_bytes != other.metadata.size_bytes {
            return Ok(false);
        }
        if one.metadata.size_bytes == 0 || identity(one) == identity(other) {
            return Ok(true);
        }
        Ok(same_bytes(self.open(one)?.as_mut(), self.open(other)?.as_mut())?)
    }
}

fn no_such_place() -> ContentError {
    ContentError::Read(io::ErrorKind::NotFound.into())
}

fn same_bytes(one: &mut dyn Read, other: &mut dyn Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        let length = fill(one, &mut left)?;
        if length != fill(other, &mut right)? || left[..length] != right[..length] {
            return Ok(false);
        }
        if length < left.len() {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the source ends.
pub(super) fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
