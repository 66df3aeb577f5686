//! Bytes at an offset: image files, and the chain of layers that is a writable disk.
//!
//! The chain is always given by the caller. What a qcow2 header says about a backing file is not even looked at: an
//! escaped VMM could have written it.

pub(crate) mod qcow2;
mod raw;

use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::record::Origin;
use qcow2::Qcow2;
use raw::Raw;

/// How the bytes of an image file are to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format, over the layer below.
    Qcow2,
}

/// One layer of a writable disk.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Image file.
    pub path: PathBuf,
    /// How it is read.
    pub format: Format,
}

/// Something that can be read at any offset.
pub(crate) trait Device: Send + Sync + Debug {
    fn size_bytes(&self) -> u64;

    /// Fills `buffer`.
    ///
    /// # Errors
    /// Also when it reaches past the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;

    /// The first bytes at or after `from` that may be something else than zero; never empty, and never past the end.
    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, Error>;
}

/// A writable disk: all its layers as one.
#[derive(Debug)]
pub struct Disk {
    device: Box<dyn Device>,
    origin: Origin,
}

impl Disk {
    /// Opens the layers for reading, the lowest first.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Corrupt`] and [`Error::Unsupported`] for the layer that they name; the last too when
    /// there is no layer, or a raw one is not the lowest.
    pub fn open(layers: &[Layer]) -> Result<Self, Error> {
        let mut disk: Option<Self> = None;
        for layer in layers {
            let origin = Origin::new(&layer.path);
            let lower = disk.take().map(|disk| disk.device);
            let device: Box<dyn Device> = match (layer.format, lower) {
                (Format::Raw, None) => Box::new(Raw::open(origin.clone())?),
                (Format::Raw, Some(_)) => return Err(origin.unsupported("no room for layers below it")),
                (Format::Qcow2, lower) => Box::new(Qcow2::open(origin.clone(), lower)?),
            };
            disk = Some(Self { device, origin });
        }
        disk.ok_or_else(|| Origin::new(Path::new("")).unsupported("no layers"))
    }

    /// A disk of one raw image.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open_raw(path: &Path) -> Result<Self, Error> {
        Self::open(&[Layer { path: path.to_owned(), format: Format::Raw }])
    }

    /// Size that a machine sees.
    pub fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    pub(crate) fn device(&self) -> &dyn Device {
        &*self.device
    }

    /// The device, and the image by which errors call it.
    pub(crate) fn into_parts(self) -> (Box<dyn Device>, Origin) {
        (self.device, self.origin)
    }
}
