//! A file that nobody writes to any more, and how it is told whether somebody did.
//!
//! Its length and the time of its last change are compared at each use, and its digest where these differ, or were never
//! known: reading gigabytes at every reset would cost more than the reset. Whoever can set times back as well as write is not
//! found by that: a VMM that was taken over cannot, since its filter of system calls lets it change no times.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::template::sparse_digest;

/// How a file looked when it was frozen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrozenFile {
    length_bytes: u64,
    modified_ns: i64,
    /// SHA-256 over its length and its pages that are not zero; none until it was read once.
    digest: Option<String>,
}

/// What is wrong with a file that should not have changed.
#[derive(Debug, thiserror::Error)]
pub enum FrozenFileError {
    /// It is not there.
    #[error("`{}` is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is another than it was.
    #[error("`{}` is not as it was when it was saved", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl FrozenFileError {
    fn of(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Unreadable { path, source },
        }
    }
}

impl FrozenFile {
    /// Notes how the file looks now; its digest follows when there is time for it.
    pub(super) fn note(path: &Path) -> io::Result<Self> {
        let about = fs::metadata(path)?;
        let modified_ns = about.mtime().saturating_mul(1_000_000_000).saturating_add(about.mtime_nsec());
        Ok(Self { length_bytes: about.len(), modified_ns, digest: None })
    }

    /// The same with its digest, if the file did not change since. Blocks for as long as reading its data takes.
    pub(super) fn read(&self, path: &Path) -> Result<Self, FrozenFileError> {
        let failed = |source| FrozenFileError::of(path, source);
        let digest = sparse_digest(path).map_err(failed)?;
        let now = Self::note(path).map_err(failed)?;
        if !self.looks_like(&now) {
            return Err(FrozenFileError::Changed { path: path.to_owned() });
        }
        Ok(Self { digest: Some(digest), ..now })
    }

    /// Whether its digest is known.
    pub(super) fn is_read(&self) -> bool {
        self.digest.is_some()
    }

    /// How a file looks now whose digest is known.
    pub(super) fn note_with(path: &Path, digest: &str) -> io::Result<Self> {
        Ok(Self { digest: Some(digest.to_owned()), ..Self::note(path)? })
    }

    /// Whether the file is as it was. Blocks; reads it only where a look does not do.
    pub(super) fn check(&self, path: &Path) -> Result<(), FrozenFileError> {
        let failed = |source| FrozenFileError::of(path, source);
        let now = Self::note(path).map_err(failed)?;
        if self.looks_like(&now) {
            return Ok(());
        }
        let is_same = self.length_bytes == now.length_bytes
            && match &self.digest {
                Some(digest) => sparse_digest(path).map_err(failed)? == *digest,
                None => false,
            };
        if is_same { Ok(()) } else { Err(FrozenFileError::Changed { path: path.to_owned() }) }
    }

    fn looks_like(&self, now: &Self) -> bool {
        (self.length_bytes, self.modified_ns) == (now.length_bytes, now.modified_ns)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_change_is_found_and_another_time_alone_is_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("layer");
        fs::write(&path, "what was saved").unwrap();
        let noted = FrozenFile::note(&path).unwrap();
        let read = noted.read(&path).unwrap();
        noted.check(&path).unwrap();

        let later = SystemTime::now() + Duration::from_secs(9);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        read.check(&path).unwrap();
        // Nobody knows what was in it.
        assert!(matches!(noted.check(&path), Err(FrozenFileError::Changed { .. })));
        assert!(matches!(noted.read(&path), Err(FrozenFileError::Changed { .. })));

        fs::write(&path, "what was SAVED").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(matches!(read.check(&path), Err(FrozenFileError::Changed { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read.check(&path), Err(FrozenFileError::Missing { .. })));
    }
}
