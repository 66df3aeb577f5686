//! The writable disk as one raw image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::Error;
use crate::block::Disk;

/// What an export wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exported {
    /// Size of the image.
    pub size_bytes: u64,
    /// How much of it is no hole.
    pub written_bytes: u64,
}

impl Disk {
    /// Writes the disk as a raw image into an empty file, with holes where it has nothing. A journal stays as it is: whoever
    /// mounts the image replays it.
    ///
    /// At most `max_bytes` are in its size, holes counted, whatever the tables of its layers say. `going` hears of the bytes so far, and ends the work by an error.
    ///
    /// # Errors
    /// What is wrong with a layer; [`Error::TooMuch`]; [`Error::Write`], which an end by `going` is too.
    pub fn write_raw(
        &self,
        to: &File,
        max_bytes: u64,
        going: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Exported, Error> {
        let size_bytes = self.size_within(max_bytes)?;
        to.set_len(size_bytes).map_err(|source| Error::Write { object: "the image of the disk", source })?;
        let mut written_bytes = 0;
        self.read_data(max_bytes, &mut |offset, data| {
            to.write_all_at(data, offset)?;
            written_bytes += data.len() as u64;
            going(written_bytes)
        })?;
        Ok(Exported { size_bytes, written_bytes })
    }
}
