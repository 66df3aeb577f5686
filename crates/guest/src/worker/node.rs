//! [`Node`]: what a path stands for on one side of a comparison, and where its bytes lie.

use pyro_protocol::work::{Entry, EntryKind};
use pyro_tree::attributes::{FileKind, Metadata};
use pyro_tree::path::RelativePath;

/// Where the bytes of a [`Node`] lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Location {
    /// In the overlay's upper layer.
    Upper(RelativePath),
    /// In the seed.
    Seed(RelativePath),
    /// In the overlay's index, which shows it in place of a file of the seed.
    Index {
        /// The entry's name.
        entry: RelativePath,
        /// The seed's file.
        seed: RelativePath,
    },
    /// In `/workspace`, whatever it is made of.
    Workspace(RelativePath),
    /// In a spool: content of a file, or the target of a link.
    Spooled {
        /// First byte.
        at: u64,
        /// How many.
        length: u64,
    },
}

/// What is under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Node {
    /// What `stat` says where it lies.
    pub(super) metadata: Metadata,
    /// Which device, of a device.
    pub(super) device: (u32, u32),
    /// Where it lies.
    pub(super) location: Location,
}

/// A path whose content, mode, kind or target is not the same on both sides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Difference {
    /// Which.
    pub(super) path: RelativePath,
    /// What was there.
    pub(super) base: Option<Node>,
    /// What is there now.
    pub(super) now: Option<Node>,
}

impl Node {
    pub(super) fn is_directory(&self) -> bool {
        self.metadata.kind == FileKind::Directory
    }

    pub(super) fn is_file(&self) -> bool {
        self.metadata.kind == FileKind::File
    }

    /// What it is to a patch; `None` for what patches do not know.
    pub(super) fn patch_mode(&self) -> Option<pyro_patch::Mode> {
        let kind = match self.metadata.kind {
            FileKind::File => 0o100_000,
            FileKind::Symlink => 0o120_000,
            _ => return None,
        };
        pyro_patch::Mode::from_number(kind | self.metadata.attributes.mode)
    }

    /// The same for the host, without a link's target and a file's digest.
    pub(super) fn entry(&self, path: &RelativePath) -> Entry {
        let attributes = &self.metadata.attributes;
        let kind = match self.metadata.kind {
            FileKind::File => EntryKind::File,
            FileKind::Directory => EntryKind::Directory,
            FileKind::Symlink => EntryKind::Symlink,
            FileKind::Fifo | FileKind::Socket | FileKind::Device => EntryKind::Special,
        };
        let seconds = attributes.mtime.seconds.saturating_mul(1_000_000_000);
        Entry {
            path: path.as_bytes().to_vec(),
            kind: kind.into(),
            size_bytes: if self.is_file() { self.metadata.size_bytes } else { 0 },
            mode: attributes.mode,
            modified_ns: seconds.saturating_add(attributes.mtime.nanoseconds.into()),
            link_target: Vec::new(),
            uid: attributes.uid,
            gid: attributes.gid,
            sha256: Vec::new(),
            stamp: Vec::new(),
        }
    }
}
