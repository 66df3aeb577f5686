//! An image file that is read byte for byte.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::Device;
use crate::Error;
use crate::record::Origin;

#[derive(Debug)]
pub(super) struct Raw {
    file: File,
    size_bytes: u64,
    origin: Origin,
}

impl Raw {
    pub(super) fn open(origin: Origin) -> Result<Self, Error> {
        let opened = File::open(origin.path()).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| Error::Open { image: origin.path(), source })?;
        if !metadata.is_file() {
            let source = io::Error::other("it is not a regular file");
            return Err(Error::Open { image: origin.path(), source });
        }
        Ok(Self { file, size_bytes: metadata.len(), origin })
    }

    fn failed(&self, offset: u64, source: io::Error) -> Error {
        Error::Read { image: self.origin.path(), offset, source }
    }

    fn seek(&self, to: SeekFrom) -> Result<Option<u64>, Errno> {
        match seek(&self.file, to) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl Device for Raw {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(self.origin.corrupt(offset, "something lies behind the end of the image"));
        }
        self.file.read_exact_at(buffer, offset).map_err(|source| self.failed(offset, source))
    }

    fn next_data(&self, from: u64) -> Result<Option<Range<u64>>, Error> {
        if from >= self.size_bytes {
            return Ok(None);
        }
        let failed = |errno: Errno| self.failed(from, errno.into());
        let Some(start) = self.seek(SeekFrom::Data(from)).map_err(failed)? else { return Ok(None) };
        let end = self.seek(SeekFrom::Hole(start)).map_err(failed)?.unwrap_or(self.size_bytes);
        let (start, end) = (start.max(from), end.min(self.size_bytes));
        Ok((start < end).then_some(start..end))
    }
}
