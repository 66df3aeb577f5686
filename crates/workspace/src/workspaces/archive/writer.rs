//! Writes an archive from its beginning to its end, in constant memory.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::{
    ArchiveError, BLOCK_BYTES, DIGEST_FRAME, FORMAT_VERSION, HEADER_FRAME, MANIFEST_BYTES, NAME, RUN_BYTES,
    WINDOW_LOG, manifest::Manifest,
};

/// How hard it is tried: the library's own middle way between time and size.
const LEVEL: i32 = 3;

/// An archive that is being written. Without [`ArchiveWriter::finish`] it is none.
pub(super) struct ArchiveWriter<W: Write> {
    frame: zstd::stream::write::Encoder<'static, Hashing<W>>,
    runs: u64,
    data_bytes: u64,
}

/// An archive is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Finished {
    /// Length of the file.
    pub(super) length_bytes: u64,
    /// Of them that are not zero on the disk.
    pub(super) data_bytes: u64,
    /// SHA-256 of all but itself.
    pub(super) digest: [u8; 32],
}

/// The manifest as it is written.
pub(super) fn encode(manifest: &Manifest) -> Result<Vec<u8>, ArchiveError> {
    let json = serde_json::to_vec(manifest).map_err(ArchiveError::Manifest)?;
    match u32::try_from(json.len()) {
        Ok(length) if length <= MANIFEST_BYTES => Ok(json),
        _ => Err(ArchiveError::TooLong { bytes: json.len() }),
    }
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins with an [encoded](encode) manifest.
    pub(super) fn begin(output: W, manifest: &[u8]) -> io::Result<Self> {
        let mut output = Hashing { output, hash: Sha256::new(), bytes: 0 };
        output.write_all(&HEADER_FRAME)?;
        output.write_all(NAME)?;
        output.write_all(&FORMAT_VERSION.to_le_bytes())?;
        let mut frame = zstd::stream::write::Encoder::new(output, LEVEL)?;
        frame.include_checksum(true)?;
        frame.window_log(WINDOW_LOG)?;
        let length = u32::try_from(manifest.len()).map_err(io::Error::other)?;
        frame.write_all(&length.to_le_bytes())?;
        frame.write_all(manifest)?;
        Ok(Self { frame, runs: 0, data_bytes: 0 })
    }

    /// The next run of the disk, behind the last.
    pub(super) fn run(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(bytes.len() <= RUN_BYTES as usize && offset.is_multiple_of(u64::from(BLOCK_BYTES)));
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.frame.write_all(&length.to_le_bytes())?;
        self.frame.write_all(&offset.to_le_bytes())?;
        self.frame.write_all(bytes)?;
        self.runs += 1;
        self.data_bytes += u64::from(length);
        Ok(())
    }

    /// Bytes of the disk so far.
    pub(super) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> io::Result<Finished> {
        self.frame.write_all(&0_u32.to_le_bytes())?;
        self.frame.write_all(&self.runs.to_le_bytes())?;
        self.frame.write_all(&self.data_bytes.to_le_bytes())?;
        let mut output = self.frame.finish()?;
        output.write_all(&DIGEST_FRAME)?;
        let Hashing { mut output, hash, bytes } = output;
        let digest: [u8; 32] = hash.finalize().into();
        output.write_all(&digest)?;
        output.flush()?;
        Ok(Finished { length_bytes: bytes + digest.len() as u64, data_bytes: self.data_bytes, digest })
    }
}

/// Takes the digest of what passes.
struct Hashing<W> {
    output: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
