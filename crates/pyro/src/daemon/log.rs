//! The daemon's log: a file of bounded size, with the part before it in a second file. A line that cannot be written,
//! on a full disk above all, is lost and does no other harm.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Size at which a new file is begun; there are never more than two.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Sends everything that is traced to the log.
pub(crate) fn begin(path: &Path, filter: &str) -> io::Result<()> {
    let log = BoundedLog::open(path.to_owned(), MOST_BYTES)?;
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(log)
        // Told they would be on standard error, the same file, with a macro that panics when it cannot write.
        .log_internal_errors(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)
}

/// Opens a log to append to; only its owner may read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[derive(Clone, Debug)]
struct BoundedLog(Arc<Mutex<Current>>);

#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    bytes: u64,
    most_bytes: u64,
}

impl BoundedLog {
    fn open(path: PathBuf, most_bytes: u64) -> io::Result<Self> {
        let file = open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Current { path, file, bytes, most_bytes }))))
    }
}

impl Current {
    fn begin_anew(&mut self) -> io::Result<()> {
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        match std::fs::rename(&self.path, before) {
            // Renamed before, when no new file could be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    /// Begins a new file; if that cannot be done, begins this one from the start, as the bound goes first.
    fn rotate(&mut self) -> io::Result<()> {
        self.begin_anew().or_else(|_| {
            self.file.set_len(0)?;
            self.bytes = 0;
            Ok(())
        })
    }
}

impl Write for BoundedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.bytes >= current.most_bytes {
            current.rotate()?;
        }
        let written = current.file.write(bytes)?;
        current.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for BoundedLog {
    type Writer = BoundedLog;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_two_files_of_bounded_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        let mut log = BoundedLog::open(path.clone(), 100).unwrap();
        for _ in 0..100 {
            log.write_all(&[b'x'; 30]).unwrap();
        }
        let sizes: Vec<u64> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|bytes| *bytes <= 130), "{sizes:?}");
    }

    #[test]
    fn a_log_that_cannot_be_rotated_is_still_bounded_and_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        // A file cannot be renamed to a directory.
        std::fs::create_dir(directory.path().join("daemon.log.1")).unwrap();
        let mut log = BoundedLog::open(path.clone(), 100).unwrap();
        for _ in 0..100 {
            log.write_all(&[b'x'; 30]).unwrap();
        }
        let bytes = std::fs::metadata(path).unwrap().len();
        assert!((30..=130).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_lost_new_file_is_made_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("daemon.log");
        let mut log = BoundedLog::open(path.clone(), 20).unwrap();
        log.write_all(&[b'x'; 30]).unwrap();
        std::fs::remove_file(&path).unwrap();
        log.write_all(b"again").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"again");
    }
}
