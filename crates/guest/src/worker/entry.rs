//! What the host is told of a file: [`Entry`] from what the system says.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use pyro_protocol::work::{Entry, EntryKind};
use rustix::fs::{FileType, Stat, readlinkat};
use sha2::{Digest as _, Sha256};

/// Bytes read at a time for a digest.
const DIGEST_PIECE_BYTES: usize = 64 << 10;

/// What the kernel calls it, as the host knows it.
pub(crate) fn kind_of(kind: FileType) -> EntryKind {
    match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Special,
    }
}

/// For messages: what it is, with an article.
pub(crate) fn word_for(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "an unknown thing",
    }
}

/// What a status says the file is.
pub(crate) fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The entry of anything but a symbolic link, whose target would be missing.
pub(crate) fn entry(path: &[u8], stat: &Stat) -> Entry {
    let kind = kind_of(type_of(stat));
    // Of a link it is the length of its target; what the kernel says of others depends on the file system.
    let has_size = matches!(kind, EntryKind::File | EntryKind::Symlink);
    let size_bytes = if has_size { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Entry {
        path: path.to_vec(),
        kind: kind.into(),
        size_bytes,
        mode: stat.st_mode & 0o7777,
        modified_ns: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds),
        link_target: Vec::new(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        sha256: Vec::new(),
        stamp: Vec::new(),
    }
}

/// The entry of `name` in `directory`, a link with its target.
pub(crate) fn entry_at(
    path: &[u8],
    stat: &Stat,
    directory: BorrowedFd<'_>,
    name: &OsStr,
) -> rustix::io::Result<Entry> {
    let mut entry = entry(path, stat);
    if entry.kind() == EntryKind::Symlink {
        entry.link_target = readlinkat(directory, name, Vec::new())?.into_bytes();
    }
    Ok(entry)
}

/// A file's stamp: which inode, and when that changed last. Nobody sets that time but the kernel. An overlay gives the inode of
/// the file below, which is the same in each copy of the disk.
pub(crate) fn stamp(stat: &Stat) -> Vec<u8> {
    [stat.st_ino.to_le_bytes(), stat.st_ctime.to_le_bytes(), stat.st_ctime_nsec.to_le_bytes()].concat()
}

/// The SHA-256 of all that comes.
pub(crate) fn sha256(mut source: impl Read) -> io::Result<Vec<u8>> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; DIGEST_PIECE_BYTES];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(digest.finalize().to_vec()),
            Ok(count) => digest.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
