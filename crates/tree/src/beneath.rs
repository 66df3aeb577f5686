//! [`Root`]: a directory below which paths are resolved by the kernel so that they cannot leave it.
//!
//! Every call resolves its path with `openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)`, so neither `..`, nor an absolute
//! or climbing symbolic link, nor a rename that happens meanwhile leads out. What a call creates, removes, renames or
//! inspects is the last name itself, never what a link under that name points at. A `Root` follows links to directories
//! on the way as long as they stay inside; one made with [`Root::without_links`] refuses them too.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timestamps, Uid, chmodat, fchmod,
        fchown, fstat, fsync, futimens, linkat, mkdirat, openat, openat2, readlinkat, renameat_with, statat,
        symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use crate::{
    attributes::{FileKind, Metadata, Time},
    path::{BadPath, RelativePath},
};

/// Why something below a root could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path follows a symbolic link that leaves the tree.
    #[error("`{path}` leads out of the tree")]
    Escapes {
        /// As given.
        path: RelativePath,
    },
    /// The path passes through a symbolic link, or is one, where none is followed.
    #[error("`{path}` passes through a symbolic link")]
    ThroughLink {
        /// As given.
        path: RelativePath,
    },
    /// Another kind of file was needed.
    #[error("`{path}` is a {found}")]
    WrongKind {
        /// As given.
        path: RelativePath,
        /// What it is instead.
        found: &'static str,
    },
    /// The root cannot be removed, renamed or replaced through itself.
    #[error("{operation}: that is the whole tree")]
    IsRoot {
        /// What was to be done.
        operation: &'static str,
    },
    /// A name in the tree makes a path that is too long.
    #[error("below `{directory}`")]
    BadName {
        /// Where the name lies.
        directory: RelativePath,
        /// What is wrong with it.
        #[source]
        source: BadPath,
    },
    /// The kernel is older than Linux 5.6.
    #[error("this kernel has no openat2, which came with Linux 5.6")]
    NoOpenat2,
    /// Anything else.
    #[error("{operation} `{path}`")]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: RelativePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Outcome of a call on a [`Root`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The kind of I/O error, if it was one.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            _ => None,
        }
    }

    /// Whether the cause is that nothing has this name.
    pub fn is_not_found(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether the cause is that something has this name already.
    pub fn is_exists(&self) -> bool {
        self.io_kind() == Some(io::ErrorKind::AlreadyExists)
    }

    pub(crate) fn errno(operation: &'static str, path: &RelativePath) -> impl Fn(Errno) -> Self {
        move |errno| match errno {
            Errno::XDEV if operation == RESOLVE => Self::Escapes { path: path.clone() },
            Errno::LOOP => Self::ThroughLink { path: path.clone() },
            Errno::NOSYS if operation == RESOLVE => Self::NoOpenat2,
            errno => Self::Io { operation, path: path.clone(), source: errno.into() },
        }
    }
}

const RESOLVE: &str = "open";

/// A directory and everything below it.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    resolve: ResolveFlags,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// One component.
    pub name: Vec<u8>,
    /// What it is, if the file system says so with the name.
    pub kind: Option<FileKind>,
}

