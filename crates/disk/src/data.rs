//! What is on the writable disk and not zero, from its beginning to its end.

use std::io;

use crate::Error;
use crate::block::Disk;
use crate::path::Shown;

/// Most bytes in memory at once. No piece of data crosses a multiple of it.
pub const WINDOW_BYTES: usize = 1 << 20;
/// Zeros are left out in blocks of this size, which is that of every file system.
pub const BLOCK_BYTES: usize = 4096;

impl Disk {
    /// Gives `take` every run of blocks that are not zero, with its offset: ascending, at most [`WINDOW_BYTES`] long. What it is
    /// given depends on the content alone, not on the layers in which that lies. After a stretch that turned out to be zero it is
    /// called with nothing, so that it can end the work there too.
    ///
    /// At most `max_bytes` are in the disk's size, holes counted, whatever the tables of its layers say.
    ///
    /// # Errors
    /// What is wrong with a layer; [`Error::TooMuch`]; [`Error::Write`] when `take` fails.
    pub fn read_data(
        &self,
        max_bytes: u64,
        take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<(), Error> {
        let size_bytes = self.size_within(max_bytes)?;
        let device = self.device();
        let mut window = vec![0; WINDOW_BYTES];
        let mut from = 0;
        while let Some(data) = device.next_data(from)? {
            let mut at = data.start - data.start % WINDOW_BYTES as u64;
            while at < data.end {
                let length = usize::try_from(size_bytes - at).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES);
                let window = &mut window[..length];
                device.read_at(at, window)?;
                give(at, window, take)
                    .map_err(|source| Error::Write { object: "the image of the disk", source })?;
                at += length as u64;
            }
            from = at;
        }
        Ok(())
    }

    /// Its size, if that is within a bound.
    pub(crate) fn size_within(&self, max_bytes: u64) -> Result<u64, Error> {
        match self.size_bytes() {
            size_bytes if size_bytes <= max_bytes => Ok(size_bytes),
            _ => Err(Error::TooMuch { path: Shown::new(b"/"), what: "bytes on its disk", limit: max_bytes }),
        }
    }
}

/// Gives the runs of one window.
fn give(at: u64, window: &[u8], take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let is_data = |block: &&[u8]| block.iter().any(|byte| *byte != 0);
    let (mut start, mut has_data) = (0, false);
    while start < window.len() {
        let blocks = || window[start..].chunks(BLOCK_BYTES);
        let data_bytes: usize = blocks().take_while(is_data).map(<[u8]>::len).sum();
        if data_bytes > 0 {
            take(at + start as u64, &window[start..start + data_bytes])?;
            (start, has_data) = (start + data_bytes, true);
        } else {
            start += blocks().take_while(|block| !is_data(block)).map(<[u8]>::len).sum::<usize>();
        }
    }
    if has_data { Ok(()) } else { take(at, &[]) }
}
