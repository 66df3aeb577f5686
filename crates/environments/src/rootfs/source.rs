//! What a user may give to an import, and how it becomes the stage's archive.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use super::directory;
use crate::{Cancellation, Error, Result};

/// A root file system given by the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImportSource {
    /// A tar archive: plain, gzip or zstd.
    Archive(PathBuf),
    /// A directory that is the root.
    Directory(PathBuf),
}

impl ImportSource {
    /// Looks at what `path` is.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let metadata = std::fs::metadata(&path).map_err(Error::io("open", &path))?;
        Ok(if metadata.is_dir() { Self::Directory(path) } else { Self::Archive(path) })
    }

    /// The path that was given.
    pub fn path(&self) -> &Path {
        match self {
            Self::Archive(path) | Self::Directory(path) => path,
        }
    }

    /// Writes it to `output` as one uncompressed archive.
    pub(crate) fn write_archive(&self, output: &Path, cancel: &Cancellation) -> Result<()> {
        let file = File::create(output).map_err(Error::io("create", output))?;
        let mut file = Cancellable { inner: file, cancel };
        let copied = match self {
            Self::Archive(path) => {
                decompressed(path).and_then(|mut reader| io::copy(&mut reader, &mut file)).map(drop)
            }
            Self::Directory(path) => directory::write_archive(path, &mut file),
        };
        cancel.check()?;
        copied.map_err(Error::io("import", self.path()))?;
        file.inner.sync_all().map_err(Error::io("flush", output))
    }
}

fn decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut magic = [0; 6];
    let length = file.read(&mut magic)?;
    let whole = BufReader::with_capacity(1 << 18, io::Cursor::new(magic[..length].to_vec()).chain(file));
    match &magic {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Ok(Box::new(ruzstd::decoding::StreamingDecoder::new(whole).map_err(io::Error::other)?))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(unsupported("xz")),
        [b'B', b'Z', b'h', ..] => Err(unsupported("bzip2")),
        _ => Ok(Box::new(whole)),
    }
}

fn unsupported(format: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{format} archives are not supported; decompress it first"),
    )
}

struct Cancellable<'a, W> {
    inner: W,
    cancel: &'a Cancellation,
}

impl<W: Write> Write for Cancellable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
