//! Guest memory that many machines start from and none can change.
//!
//! QEMU opens its memory file for writing even where it maps it privately, so a read-only file does not do. A
//! sealed memfd can be opened for writing by anybody, and be written by nobody.

use std::{
    fmt,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, fstat, ftruncate, memfd_create, seek};

/// Guest memory in a memfd sealed against write, shrink and growth.
pub struct SealedMemory {
    file: OwnedFd,
    size_bytes: u64,
}

/// Why memory could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{operation} saved memory {path:?}")]
pub struct MemoryError {
    /// What was tried.
    pub operation: &'static str,
    /// The memory file.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl SealedMemory {
    /// Loads the memory file of a saved machine; holes stay holes. Blocks for as long as copying the data takes.
    pub fn load(path: &Path) -> Result<Self, MemoryError> {
        let failed =
            |operation| move |source: io::Error| MemoryError { operation, path: path.to_owned(), source };
        let source = File::open(path).map_err(failed("open"))?;
        let size_bytes = source.metadata().map_err(failed("inspect"))?.len();
        let file = memfd_create("pyro-memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|e| failed("create a memory file for")(e.into()))?;
        ftruncate(&file, size_bytes).map_err(|e| failed("size a memory file for")(e.into()))?;
        copy_data(&source, &file, size_bytes).map_err(failed("copy"))?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|e| failed("seal")(e.into()))?;
        Ok(Self { file, size_bytes })
    }

    /// Size of the guest's memory in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Bytes of host memory it occupies.
    pub fn resident_bytes(&self) -> u64 {
        fstat(&self.file).map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }
}

/// Copies what is data, leaves out what is a hole.
fn copy_data(source: &File, target: &OwnedFd, size: u64) -> io::Result<()> {
    let mut from = 0;
    while from < size {
        from = match seek(source, SeekFrom::Data(from)) {
            Ok(offset) => offset,
            // No data after `from`: the rest is a hole.
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let end = seek(source, SeekFrom::Hole(from))?.min(size);
        copy_range(source, target, from, end)?;
        from = end;
    }
    Ok(())
}

fn copy_range(source: &File, target: &OwnedFd, mut from: u64, end: u64) -> io::Result<()> {
    seek(target, SeekFrom::Start(from))?;
    while from < end {
        let length = usize::try_from((end - from).min(1 << 30)).unwrap_or(1 << 30);
        let copied = rustix::fs::sendfile(target, source, Some(&mut from), length)?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

impl AsFd for SealedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for SealedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedMemory").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::FileExt};

    use super::*;

    #[test]
    fn keeps_data_and_holes_and_refuses_writes() {
        let mut original = tempfile::NamedTempFile::new().unwrap();
        original.as_file().set_len(64 << 20).unwrap();
        original.as_file().write_all_at(b"data", 40 << 20).unwrap();
        original.flush().unwrap();

        let memory = SealedMemory::load(original.path()).unwrap();

        assert_eq!(memory.size_bytes(), 64 << 20);
        assert!(memory.resident_bytes() < 1 << 20, "holes were filled: {}", memory.resident_bytes());
        let file = File::from(memory.file.try_clone().unwrap());
        let mut data = [0; 4];
        file.read_exact_at(&mut data, 40 << 20).unwrap();
        assert_eq!(&data, b"data");
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(file.set_len(0).is_err() && file.set_len(65 << 20).is_err());
    }
}
