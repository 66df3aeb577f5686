//! Reads an archive from its beginning to its end, in constant memory, and believes nothing of it.
//!
//! Whatever the bytes are, reading ends: with the end of the archive or with an error, after no more than the disk's size and a
//! little have come out of the decompression. What was given out before an error is worth nothing.

use std::io::{self, BufReader, Read};

use sha2::{Digest as _, Sha256};

use super::{
    ArchiveError, BLOCK_BYTES, DIGEST_BYTES, DIGEST_FRAME, FORMAT_VERSION, HEADER_BYTES, HEADER_FRAME,
    MANIFEST_BYTES, NAME, RUN_BYTES, WINDOW_LOG, manifest::Manifest,
};

const BUFFER_BYTES: usize = 256 << 10;

/// An archive that is being read.
pub(super) struct ArchiveReader<R: Read> {
    frame: zstd::stream::read::Decoder<'static, BufReader<Hashing<R>>>,
    manifest: Manifest,
    piece: Vec<u8>,
    /// Where the last run ended.
    end: u64,
    runs: u64,
    data_bytes: u64,
}

/// All of an archive was read, and it is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Whole {
    /// SHA-256 of all but itself.
    pub(super) digest: [u8; 32],
    /// How much of the disk is not zero.
    pub(super) data_bytes: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the beginning of a file of that length.
    pub(super) fn begin(input: R, length_bytes: u64) -> Result<Self, ArchiveError> {
        let body_bytes =
            length_bytes.checked_sub(DIGEST_BYTES as u64).filter(|body| *body >= HEADER_BYTES as u64);
        let input = input.take(body_bytes.unwrap_or(length_bytes));
        let input = Hashing { input, hash: Sha256::new(), input_bytes: 0 };
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let mut header = [0; HEADER_BYTES];
        let found = read_up_to(&mut input, &mut header).map_err(ArchiveError::Read)?;
        check_header(&header, found)?;
        if body_bytes.is_none() {
            return Err(damaged("it ends in its header"));
        }
        let mut frame = zstd::stream::read::Decoder::with_buffer(input)
            .map_err(ArchiveError::Compression)?
            .single_frame();
        frame.window_log_max(WINDOW_LOG).map_err(ArchiveError::Compression)?;
        let length = number32(&mut frame)?;
        if length > MANIFEST_BYTES {
            return Err(damaged("its manifest is too long"));
        }
        let mut piece = vec![0; length as usize];
        exactly(&mut frame, &mut piece)?;
        let manifest: Manifest = serde_json::from_slice(&piece).map_err(ArchiveError::Manifest)?;
        manifest.check()?;
        Ok(Self { frame, manifest, piece, end: 0, runs: 0, data_bytes: 0 })
    }

    /// What it says of its workspace.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the file so far; a few may wait for their turn.
    pub(super) fn file_bytes(&self) -> u64 {
        self.frame.get_ref().get_ref().input_bytes
    }

    /// The next run, never empty, within the disk and behind the last; none: there was the last.
    pub(super) fn next_run(&mut self) -> Result<Option<(u64, &[u8])>, ArchiveError> {
        let length = number32(&mut self.frame)?;
        if length == 0 {
            return Ok(None);
        }
        let offset = number64(&mut self.frame)?;
        let (block, longest) = (u64::from(BLOCK_BYTES), u64::from(RUN_BYTES));
        let bytes = u64::from(length);
        let end = offset.checked_add(bytes).filter(|end| *end <= self.manifest.disk_bytes);
        let (Some(end), true) = (end, offset >= self.end) else {
            return Err(damaged("a part of the disk is not in its place"));
        };
        let is_of_blocks = offset.is_multiple_of(block) && bytes.is_multiple_of(block);
        if !is_of_blocks || offset / longest != (end - 1) / longest {
            return Err(damaged("a part of the disk is cut wrongly"));
        }
        self.piece.resize(length as usize, 0);
        exactly(&mut self.frame, &mut self.piece)?;
        if self.piece.chunks(BLOCK_BYTES as usize).any(|block| block.iter().all(|byte| *byte == 0)) {
            return Err(damaged("it stores zeros"));
        }
        self.end = end;
        self.runs += 1;
        self.data_bytes += bytes;
        Ok(Some((offset, &self.piece)))
    }

    /// Reads the end. Called after the last run.
    pub(super) fn finish(mut self) -> Result<Whole, ArchiveError> {
        let counted = (self.runs, self.data_bytes);
        if (number64(&mut self.frame)?, number64(&mut self.frame)?) != counted {
            return Err(damaged("parts of the disk are missing"));
        }
        // That is also where the checksum of the frame is looked at.
        if self.frame.read(&mut [0]).map_err(ArchiveError::Compression)? != 0 {
            return Err(damaged("there is something behind its end"));
        }
        let mut input = self.frame.finish();
        let mut frame = [0; DIGEST_FRAME.len()];
        let found = read_up_to(&mut input, &mut frame).map_err(ArchiveError::Read)?;
        if found != frame.len() || frame != DIGEST_FRAME {
            return Err(damaged("its digest is missing"));
        }
        if read_up_to(&mut input, &mut [0]).map_err(ArchiveError::Read)? != 0 {
            return Err(damaged("there is something behind its end"));
        }
        let Hashing { input, hash, .. } = input.into_inner();
        let mut told = [0; DIGEST_BYTES];
        let found = read_up_to(&mut input.into_inner(), &mut told).map_err(ArchiveError::Read)?;
        let digest: [u8; 32] = hash.finalize().into();
        if found != told.len() || digest != told {
            return Err(damaged("its digest is another"));
        }
        Ok(Whole { digest, data_bytes: self.data_bytes })
    }
}

fn check_header(header: &[u8; HEADER_BYTES], found: usize) -> Result<(), ArchiveError> {
    let (magic, version) = header.split_at(header.len() - 4);
    let expected = [HEADER_FRAME.as_slice(), NAME.as_slice()].concat();
    if found < magic.len() || magic != expected {
        return Err(ArchiveError::Foreign);
    }
    match version.try_into().map(u32::from_le_bytes) {
        Ok(FORMAT_VERSION) if found == header.len() => Ok(()),
        Ok(version) if found == header.len() && version > FORMAT_VERSION => {
            Err(ArchiveError::Newer { found: version })
        }
        _ => Err(damaged("its header is not whole")),
    }
}

fn damaged(what: &'static str) -> ArchiveError {
    ArchiveError::Damaged { what }
}

fn number32(input: &mut impl Read) -> Result<u32, ArchiveError> {
    let mut bytes = [0; 4];
    exactly(input, &mut bytes).map(|()| u32::from_le_bytes(bytes))
}

fn number64(input: &mut impl Read) -> Result<u64, ArchiveError> {
    let mut bytes = [0; 8];
    exactly(input, &mut bytes).map(|()| u64::from_le_bytes(bytes))
}

/// Of what is compressed.
fn exactly(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), ArchiveError> {
    input.read_exact(bytes).map_err(|error| match error.raw_os_error() {
        Some(_) => ArchiveError::Read(error),
        None => ArchiveError::Compression(error),
    })
}

fn read_up_to(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut found = 0;
    while found < bytes.len() {
        match input.read(&mut bytes[found..]) {
            Ok(0) => break,
            Ok(more) => found += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Takes the digest of what passes.
struct Hashing<R> {
    input: io::Take<R>,
    hash: Sha256,
    input_bytes: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.hash.update(&bytes[..read]);
        self.input_bytes += read as u64;
        Ok(read)
    }
}
