//! The writable disk of a machine: immutable layers under one that takes the writes.

use std::path::PathBuf;

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

/// Formats of a [`DiskLayer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}
