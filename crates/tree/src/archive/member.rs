//! One member of an archive.

use crate::{attributes::Attributes, path::RelativePath};

/// A directory, file or link in an archive; the contents follow it in the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Where it belongs; the root is the tree itself.
    pub path: RelativePath,
    /// What it is.
    pub kind: Kind,
    /// Mode, owner, time.
    pub attributes: Attributes,
}

/// What a member is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Length of the contents that follow.
        size_bytes: u64,
    },
    /// A symbolic link.
    Symlink {
        /// As it was written: relative or absolute, existing or not.
        target: Vec<u8>,
    },
    /// Another name of a file that came before.
    HardLink {
        /// The name that came before.
        target: RelativePath,
    },
}
