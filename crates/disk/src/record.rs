//! [`Record`]: bytes of an image as numbered fields, with the place that an error names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;

/// Which image something comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin(Arc<Path>);

impl Origin {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.to_path_buf()
    }

    pub(crate) fn corrupt(&self, offset: u64, what: &'static str) -> Error {
        Error::Corrupt { image: self.path(), offset, what }
    }

    pub(crate) fn unsupported(&self, feature: impl Into<String>) -> Error {
        Error::Unsupported { image: self.path(), feature: feature.into() }
    }
}

/// A piece of an image. Every field is read within bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    origin: &'a Origin,
    offset: u64,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// `bytes` were read at `offset`.
    pub(crate) fn new(origin: &'a Origin, offset: u64, bytes: &'a [u8]) -> Self {
        Self { origin, offset, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Some of its bytes.
    pub(crate) fn slice(&self, at: usize, length: usize) -> Result<&'a [u8], Error> {
        let end = at.checked_add(length);
        end.and_then(|end| self.bytes.get(at..end))
            .ok_or_else(|| self.corrupt(at, "something reaches past the end of its place"))
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        let bytes = self.slice(at, N)?;
        bytes.try_into().map_err(|_| self.corrupt(at, "something reaches past the end of its place"))
    }

    pub(crate) fn byte(&self, at: usize) -> Result<u8, Error> {
        Ok(self.array::<1>(at)?[0])
    }

    pub(crate) fn le16(&self, at: usize) -> Result<u16, Error> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(crate) fn le32(&self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn be16(&self, at: usize) -> Result<u16, Error> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(crate) fn be32(&self, at: usize) -> Result<u32, Error> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(crate) fn be64(&self, at: usize) -> Result<u64, Error> {
        self.array(at).map(u64::from_be_bytes)
    }

    /// Something is wrong with what stands at `at`.
    pub(crate) fn corrupt(&self, at: usize, what: &'static str) -> Error {
        self.origin.corrupt(self.offset.saturating_add(at as u64), what)
    }
}
