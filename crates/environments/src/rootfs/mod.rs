//! Root file systems on their way in: an archive file, and the tree that it describes.
//!
//! Everything enters as one uncompressed tar file: mmdebstrap's output as it is, a given archive
//! decompressed, a directory walked into an archive. From there on there is one path only.

pub(crate) mod archive;
pub(crate) mod directory;
pub(crate) mod source;
pub(crate) mod tree;
