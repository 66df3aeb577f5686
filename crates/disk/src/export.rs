//! The writable disk as one raw image.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::Error;
use crate::block::Disk;
use crate::path::Shown;

/// Most bytes in memory at once.
const PIECE_BYTES: usize = 1 << 20;
/// Smallest hole that is left for zeros: a block of every file system.
const HOLE_BYTES: usize = 4096;

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
        let failed = |source| Error::Write { object: "the image of the disk", source };
        let device = self.device();
        let mut exported = Exported { size_bytes: device.size_bytes(), written_bytes: 0 };
        if exported.size_bytes > max_bytes {
            return Err(Error::TooMuch {
                path: Shown::new(b"/"),
                what: "bytes on its disk",
                limit: max_bytes,
            });
        }
        to.set_len(exported.size_bytes).map_err(failed)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut from = 0;
        while let Some(data) = device.next_data(from)? {
            let mut offset = data.start;
            while offset < data.end {
                let length = usize::try_from(data.end - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                let piece = &mut piece[..length];
                device.read_at(offset, piece)?;
                for (at, block) in (offset..).step_by(HOLE_BYTES).zip(piece.chunks(HOLE_BYTES)) {
                    if block.iter().any(|byte| *byte != 0) {
                        to.write_all_at(block, at).map_err(failed)?;
                        exported.written_bytes += block.len() as u64;
                    }
                }
                offset += length as u64;
                going(exported.written_bytes).map_err(failed)?;
            }
            from = data.end;
        }
        Ok(exported)
    }
}
