//! A stream that only the owner of a store's key can read, and that nobody else can change: [`SealedWriter`], [`SealedReader`].
//!
//! ```text
//! sealed = header  chunk*  last chunk
//! header = "pyro sea"  version: u32 = 1  bytes of a whole chunk: u32 = 65536  salt: 32 bytes
//! chunk  = head: u32  ciphertext  tag: 16 bytes
//! head   = length of the ciphertext  | COMPRESSED  | LAST
//! ```
//!
//! Numbers are little-endian. Each chunk of the content is compressed, unless that makes it longer, and encrypted with AES-256-GCM.
//! The key is derived of the store's, of the salt, and of what the caller says the file is: so no file can stand in for another.
//! The nonce is the chunk's number and whether it is the last one, and what is authenticated along is the header and the head: so
//! chunks that are missing, moved, doubled or added are found. Both ways are streams in constant memory.
//!
//! The lengths of chunks are not hidden, and with them how well the content can be compressed.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::{fmt, io};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey},
    error::Unspecified,
};

pub(crate) use self::{reader::SealedReader, writer::SealedWriter};
use crate::seal_key::SealKey;

const MAGIC: [u8; 8] = *b"pyro sea";
const VERSION: u32 = 1;
/// Bytes of content in each chunk but the last.
const CHUNK_BYTES: usize = 64 << 10;
const SALT_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + 4 + 4 + SALT_BYTES;
const HEAD_BYTES: usize = 4;
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// In a head: this is the last chunk.
const LAST: u32 = 1 << 31;
/// In a head: the content is compressed.
const COMPRESSED: u32 = 1 << 30;
/// What keys of sealed streams are for.
const PURPOSE: &[u8] = b"sealed stream";

/// A sealed stream cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealedError {
    /// It does not begin like one of this release.
    #[error("it is not sealed by this release: {what}")]
    Foreign {
        /// What is strange about it.
        what: &'static str,
    },
    /// It is not what was sealed, or not for this context. Which of both, or whether the key is another one, cannot be told.
    #[error("it is damaged, or sealed with another key: {what}")]
    Damaged {
        /// How it shows.
        what: &'static str,
    },
    /// The system failed to read it.
    #[error("read what is sealed")]
    Read(#[source] io::Error),
    /// The system failed to write it.
    #[error("write what is sealed")]
    Write(#[source] io::Error),
}

#[cfg(test)]
impl SealedError {
    /// Finds it in what a [`SealedReader`] said as a [`Read`](std::io::Read).
    pub(crate) fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<SealedError> for io::Error {
    fn from(error: SealedError) -> Self {
        let kind = match &error {
            SealedError::Foreign { .. } | SealedError::Damaged { .. } => io::ErrorKind::InvalidData,
            SealedError::Read(source) | SealedError::Write(source) => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// What the stream begins with.
#[derive(Clone, Copy, Debug)]
struct Header([u8; HEADER_BYTES]);

impl Header {
    fn new(salt: &[u8; SALT_BYTES]) -> Self {
        let mut bytes = [0; HEADER_BYTES];
        let (front, rest) = bytes.split_at_mut(HEADER_BYTES - SALT_BYTES);
        rest.copy_from_slice(salt);
        front[..8].copy_from_slice(&MAGIC);
        front[8..12].copy_from_slice(&VERSION.to_le_bytes());
        front[12..].copy_from_slice(&u32::try_from(CHUNK_BYTES).unwrap_or(0).to_le_bytes());
        Self(bytes)
    }

    /// The header that was read, if this release could have written it.
    fn check(self) -> Result<Self, SealedError> {
        let (salt, foreign) = (self.salt(), |what| Err(SealedError::Foreign { what }));
        let (is, should_be) = (&self.0, Self::new(&salt).0);
        if is[..8] != should_be[..8] {
            return foreign("it begins otherwise");
        }
        if is[8..12] != should_be[8..12] {
            return foreign("it has another version");
        }
        if is[12..16] != should_be[12..16] {
            return foreign("it has chunks of another size");
        }
        Ok(self)
    }

    fn salt(&self) -> [u8; SALT_BYTES] {
        let mut salt = [0; SALT_BYTES];
        salt.copy_from_slice(&self.0[HEADER_BYTES - SALT_BYTES..]);
        salt
    }
}

/// Encrypts or decrypts the chunks of one stream, each in its turn.
struct ChunkCipher {
    key: LessSafeKey,
    header: Header,
    /// The number of the next chunk. It goes on whatever becomes of a chunk: no nonce is ever used twice.
    next: u64,
}

impl fmt::Debug for ChunkCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkCipher").field("next", &self.next).finish_non_exhaustive()
    }
}

impl ChunkCipher {
    fn new(key: &SealKey, header: Header, context: &[u8]) -> io::Result<Self> {
        let derived = key.derive(PURPOSE, &header.salt(), context);
        // Only a key of another length is refused.
        let unbound = UnboundKey::new(&AES_256_GCM, derived.bytes()).map_err(io::Error::other)?;
        Ok(Self { key: LessSafeKey::new(unbound), header, next: 0 })
    }

    /// Encrypts a chunk in its place.
    fn seal(&mut self, head: u32, content: &mut [u8]) -> Result<Tag, Unspecified> {
        let (nonce, along) = self.turn(head);
        self.key.seal_in_place_separate_tag(nonce, along, content)
    }

    /// Decrypts a chunk in its place, behind which its tag is.
    fn open<'a>(&mut self, head: u32, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Unspecified> {
        let (nonce, along) = self.turn(head);
        self.key.open_in_place(nonce, along, sealed)
    }

    fn turn(&mut self, head: u32) -> (Nonce, Aad<[u8; HEADER_BYTES + HEAD_BYTES]>) {
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&self.next.to_le_bytes());
        nonce[NONCE_BYTES - 1] = u8::from(head & LAST != 0);
        self.next += 1;
        let mut along = [0; HEADER_BYTES + HEAD_BYTES];
        along[..HEADER_BYTES].copy_from_slice(&self.header.0);
        along[HEADER_BYTES..].copy_from_slice(&head.to_le_bytes());
        (Nonce::assume_unique_for_key(nonce), Aad::from(along))
    }
}