/// The directory in which a path's last name lies.
#[derive(Debug)]
pub enum Parent<'a> {
    /// The root itself.
    Root(BorrowedFd<'a>),
    /// One below.
    Opened(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(directory) => *directory,
            Self::Opened(directory) => directory.as_fd(),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Root {
    /// Opens the directory at `path`; links on the way to the root itself are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::from_directory(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Takes a directory that is open for reading.
    pub fn from_directory(directory: OwnedFd) -> Self {
        Self { directory, resolve: ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS }
    }

    /// The open directory itself.
    pub fn into_directory(self) -> OwnedFd {
        self.directory
    }

    /// The same tree once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { directory: self.directory.try_clone()?, resolve: self.resolve })
    }

    /// The same tree, but a path that passes through a symbolic link is refused, also if it stays inside.
    #[must_use]
    pub fn without_links(mut self) -> Self {
        self.resolve |= ResolveFlags::NO_SYMLINKS;
        self
    }

    /// The directory at `path` as a root of its own, from which nothing above can be reached.
    pub fn descend(&self, path: &RelativePath) -> Result<Self> {
        let directory = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { directory, resolve: self.resolve })
    }

    fn resolve(&self, path: &RelativePath, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        self.resolve_name(path.as_os_str(), flags, mode).map_err(Error::errno(RESOLVE, path))
    }

    /// Opens what is at `path`, which nobody checked: the kernel keeps it below the root. Closed when a program is executed.
    ///
    /// # Errors
    /// The kernel's, among them `EXDEV` where the path leads out.
    pub fn resolve_name(&self, path: &OsStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        loop {
            match openat2(&self.directory, path, flags | OFlags::CLOEXEC, mode, self.resolve) {
                // Something above was renamed while the kernel looked.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// The directory of a path's last name, and the name.
    pub(crate) fn parent<'a>(
        &'a self,
        operation: &'static str,
        path: &'a RelativePath,
    ) -> Result<(Parent<'a>, &'a OsStr)> {
        let (parent, name) = path.split().ok_or(Error::IsRoot { operation })?;
        let parent = if parent.is_empty() {
            Parent::Root(self.directory.as_fd())
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let opened = self.resolve_name(OsStr::from_bytes(parent), flags, Mode::empty());
            Parent::Opened(opened.map_err(|errno| match errno {
                // With O_DIRECTORY a link in last place is "not a directory" where links are not followed.
                Errno::NOTDIR if self.is_link(parent) => Error::ThroughLink { path: path.clone() },
                errno => Error::errno(RESOLVE, path)(errno),
            })?)
        };
        Ok((parent, OsStr::from_bytes(name)))
    }

    fn is_link(&self, path: &[u8]) -> bool {
        RelativePath::new(path)
            .ok()
            .and_then(|path| self.metadata(&path).ok())
            .is_some_and(|metadata| metadata.kind == FileKind::Symlink)
    }

    /// Opens a regular file for reading. A link in last place is followed while it stays inside.
    pub fn read(&self, path: &RelativePath) -> Result<File> {
        self.regular(path, OFlags::RDONLY)
    }

    /// Opens an existing regular file for reading and writing in place.
    pub fn write(&self, path: &RelativePath) -> Result<File> {
        self.regular(path, OFlags::RDWR)
    }

    fn regular(&self, path: &RelativePath, access: OFlags) -> Result<File> {
        // Without waiting, or a named pipe would hold us until somebody opens its other end.
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.resolve(path, flags, Mode::empty())?;
        let found = Metadata::of(&fstat(&file).map_err(Error::errno("inspect", path))?).kind;
        if found == FileKind::File {
            Ok(File::from(file))
        } else {
            Err(Error::WrongKind { path: path.clone(), found: found.word() })
        }
    }

    /// Creates a regular file that must not exist yet, open for writing. `mode` is subject to the umask.
    pub fn create(&self, path: &RelativePath, mode: u32) -> Result<File> {
        let (parent, name) = self.parent("create", path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::from_raw_mode(mode));
        file.map(File::from).map_err(Error::errno("create", path))
    }

    /// What is at `path`; a link in last place is not followed.
    pub fn metadata(&self, path: &RelativePath) -> Result<Metadata> {
        let stat = if path.is_root() {
            fstat(&self.directory)
        } else {
            let (parent, name) = self.parent("inspect", path)?;
            statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        stat.map(|stat| Metadata::of(&stat)).map_err(Error::errno("inspect", path))
    }

    /// Like [`Root::metadata`], but nothing there is an answer and not an error.
    pub fn find(&self, path: &RelativePath) -> Result<Option<Metadata>> {
        match self.metadata(path) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.is_not_found() || error.io_kind() == Some(io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The target of a symbolic link, as it was written.
    pub fn read_link(&self, path: &RelativePath) -> Result<Vec<u8>> {
        let (parent, name) = self.parent("read link", path)?;
        let target = readlinkat(parent, name, Vec::new()).map_err(Error::errno("read link", path))?;
        Ok(target.into_bytes())
    }

    /// Makes one directory that must not exist yet. `mode` is subject to the umask.
    pub fn make_directory(&self, path: &RelativePath, mode: u32) -> Result<()> {
        let (parent, name) = self.parent("make directory", path)?;
        mkdirat(parent, name, Mode::from_raw_mode(mode)).map_err(Error::errno("make directory", path))
    }

    /// Makes a directory and those above it, where they are missing.
    pub fn make_directories(&self, path: &RelativePath, mode: u32) -> Result<()> {
        if path.is_root() {
            return Ok(());
        }
        match self.make_directory(path, mode) {
            Err(error) if error.is_exists() => {
                // Through a link to a directory that stays inside is fine, anything else there is not.
                self.resolve(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(drop)
            }
            Err(error) if error.is_not_found() => {
                if let Some(parent) = path.parent() {
                    self.make_directories(&parent, mode)?;
                }
                self.make_directory(path, mode)
                    .or_else(|error| if error.is_exists() { Ok(()) } else { Err(error) })
            }
            result => result,
        }
    }

    /// Makes a symbolic link with any target.
    pub fn make_link(&self, path: &RelativePath, target: &[u8]) -> Result<()> {
        let (parent, name) = self.parent("make link", path)?;
        symlinkat(OsStr::from_bytes(target), parent, name).map_err(Error::errno("make link", path))
    }

    /// Gives what is at `existing` (not a directory, a link not followed) a second name.
    pub fn hard_link(&self, existing: &RelativePath, path: &RelativePath) -> Result<()> {
        let (from, old) = self.parent("link", existing)?;
        let (to, new) = self.parent("link", path)?;
        linkat(from, old, to, new, AtFlags::empty()).map_err(Error::errno("link", path))
    }

    /// Renames, replacing what is at `to` if that can be replaced by it.
    pub fn rename(&self, from: &RelativePath, to: &RelativePath) -> Result<()> {
        self.rename_with(from, to, RenameFlags::empty())
    }

    /// Renames to a name that must not exist.
    pub fn rename_new(&self, from: &RelativePath, to: &RelativePath) -> Result<()> {
        match self.rename_with(from, to, RenameFlags::NOREPLACE) {
            // Some file systems (NFS among them) cannot do it in one step.
            Err(Error::Io { source, .. }) if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                if self.find(to)?.is_some() {
                    return Err(Error::errno("rename to", to)(Errno::EXIST));
                }
                self.rename(from, to)
            }
            result => result,
        }
    }

    fn rename_with(&self, from: &RelativePath, to: &RelativePath, flags: RenameFlags) -> Result<()> {
        let (old_parent, old) = self.parent("rename", from)?;
        let (new_parent, new) = self.parent("rename", to)?;
        renameat_with(old_parent, old, new_parent, new, flags).map_err(|errno| match errno {
            Errno::EXIST => Error::errno("rename to", to)(errno),
            errno => Error::errno("rename", from)(errno),
        })
    }

    /// Removes a name that is not a directory's.
    pub fn unlink(&self, path: &RelativePath) -> Result<()> {
        let (parent, name) = self.parent("remove", path)?;
        unlinkat(parent, name, AtFlags::empty()).map_err(Error::errno("remove", path))
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, path: &RelativePath) -> Result<()> {
        let (parent, name) = self.parent("remove", path)?;
        unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(Error::errno("remove", path))
    }

    /// Removes what is at `path` with everything below; nothing there is fine. Directories are made writable on the way.
    pub fn remove_tree(&self, path: &RelativePath) -> Result<()> {
        let (parent, name) = match self.parent("remove", path) {
            Err(error) if error.is_not_found() => return Ok(()),
            parent => parent?,
        };
        crate::removal::remove_tree(parent.as_fd(), name).map_err(|source| Error::Io {
            operation: "remove",
            path: path.clone(),
            source,
        })
    }

    /// The names in a directory, in the order of their bytes.
    pub fn list(&self, path: &RelativePath) -> Result<Vec<Entry>> {
        let directory = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        list(directory.as_fd()).map_err(Error::errno("list", path))
    }

    /// Sets permission and set-id bits of a file or directory; not for links, which have none.
    pub fn set_mode(&self, path: &RelativePath, mode: u32) -> Result<()> {
        let file = self.handle(path)?;
        let mode = Mode::from_raw_mode(mode);
        // A handle that needs no permission on the file itself cannot be changed but through its name in /proc.
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        match fchmod(&file, mode) {
            Err(Errno::BADF) => chmodat(CWD, name, mode, AtFlags::empty()),
            done => done,
        }
        .map_err(Error::errno("set mode of", path))
    }

    /// Sets owner and group; of a link itself.
    pub fn set_owner(&self, path: &RelativePath, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        if path.is_root() {
            fchown(&self.directory, uid, gid)
        } else {
            let (parent, name) = self.parent("set owner of", path)?;
            rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        }
        .map_err(Error::errno("set owner of", path))
    }

    /// Sets the time of last change; of a link itself. The time of last access stays.
    pub fn set_mtime(&self, path: &RelativePath, mtime: Time) -> Result<()> {
        if path.is_root() {
            futimens(&self.directory, &only_mtime(mtime))
        } else {
            let (parent, name) = self.parent("set time of", path)?;
            utimensat(parent, name, &only_mtime(mtime), AtFlags::SYMLINK_NOFOLLOW)
        }
        .map_err(Error::errno("set time of", path))
    }

    /// Writes a directory's names to the disk.
    pub fn sync_directory(&self, path: &RelativePath) -> Result<()> {
        let directory = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        fsync(&directory).map_err(Error::errno("flush", path))
    }

    /// An open file for changing attributes; the last name must not be a link.
    fn handle(&self, path: &RelativePath) -> Result<OwnedFd> {
        if path.is_root() {
            return self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        }
        let (parent, name) = self.parent("open", path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = match openat(&parent, name, flags, Mode::empty()) {
            Err(Errno::ACCESS | Errno::NXIO) => {
                let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(&parent, name, handle, Mode::empty()).and_then(|handle| {
                    // Opened like that, a link is opened itself.
                    match Metadata::of(&fstat(&handle)?).kind {
                        FileKind::Symlink => Err(Errno::LOOP),
                        _ => Ok(handle),
                    }
                })
            }
            opened => opened,
        };
        opened.map_err(Error::errno("open", path))
    }
}

pub(crate) fn only_mtime(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: mtime.timespec(),
    }
}

/// The names in an open directory, in the order of their bytes.
pub(crate) fn list(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let kind = match entry.file_type() {
                rustix::fs::FileType::Unknown => None,
                kind => Some(FileKind::of(kind)),
            };
            entries.push(Entry { name: name.to_vec(), kind });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
