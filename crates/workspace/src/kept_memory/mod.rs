//! Captured memory as it lies on the disk: only what differs from the parent, compressed, encrypted, whole or not at all.
//!
//! - [`thinned`]: a delta without what its parent says already, and [`page_digests`] by which that is known.
//! - [`sealed`]: compressed and encrypted streams. [`Draft`]: files that appear whole.
//!
//! Whoever reads the disk learns the sizes of it and nothing else, and whoever writes there can have nothing else taken for it but an
//! older file of the same name, kept for the same id: ids are never used twice. Everything here blocks. What is captured is plain
//! until it is kept: its file is the caller's to remove.

mod error;
mod page_digests;
mod sealed;
#[cfg(test)]
mod tests;
mod thinned;

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

pub(crate) use self::{
    error::KeptMemoryError,
    page_digests::{PageDigests, PageDigestsError},
    sealed::{SealedError, SealedReader},
};
use self::{
    page_digests::PageDigester,
    sealed::SealedWriter,
    thinned::{ThinError, thin},
};
use crate::{draft::Draft, seal_key::SealKey};

/// Bytes of a captured delta that are read at once.
const READ_BYTES: usize = 256 << 10;

/// What is in a file. With the id it is sealed into it.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    Digests,
    File,
}

impl Kind {
    /// What a file of this kind is: no other kind and id give the same.
    fn context(self, id: &str) -> Vec<u8> {
        let kind = match self {
            Self::Memory => "memory ",
            Self::Digests => "digests ",
            Self::File => "file ",
        };
        [kind, id].concat().into_bytes()
    }
}

/// Memory that was kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// All that the chain of deltas up to this one says, for its children.
    pub(crate) digests: PageDigests,
    /// Pages that this one says otherwise than its parent, of 4 KiB each.
    pub(crate) pages: u64,
    /// Length of its file.
    pub(crate) stored_bytes: u64,
}

/// Seals what a capture wrote to `plain` about a memory of `memory_bytes`: thinned by what its parent says, compressed, encrypted,
/// durable. `place` has it afterwards, or is as it was. Only for the same `id` it is opened again.
pub(crate) fn keep(
    key: &SealKey,
    plain: &Path,
    memory_bytes: u64,
    id: &str,
    parent: Option<&PageDigests>,
    place: &Path,
) -> Result<Kept, KeptMemoryError> {
    let delta = File::open(plain).map_err(failed("open", plain))?;
    let (stored_bytes, (digests, written)) = seal(key, Kind::Memory, id, place, |out| {
        let delta = BufReader::with_capacity(READ_BYTES, delta);
        let thinned = thin(delta, memory_bytes, &PageDigester::new(key), parent, out);
        thinned.map_err(|error| match error {
            ThinError::Delta(source) => KeptMemoryError::Captured { path: plain.to_owned(), source },
            ThinError::Write(source) => failed("write", place)(source),
        })
    })?;
    Ok(Kept { digests, pages: written.pages, stored_bytes })
}

/// Opens a kept delta for [`SealedMemory::compose`](pyro_engine::SealedMemory::compose). That it is whole is known when it was read to
/// its end, as `compose` does.
pub(crate) fn open(key: &SealKey, place: &Path, id: &str) -> Result<SealedReader<File>, KeptMemoryError> {
    unseal(key, Kind::Memory, id, place)
}

/// Keeps the digests of a kept delta in a file of their own; its length comes back.
pub(crate) fn keep_digests(
    key: &SealKey,
    digests: &PageDigests,
    id: &str,
    place: &Path,
) -> Result<u64, KeptMemoryError> {
    let (stored_bytes, ()) =
        seal(key, Kind::Digests, id, place, |out| digests.write_to(out).map_err(failed("write", place)))?;
    Ok(stored_bytes)
}

