//! [`SealedReader`]: the content of what was sealed.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
};

use zstd::bulk::Decompressor;

use super::{
    CHUNK_BYTES, COMPRESSED, ChunkCipher, HEAD_BYTES, HEADER_BYTES, Header, LAST, SealedError, TAG_BYTES,
};
use crate::seal_key::SealKey;

/// Reads what was sealed. All bytes that it gives are right and in their places, but whether they are all is only known at the end:
/// bytes from before a damage may have been given when it is found. After an error it says nothing but errors.
///
/// As a [`Read`] its errors have a [`SealedError`] within.
pub(crate) struct SealedReader<R> {
    source: R,
    cipher: ChunkCipher,
    decompressor: Decompressor<'static>,
    /// A chunk without its head.
    sealed: Vec<u8>,
    content: Vec<u8>,
    /// The part of the content that was not given yet.
    left: Range<usize>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// More chunks follow.
    Open,
    /// The last chunk was read, and nothing is behind it.
    Ended,
    /// An error was told, or is being told.
    Broken,
}

impl<R> fmt::Debug for SealedReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedReader")
            .field("cipher", &self.cipher)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<R: Read> SealedReader<R> {
    /// Begins to read what was sealed with this key and for this context.
    pub(crate) fn begin(mut source: R, key: &SealKey, context: &[u8]) -> Result<Self, SealedError> {
        let mut header = [0; HEADER_BYTES];
        read_exact(&mut source, &mut header)?;
        let header = Header(header).check()?;
        let cipher = ChunkCipher::new(key, header, context).map_err(SealedError::Read)?;
        Ok(Self {
            source,
            cipher,
            decompressor: Decompressor::new().map_err(SealedError::Read)?,
            sealed: vec![0; CHUNK_BYTES + TAG_BYTES],
            content: vec![0; CHUNK_BYTES],
            left: 0..0,
            state: State::Open,
        })
    }

    /// Content that was not given yet; none at the end.
    fn next_content(&mut self) -> Result<&[u8], SealedError> {
        while self.left.is_empty() && self.state != State::Ended {
            if self.state == State::Broken {
                return Err(SealedError::Damaged { what: "reading it failed before" });
            }
            // Until it went well.
            self.state = State::Broken;
            self.state = self.read_chunk()?;
        }
        Ok(self.content.get(self.left.clone()).unwrap_or_default())
    }

    fn read_chunk(&mut self) -> Result<State, SealedError> {
        let damaged = |what| SealedError::Damaged { what };
        let mut head = [0; HEAD_BYTES];
        read_exact(&mut self.source, &mut head)?;
        let head = u32::from_le_bytes(head);
        let length = usize::try_from(head & !(LAST | COMPRESSED)).unwrap_or(usize::MAX);
        if length > CHUNK_BYTES {
            return Err(damaged("a chunk is longer than chunks are"));
        }
        let sealed = self.sealed.get_mut(..length + TAG_BYTES).unwrap_or_default();
        read_exact(&mut self.source, sealed)?;
        let opened = self.cipher.open(head, sealed).map_err(|_| damaged("a chunk is not what was sealed"))?;
        let count = if head & COMPRESSED == 0 {
            self.content[..length].copy_from_slice(opened);
            length
        } else {
            let decompressed = self.decompressor.decompress_to_buffer(opened, self.content.as_mut_slice());
            decompressed.map_err(|_| damaged("a chunk cannot be decompressed"))?
        };
        let state = if head & LAST == 0 { State::Open } else { self.end()? };
        self.left = 0..count;
        Ok(state)
    }

    /// Nothing may follow.
    fn end(&mut self) -> Result<State, SealedError> {
        match read_some(&mut self.source, &mut [0])? {
            0 => Ok(State::Ended),
            _ => Err(SealedError::Damaged { what: "something is behind its end" }),
        }
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let content = self.next_content()?;
        let count = content.len().min(bytes.len());
        bytes[..count].copy_from_slice(&content[..count]);
        self.left.start += count;
        Ok(count)
    }
}

fn read_exact(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), SealedError> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SealedError::Damaged { what: "it ends early" },
        _ => SealedError::Read(error),
    })
}

fn read_some(source: &mut impl Read, bytes: &mut [u8]) -> Result<usize, SealedError> {
    loop {
        match source.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map_err(SealedError::Read),
        }
    }
}
