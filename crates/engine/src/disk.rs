//! The writable disk of a machine: immutable layers under one that takes the writes.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
};

use rustix::fs::{FlockOperation, flock};

use crate::EngineError;

/// The writable disk: immutable layers under one active layer. Backing files are always given here,
/// never read from an image header, which an escaped VMM could have written.
#[derive(Clone, Debug)]
pub struct DiskLayers {
    /// Immutable layers, the lowest first; opened read-only.
    pub lower: Vec<DiskLayer>,
    /// The layer that takes every write; owned by this machine alone.
    pub active: DiskLayer,
}

/// One layer of a disk.
#[derive(Clone, Debug)]
pub struct DiskLayer {
    /// Image file.
    pub path: PathBuf,
    /// How its bytes are to be read.
    pub format: DiskFormat,
}

impl DiskLayer {
    /// Opens it as an active layer and locks it. The lock belongs to the open file, so that whoever gets that has it for as long
    /// as they live, as a VMM does whose engine has died.
    pub(crate) fn open_alone(&self) -> Result<File, EngineError> {
        let path = &self.path;
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(|e| EngineError::file("open", path, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(EngineError::DiskInUse { path: path.clone() }),
            Err(e) => Err(EngineError::file("lock", path, e)),
        }
    }
}

/// Formats of a [`DiskLayer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}
