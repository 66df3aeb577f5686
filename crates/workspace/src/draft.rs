//! [`Draft`]: a file that is in its place whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::layout::PARTIAL_PREFIX;

/// A file in the making, beside its place, for its owner alone. Dropped, it is gone; what a killed process left goes with the next
/// draft for the same place.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    place: &'a Path,
    path: PathBuf,
    file: File,
    placed: bool,
}

impl<'a> Draft<'a> {
    /// Begins an empty file for `place`, whose directory exists. Whoever makes things there sees to it that only one is made at a
    /// time.
    pub(crate) fn begin(place: &'a Path) -> io::Result<Self> {
        let mut name = OsString::from(PARTIAL_PREFIX);
        name.push(place.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        let path = place.with_file_name(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { place, path, file, placed: false })
    }

    /// To write to.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in its place, where another one may be. It need not last.
    pub(crate) fn put(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.place)?;
        self.placed = true;
        Ok(())
    }

    /// The same, durable with its name; its length comes back, in bytes.
    pub(crate) fn keep(mut self) -> io::Result<u64> {
        self.file.sync_all()?;
        let bytes = self.file.metadata()?.len();
        self.put()?;
        let above = self.place.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        Ok(bytes)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = ?self.path, "half a file stays");
        }
    }
}
