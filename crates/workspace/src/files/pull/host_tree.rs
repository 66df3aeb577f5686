//! The directory of the host as the merge sees it: what is at a path, no link followed.

use std::{io::Read, path::PathBuf};

use pyro_protocol::work::{Change, Entry, EntryKind};
use pyro_tree::{FileKind, Metadata, RelativePath, Root, beneath, transaction::STAGING_NAME};
use sha2::{Digest, Sha256};

use super::{
    super::error::FileError,
    decision::{Thing, is_executable},
};

const PIECE_BYTES: usize = 128 << 10;

/// A directory of the host.
#[derive(Debug)]
pub(super) struct HostTree {
    /// Where it is, for messages.
    pub(super) path: PathBuf,
    /// Itself; links on the way to what is below are refused.
    pub(super) root: Root,
}

/// What was found at a path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen {
    /// What it is; none: nothing.
    pub(super) thing: Option<Thing>,
    /// What the system said of it when it was found; none if there is nothing, or nothing of the directory's own.
    pub(super) metadata: Option<Metadata>,
}

impl HostTree {
    /// Opens the directory at `path`; links on the way to it are followed.
    pub(super) fn open(path: PathBuf) -> Result<Self, FileError> {
        match Root::open(&path) {
            Ok(root) => Ok(Self { root: root.without_links(), path }),
            Err(source) => Err(FileError::Host { operation: "open", path, source }),
        }
    }

    /// What is at a path that the guest changed. A file is read only if it can be what the guest has or had.
    pub(super) fn look(&self, path: &RelativePath, change: &Change) -> Result<Seen, FileError> {
        let metadata = match self.root.find(path) {
            Ok(Some(metadata)) => metadata,
            Ok(None) => return self.nothing(path, change),
            Err(error) if leads_elsewhere(&error) => return Ok(in_the_way(change)),
            Err(error) => return Err(self.failed("inspect", path)(error)),
        };
        let thing = match metadata.kind {
            FileKind::Directory => Thing::Directory,
            FileKind::Symlink => {
                Thing::Link { target: self.root.read_link(path).map_err(self.failed("read", path))? }
            }
            FileKind::File => Thing::File {
                sha256: may_be(&metadata, change).then(|| self.digest(path)).transpose()?,
                is_executable: is_executable(metadata.attributes.mode),
            },
            FileKind::Fifo | FileKind::Socket | FileKind::Device => Thing::Other,
        };
        Ok(Seen { thing: Some(thing), metadata: Some(metadata) })
    }

    /// The entries of a directory.
    pub(super) fn children(&self, path: &RelativePath) -> Result<Vec<RelativePath>, FileError> {
        let entries = self.root.list(path).map_err(self.failed("list", path))?;
        let entries = entries.into_iter();
        entries
            .map(|entry| {
                path.child(&entry.name).map_err(|error| {
                    self.failed("list", path)(beneath::Error::BadName {
                        directory: path.clone(),
                        source: error,
                    })
                })
            })
            .collect()
    }

    /// There is nothing: really, or because something is in the way.
    fn nothing(&self, path: &RelativePath, change: &Change) -> Result<Seen, FileError> {
        for above in path.ancestors() {
            match self.root.find(&above) {
                Ok(Some(metadata)) if metadata.kind == FileKind::Directory => break,
                Ok(Some(_)) => return Ok(in_the_way(change)),
                Ok(None) => {}
                Err(error) if leads_elsewhere(&error) => return Ok(in_the_way(change)),
                Err(error) => return Err(self.failed("inspect", &above)(error)),
            }
        }
        Ok(Seen::default())
    }

    fn digest(&self, path: &RelativePath) -> Result<[u8; 32], FileError> {
        let mut file = self.root.read(path).map_err(self.failed("read", path))?;
        let (mut digest, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(digest.finalize().into()),
                Ok(length) => digest.update(&piece[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = self.path.join(path.as_os_str());
                    return Err(FileError::Host { operation: "read", path, source });
                }
            }
        }
    }

    fn failed(&self, operation: &'static str, path: &RelativePath) -> impl Fn(beneath::Error) -> FileError {
        let path = self.path.join(path.as_os_str());
        move |error| {
            let source = match error {
                beneath::Error::Io { source, .. } => source,
                error => std::io::Error::other(error),
            };
            FileError::Host { operation, path: path.clone(), source }
        }
    }
}

/// Whether a path of ours is one that nobody but a transaction may touch.
pub(super) fn is_reserved(path: &RelativePath) -> bool {
    path.components().next() == Some(STAGING_NAME.as_bytes())
}

fn leads_elsewhere(error: &beneath::Error) -> bool {
    matches!(error, beneath::Error::ThroughLink { .. } | beneath::Error::Escapes { .. })
}

/// A file or a link where the guest has a directory: what the guest deleted below is gone, what it has there is not.
fn in_the_way(change: &Change) -> Seen {
    Seen { thing: change.now.as_ref().map(|_| Thing::Other), metadata: None }
}

/// Whether a file has the size of one that the guest has or had.
fn may_be(metadata: &Metadata, change: &Change) -> bool {
    let has_size = |entry: &Entry| entry.kind() == EntryKind::File && entry.size_bytes == metadata.size_bytes;
    change.now.iter().chain(&change.base).any(has_size)
}
