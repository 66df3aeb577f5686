//! Programs that the agent brings. So far one: the file worker, which gets the writable disk.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::worker::DISK_DESCRIPTOR;

/// The one argument by which the agent's own program knows that it is to be the file worker.
pub const FILE_WORKER: &str = "file-worker";

/// How the file worker is started.
#[derive(Debug)]
pub struct FileWorker {
    program: PathBuf,
    disk: OwnedFd,
}

impl FileWorker {
    /// `program` is executed with the one argument [`FILE_WORKER`]; `disk` becomes its descriptor [`DISK_DESCRIPTOR`].
    pub fn new(program: PathBuf, disk: OwnedFd) -> Self {
        Self { program, disk }
    }

    /// The program's file.
    pub(super) fn program(&self) -> PathBuf {
        self.program.clone()
    }

    /// Its name and arguments.
    pub(super) fn arguments() -> Vec<OsString> {
        vec!["pyro-guest".into(), FILE_WORKER.into()]
    }

    /// A descriptor of the disk for one worker, [`DISK_DESCRIPTOR`] or higher. While it is held, nobody else in this
    /// program gets that number.
    ///
    /// # Errors
    /// The kernel's, when it gives no more descriptors.
    pub(super) fn disk(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.disk, DISK_DESCRIPTOR)?)
    }
}
