//! Archives: a stopped workspace in one file, which another host can load.
//!
//! ```text
//! skippable frame   "pyro archive", version of the format
//! zstd frame        length of the manifest, manifest (JSON)
//!                   for each run of data on the disk: length, offset, bytes
//!                   0, number of runs, their bytes together
//! skippable frame   SHA-256 of every byte of the file before it
//! ```
//!
//! - Numbers are little-endian: the version, lengths of a manifest and of runs have 4 bytes; offsets, the number of runs and the
//!   sum of their bytes have 8.
//! - It is what `zstd` understands: `zstd -t` checks it, `zstd -dc` shows the manifest. The digest is what
//!   `head -c -32 FILE | sha256sum` prints. So whoever has no pyro can look into it and check it.
//! - The [manifest](manifest::Manifest) says what the workspace is. It has no path of a host, and no argument of a kernel: what
//!   boots the disk is the loader's own.
//! - The disk is one, whatever layers it had. Its runs are ascending, in whole blocks of 4 KiB of which none is zero, and none
//!   crosses a multiple of 1 MiB: the same disk gives the same bytes. Zeros are not stored.
//! - Neither memory, nor history, nor secrets are in it.
//!
//! The digest protects from accidents and from hands that do not know better: nobody has signed it, and everything in an archive
//! may be hostile. [`reader`] bounds what is believed; [`load`] reads all of it before anything is written, and what is written
//! then is compared with what was read before. What a hostile disk does in the machine that boots it is the guest's affair: it
//! is what any workspace may do.
//!
//! A change of the format is another version. A newer one is refused, never guessed at.

mod error;
mod load;
mod manifest;
mod reader;
mod save;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    error::ArchiveError,
    load::{LoadEvent, LoadIo, LoadRequest},
    save::{SaveRequest, Saved},
};

/// Version that this release writes and reads.
const FORMAT_VERSION: u32 = 1;
/// What every archive begins with; the version follows.
const NAME: &[u8; 12] = b"pyro archive";
/// Magic numbers of the skippable frames, and after each the length of its content.
const HEADER_FRAME: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 16, 0, 0, 0];
const DIGEST_FRAME: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];
/// Bytes before the zstd frame.
const HEADER_BYTES: usize = HEADER_FRAME.len() + NAME.len() + 4;
/// Length of the digest.
const DIGEST_BYTES: usize = 32;
/// Longest manifest. Its labels are all that can make it long.
const MANIFEST_BYTES: u32 = 4 << 20;
/// Longest run, and the multiple that none crosses.
const RUN_BYTES: u32 = 1 << 20;
/// Runs begin and end at multiples of it.
const BLOCK_BYTES: u32 = 4096;
/// Window of the compression, as a power of two. A reader refuses a larger one, so that no archive decides how much memory is
/// taken.
const WINDOW_LOG: u32 = 21;
