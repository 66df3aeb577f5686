//! Contents of files.

use crate::Error;
use crate::filesystem::{Kind, Metadata};
use crate::path::Shown;
use crate::root::{Follow, Root};

/// A piece of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// From the place that was asked for; fewer than asked for only at the end of the file.
    pub bytes: Vec<u8>,
    /// What is noted of the whole file.
    pub metadata: Metadata,
}

impl Root {
    /// Reads at most `max_bytes` of the file at `path`, from byte `from` on.
    ///
    /// Links are followed.
    ///
    /// # Errors
    /// As [`Root::metadata`]; [`Error::NotAFile`] for anything but a regular file.
    pub fn read(&self, path: &[u8], from: u64, max_bytes: usize) -> Result<Content, Error> {
        let found = self.locate(path, Follow::Last)?;
        let metadata = found.node.metadata().clone();
        if metadata.kind != Kind::File {
            return Err(Error::NotAFile { path: Shown::new(&found.path) });
        }
        let left = usize::try_from(metadata.size_bytes.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(max_bytes)];
        let length = self.read_at(&found.node, from, &mut bytes)?;
        bytes.truncate(length);
        Ok(Content { bytes, metadata })
    }
}
