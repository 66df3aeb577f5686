//! Contents of files.

use crate::Error;
use crate::filesystem::{Kind, Metadata};
use crate::path::Shown;
use crate::root::{Follow, Root, RootNode};

/// A regular file, to be read piece by piece.
#[derive(Debug)]
pub struct OpenFile<'a> {
    root: &'a Root,
    node: RootNode,
}

/// A piece of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// From the place that was asked for; fewer than asked for only at the end of the file.
    pub bytes: Vec<u8>,
    /// What is noted of the whole file.
    pub metadata: Metadata,
}

impl Root {
    /// Opens the file at `path`, following links.
    ///
    /// # Errors
    /// As [`Root::metadata`]; [`Error::NotAFile`] for anything but a regular file.
    pub fn open_file(&self, path: &[u8]) -> Result<OpenFile<'_>, Error> {
        let found = self.locate(path, Follow::Last)?;
        if found.node.metadata().kind != Kind::File {
            return Err(Error::NotAFile { path: Shown::new(&found.path) });
        }
        Ok(OpenFile { root: self, node: found.node })
    }

    /// Reads at most `max_bytes` of the file at `path`, from byte `from` on.
    ///
    /// # Errors
    /// As [`Root::open_file`], and what is wrong with a disk.
    pub fn read(&self, path: &[u8], from: u64, max_bytes: usize) -> Result<Content, Error> {
        let file = self.open_file(path)?;
        let metadata = file.metadata().clone();
        let left = usize::try_from(metadata.size_bytes.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(max_bytes)];
        let length = file.read_at(from, &mut bytes)?;
        bytes.truncate(length);
        Ok(Content { bytes, metadata })
    }
}

impl OpenFile<'_> {
    /// What is noted of it.
    pub fn metadata(&self) -> &Metadata {
        self.node.metadata()
    }

    /// Reads into the buffer from byte `offset` on, and says how many there were: fewer than fit only at the end.
    ///
    /// # Errors
    /// What is wrong with a disk.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.root.read_at(&self.node, offset, buffer)
    }
}
