//! [`PageDigests`]: what the pages of a memory are, told by digests.
//!
//! ```text
//! digests = "pyro dig"  version: u32 = 1  bytes of a digest: u32 = 16  count: u64  entry*
//! entry   = page: u64  digest: 16 bytes
//! ```
//!
//! Numbers are little-endian; pages ascend; there is nothing after the last entry. The digests are keyed: a guest that does not
//! know the key cannot make a page that is taken for another.

use std::{
    fmt,
    io::{self, Read, Write},
};

use hmac::{Hmac, Mac};
use pyro_engine::memory_delta::PAGE_BYTES;
use sha2::Sha256;

use crate::seal_key::SealKey;

const MAGIC: [u8; 8] = *b"pyro dig";
const VERSION: u32 = 1;
const DIGEST_BYTES: usize = 16;
/// What the key of digests is for. There is one for the store, so that every capture can be compared with its parent.
const PURPOSE: &[u8] = b"digests of pages";

/// The first 128 bits of HMAC-SHA256.
type Digest = [u8; DIGEST_BYTES];

/// Makes digests.
pub(crate) struct PageDigester {
    mac: Hmac<Sha256>,
    zero: Digest,
}

impl fmt::Debug for PageDigester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageDigester")
    }
}

impl PageDigester {
    /// The store's.
    pub(crate) fn new(key: &SealKey) -> Self {
        let mac = key.derive(PURPOSE, &[0; 32], b"").mac();
        let mut digester = Self { mac, zero: Digest::default() };
        digester.zero = digester.digest(&[0; PAGE_BYTES]);
        digester
    }

    pub(super) fn digest(&self, page: &[u8]) -> Digest {
        let mut digest = Digest::default();
        let whole = self.mac.clone().chain_update(page).finalize().into_bytes();
        digest.copy_from_slice(&whole[..DIGEST_BYTES]);
        digest
    }

    /// That of a page of zeros.
    pub(super) fn zero(&self) -> Digest {
        self.zero
    }
}

/// The digest of every page that a chain of deltas since one base has said. Takes 24 bytes for each.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct PageDigests {
    /// Ascending.
    entries: Vec<(u64, Digest)>,
}

/// What was kept of digests cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageDigestsError {
    /// It does not begin like digests of this release.
    #[error("these are no digests of this release: {what}")]
    Foreign {
        /// What is strange about it.
        what: &'static str,
    },
    /// It breaks its own rules.
    #[error("the digests are damaged: {what}")]
    Damaged {
        /// Which rule.
        what: &'static str,
    },
    /// It ends early, or the system failed to read it.
    #[error("read digests")]
    Read(#[source] io::Error),
}

impl PageDigests {
    /// How many pages it knows.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.entries.len()
    }

    /// Which pages it knows, ascending.
    pub(crate) fn page_numbers(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|(page, _)| *page)
    }

    /// Writes them down.
    pub(crate) fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&u32::try_from(DIGEST_BYTES).unwrap_or(0).to_le_bytes())?;
        out.write_all(&(self.entries.len() as u64).to_le_bytes())?;
        for (page, digest) in &self.entries {
            out.write_all(&page.to_le_bytes())?;
            out.write_all(digest)?;
        }
        Ok(())
    }

    /// Reads what was written down, for a memory of this size: no more than it has pages is taken.
    pub(crate) fn read_from(mut source: impl Read, memory_bytes: u64) -> Result<Self, PageDigestsError> {
        let (foreign, damaged) =
            (|what| Err(PageDigestsError::Foreign { what }), |what| Err(PageDigestsError::Damaged { what }));
        let memory_pages = memory_bytes / PAGE_BYTES as u64;
        if read::<8>(&mut source)? != MAGIC {
            return foreign("they begin otherwise");
        }
        if u32::from_le_bytes(read(&mut source)?) != VERSION {
            return foreign("they have another version");
        }
        if u32::from_le_bytes(read(&mut source)?) as usize != DIGEST_BYTES {
            return foreign("they have another length");
        }
        let count = u64::from_le_bytes(read(&mut source)?);
        if count > memory_pages {
            return damaged("more of them than the memory has pages");
        }
        let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut next_page = 0;
        for _ in 0..count {
            let page = u64::from_le_bytes(read(&mut source)?);
            if page < next_page || page >= memory_pages {
                return damaged("pages that do not ascend or are beyond the memory");
            }
            next_page = page + 1;
            entries.push((page, read(&mut source)?));
        }
        // Reads to the end of what they are in, which is only good then.
        match source.read(&mut [0]).map_err(PageDigestsError::Read)? {
            0 => Ok(Self { entries }),
            _ => damaged("something after their end"),
        }
    }
}

