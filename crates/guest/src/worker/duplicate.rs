//! One file or link once more: content with its holes, mode, owner, times.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown, fstat,
    futimens, openat, readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::entry::type_of;

/// Where something is: an open directory and a name in it.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    /// The directory.
    pub(crate) directory: BorrowedFd<'a>,
    /// One component.
    pub(crate) name: &'a OsStr,
}

/// Copies what is at `from`, of which `stat` says that it is a file or a link, to a name that nothing has. Returns the
/// bytes of its content, 0 for a link.
pub(crate) fn leaf(from: At<'_>, to: At<'_>, stat: &Stat) -> io::Result<u64> {
    if type_of(stat) == FileType::Symlink {
        let target = readlinkat(from.directory, from.name, Vec::new())?;
        symlinkat(&target, to.directory, to.name)?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        let owned = chownat(to.directory, to.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
        owned.or_else(tolerate_not_permitted)?;
        utimensat(to.directory, to.name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
        return Ok(0);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut source = File::from(openat(from.directory, from.name, flags, Mode::empty())?);
    let stat = fstat(&source)?;
    if type_of(&stat) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut copy = File::from(openat(to.directory, to.name, flags, Mode::RUSR | Mode::WUSR)?);
    let content_bytes = content(&mut source, &mut copy, &stat)?;
    attributes(copy.as_fd(), &stat)?;
    Ok(content_bytes)
}

/// Gives an open file or directory the owner, mode and times of another. Who may not give files away keeps them.
pub(crate) fn attributes(copy: BorrowedFd<'_>, stat: &Stat) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchown(copy, Some(uid), Some(gid)).or_else(tolerate_not_permitted)?;
    fchmod(copy, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    futimens(copy, &times(stat))
}

fn tolerate_not_permitted(error: Errno) -> rustix::io::Result<()> {
    if error == Errno::PERM { Ok(()) } else { Err(error) }
}

fn times(stat: &Stat) -> Timestamps {
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: nanoseconds(stat.st_atime_nsec) },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: nanoseconds(stat.st_mtime_nsec) },
    }
}

/// Copies in the kernel, and of a file with holes only what is between them.
fn content(source: &mut File, copy: &mut File, stat: &Stat) -> io::Result<u64> {
    let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let has_holes = stat.st_blocks.saturating_mul(512) < stat.st_size;
    if !has_holes {
        return io::copy(&mut source.take(size_bytes), copy);
    }
    let mut offset = 0;
    while offset < size_bytes {
        let start = match rustix::fs::seek(&*source, rustix::fs::SeekFrom::Data(offset)) {
            Ok(start) => start,
            // Nothing but a hole.
            Err(Errno::NXIO) => break,
            // The file system does not know of holes.
            Err(_) => offset,
        };
        let hole = rustix::fs::seek(&*source, rustix::fs::SeekFrom::Hole(start)).unwrap_or(size_bytes);
        let end = hole.min(size_bytes);
        if end <= start {
            break;
        }
        source.seek(SeekFrom::Start(start))?;
        copy.seek(SeekFrom::Start(start))?;
        if io::copy(&mut Read::take(&mut *source, end - start), copy)? < end - start {
            break;
        }
        offset = end;
    }
    copy.set_len(size_bytes)?;
    Ok(size_bytes)
}
