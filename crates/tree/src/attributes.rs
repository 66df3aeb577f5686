//! What a file has besides its name and contents, and what kind of file it is.

use rustix::fs::{FileType, Stat, Timespec};

/// A point in time as file systems keep it: `seconds` since 1970 (negative before), and `nanoseconds` after that second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Whole seconds since 1970-01-01 00:00 UTC, rounded down.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Time {
    pub(crate) fn timespec(self) -> Timespec {
        Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() }
    }
}

/// Mode, owner and time of last change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Permission bits with set-id and sticky bits: 12 bits.
    pub mode: u32,
    /// Owner by number.
    pub uid: u32,
    /// Group by number.
    pub gid: u32,
    /// Last change of the contents.
    pub mtime: Time,
}

/// What a name in a tree stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character or block device.
    Device,
}

impl FileKind {
    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => Self::Device,
            // Linux has no others.
            FileType::RegularFile | FileType::Unknown => Self::File,
        }
    }

    /// For messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::File => "regular file",
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
        }
    }
}

/// What `stat` says of a file, a link not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Mode, owner, time.
    pub attributes: Attributes,
    /// Length of the contents (of the target, for a symbolic link).
    pub size_bytes: u64,
    /// The file system.
    pub device: u64,
    /// The file in that file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// Last change of anything about it, by the system's clock.
    pub ctime: Time,
}

impl Metadata {
    // The fields' widths differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "widths differ by architecture")]
    pub(crate) fn of(stat: &Stat) -> Self {
        let time = |seconds: i64, nanoseconds| Time {
            seconds,
            nanoseconds: u32::try_from(nanoseconds as u64).unwrap_or(0),
        };
        Self {
            kind: FileKind::of(FileType::from_raw_mode(stat.st_mode)),
            attributes: Attributes {
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
                mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec),
            },
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec),
        }
    }
}