fn read<const N: usize>(source: &mut impl Read) -> Result<[u8; N], PageDigestsError> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(PageDigestsError::Read)?;
    Ok(bytes)
}

/// Digests in the making: those of a parent, and over them what a delta says, page after page.
#[derive(Debug)]
pub(super) struct Overlay<'a> {
    /// What of the parent was not reached.
    parent: &'a [(u64, Digest)],
    made: PageDigests,
}

impl<'a> Overlay<'a> {
    pub(super) fn over(parent: Option<&'a PageDigests>) -> Self {
        Self { parent: parent.map_or(&[], |parent| &parent.entries), made: PageDigests::default() }
    }

    /// Adds the next page, which lies after all that were added. Whether that is new: the parent has no such page, or another one.
    pub(super) fn add(&mut self, page: u64, digest: Digest) -> bool {
        let before = self.parent.partition_point(|(theirs, _)| *theirs < page);
        self.take(before);
        let known = self.parent.first().filter(|(theirs, _)| *theirs == page).map(|(_, digest)| *digest);
        self.parent = &self.parent[usize::from(known.is_some())..];
        self.made.entries.push((page, digest));
        known != Some(digest)
    }

    /// What the delta does not say is as the parent has it.
    pub(super) fn end(mut self) -> PageDigests {
        self.take(self.parent.len());
        self.made
    }

    fn take(&mut self, count: usize) {
        let (passed, rest) = self.parent.split_at(count);
        self.made.entries.extend_from_slice(passed);
        self.parent = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY_BYTES: u64 = 8 * PAGE_BYTES as u64;

    fn some() -> PageDigests {
        PageDigests { entries: vec![(1, [1; DIGEST_BYTES]), (2, [9; DIGEST_BYTES]), (7, [0; DIGEST_BYTES])] }
    }

    fn written(digests: &PageDigests) -> Vec<u8> {
        let mut bytes = Vec::new();
        digests.write_to(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn digests_are_read_as_they_were_written() {
        for digests in [some(), PageDigests::default()] {
            assert_eq!(PageDigests::read_from(&written(&digests)[..], MEMORY_BYTES).unwrap(), digests);
        }
        assert_eq!(written(&some()).len(), 24 + 3 * 24);
    }

    #[test]
    fn what_are_no_digests_of_this_memory_is_refused() {
        let bytes = written(&some());
        for length in 0..bytes.len() {
            let error = PageDigests::read_from(&bytes[..length], MEMORY_BYTES).unwrap_err();
            assert!(matches!(error, PageDigestsError::Read(_)), "{length}: {error:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        let error = PageDigests::read_from(&longer[..], MEMORY_BYTES).unwrap_err();
        assert!(matches!(error, PageDigestsError::Damaged { .. }), "{error:?}");
        let forged = |place: usize, value: u8| {
            let mut forged = bytes.clone();
            forged[place] = value;
            PageDigests::read_from(&forged[..], MEMORY_BYTES).unwrap_err()
        };
        // Magic, version, length of a digest.
        for place in [0, 8, 12] {
            assert!(matches!(forged(place, 99), PageDigestsError::Foreign { .. }), "{place}");
        }
        // Far too many of them, which must not be allocated; a page twice; one beyond the memory.
        for (place, value) in [(23, 0x7f), (48, 1), (72, 8)] {
            assert!(matches!(forged(place, value), PageDigestsError::Damaged { .. }), "{place}");
        }
    }

    #[test]
    fn an_overlay_says_what_is_new_and_keeps_the_rest() {
        let parent = some();
        let mut overlay = Overlay::over(Some(&parent));
        let added = [(0, 1), (1, 1), (2, 1), (6, 1)].map(|(page, value)| overlay.add(page, [value; 16]));
        assert_eq!(added, [true, false, true, true]);
        let expected = [(0, 1), (1, 1), (2, 1), (6, 1), (7, 0)].map(|(page, value)| (page, [value; 16]));
        assert_eq!(overlay.end().entries, expected);
        assert_eq!(Overlay::over(Some(&parent)).end(), parent);
        assert_eq!(Overlay::over(None).end(), PageDigests::default());
    }
}