/// The digests that were kept, of a memory of `memory_bytes`.
pub(crate) fn open_digests(
    key: &SealKey,
    place: &Path,
    id: &str,
    memory_bytes: u64,
) -> Result<PageDigests, KeptMemoryError> {
    let sealed = unseal(key, Kind::Digests, id, place)?;
    let path = || place.to_owned();
    PageDigests::read_from(sealed, memory_bytes).map_err(|error| match error {
        PageDigestsError::Read(source) => match source.downcast::<SealedError>() {
            Ok(source) => KeptMemoryError::Sealed { path: path(), source },
            Err(source) => KeptMemoryError::Digests { path: path(), source: PageDigestsError::Read(source) },
        },
        source => KeptMemoryError::Digests { path: path(), source },
    })
}

/// Keeps a file as it is, such as the state of a machine's devices; the length of what is kept comes back.
pub(crate) fn keep_file(key: &SealKey, plain: &Path, id: &str, place: &Path) -> Result<u64, KeptMemoryError> {
    let mut file = File::open(plain).map_err(failed("open", plain))?;
    let (stored_bytes, ()) = seal(key, Kind::File, id, place, |out| {
        copy(&mut file, out, failed("read", plain), failed("write", place))
    })?;
    Ok(stored_bytes)
}

/// Makes the file that was kept again, in `plain`: whole or not at all, but not durable.
pub(crate) fn open_file(key: &SealKey, place: &Path, id: &str, plain: &Path) -> Result<(), KeptMemoryError> {
    let mut sealed = unseal(key, Kind::File, id, place)?;
    let mut draft = Draft::begin(plain).map_err(failed("make", plain))?;
    copy(&mut sealed, &mut draft.file(), broken(place), failed("write", plain))?;
    draft.put().map_err(failed("make", plain))
}

/// A new sealed file, filled by `fill`; its length comes back.
fn seal<T>(
    key: &SealKey,
    kind: Kind,
    id: &str,
    place: &Path,
    fill: impl FnOnce(&mut SealedWriter<&File>) -> Result<T, KeptMemoryError>,
) -> Result<(u64, T), KeptMemoryError> {
    let draft = Draft::begin(place).map_err(failed("make", place))?;
    let unsealed = |source| KeptMemoryError::Sealed { path: place.to_owned(), source };
    let mut out = SealedWriter::begin(draft.file(), key, &kind.context(id)).map_err(unsealed)?;
    let filled = fill(&mut out)?;
    out.finish().map_err(unsealed)?;
    let stored_bytes = draft.keep().map_err(failed("make", place))?;
    Ok((stored_bytes, filled))
}

fn unseal(key: &SealKey, kind: Kind, id: &str, place: &Path) -> Result<SealedReader<File>, KeptMemoryError> {
    let file = File::open(place).map_err(failed("open", place))?;
    SealedReader::begin(file, key, &kind.context(id))
        .map_err(|source| KeptMemoryError::Sealed { path: place.to_owned(), source })
}

/// Copies all, and tells whose fault it was.
fn copy(
    source: &mut impl Read,
    target: &mut impl io::Write,
    unread: impl FnOnce(io::Error) -> KeptMemoryError,
    unwritten: impl FnOnce(io::Error) -> KeptMemoryError,
) -> Result<(), KeptMemoryError> {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match source.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                if let Err(error) = target.write_all(&bytes[..count]) {
                    return Err(unwritten(error));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(error)),
        }
    }
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> KeptMemoryError {
    let path = path.to_owned();
    move |source| KeptMemoryError::File { operation, path: path.clone(), source }
}

/// What a [`SealedReader`] says as a [`Read`].
fn broken(place: &Path) -> impl Fn(io::Error) -> KeptMemoryError {
    let path = place.to_owned();
    move |error| match error.downcast::<SealedError>() {
        Ok(source) => KeptMemoryError::Sealed { path: path.clone(), source },
        Err(source) => KeptMemoryError::File { operation: "read", path: path.clone(), source },
    }
}
