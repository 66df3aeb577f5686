//! [`SealedWriter`]: seals what is written to it.

use std::{
    fmt,
    io::{self, Write},
};

use zstd::bulk::Compressor;

use super::{
    CHUNK_BYTES, COMPRESSED, ChunkCipher, HEAD_BYTES, Header, LAST, SALT_BYTES, SealedError, TAG_BYTES,
};
use crate::{entropy, seal_key::SealKey};

/// Of zstd's levels the fastest that is worth it: memory is kept while somebody waits.
const LEVEL: i32 = 1;

/// Seals what is written to it. Without [`SealedWriter::finish`] it is damaged to every reader. Flushing it makes no chunk of
/// what does not fill one.
pub(crate) struct SealedWriter<W> {
    out: W,
    cipher: ChunkCipher,
    compressor: Compressor<'static>,
    /// Content that is not sealed yet: whether it is the last is known when more comes.
    content: Vec<u8>,
    /// A chunk as it is written: head, ciphertext, tag.
    chunk: Vec<u8>,
}

impl<W> fmt::Debug for SealedWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedWriter").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

impl<W: Write> SealedWriter<W> {
    /// Begins a stream that is only read with this key and as what `context` says.
    pub(crate) fn begin(mut out: W, key: &SealKey, context: &[u8]) -> Result<Self, SealedError> {
        let begun = || {
            let mut salt = [0; SALT_BYTES];
            entropy::fill(&mut salt)?;
            let header = Header::new(&salt);
            out.write_all(&header.0)?;
            Ok(Self {
                out,
                cipher: ChunkCipher::new(key, header, context)?,
                compressor: Compressor::new(LEVEL)?,
                content: Vec::with_capacity(CHUNK_BYTES),
                chunk: vec![0; HEAD_BYTES + CHUNK_BYTES + TAG_BYTES],
            })
        };
        begun().map_err(SealedError::Write)
    }

    /// Ends the stream; what it was written to comes back.
    pub(crate) fn finish(mut self) -> Result<W, SealedError> {
        self.write_chunk(LAST).and_then(|()| self.out.flush()).map_err(SealedError::Write)?;
        Ok(self.out)
    }

    /// Seals the content that has come together.
    fn write_chunk(&mut self, last: u32) -> io::Result<()> {
        let (head_place, rest) = self.chunk.split_at_mut(HEAD_BYTES);
        // As long as the content, it is not worth it; that there is no room is how it is told.
        let room = rest.get_mut(..self.content.len().saturating_sub(1)).unwrap_or_default();
        let (length, compressed) = match self.compressor.compress_to_buffer(&self.content, room) {
            Ok(length) => (length, COMPRESSED),
            Err(_) => (self.content.len(), 0),
        };
        if compressed == 0 {
            rest[..length].copy_from_slice(&self.content);
        }
        let head = u32::try_from(length).map_err(io::Error::other)? | compressed | last;
        head_place.copy_from_slice(&head.to_le_bytes());
        let (ciphertext, tag_place) = rest.split_at_mut(length);
        let tag = self.cipher.seal(head, ciphertext).map_err(io::Error::other)?;
        tag_place[..TAG_BYTES].copy_from_slice(tag.as_ref());
        self.out.write_all(&self.chunk[..HEAD_BYTES + length + TAG_BYTES])?;
        self.content.clear();
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.content.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.write_chunk(0)?;
        }
        let count = bytes.len().min(CHUNK_BYTES - self.content.len());
        self.content.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
