//! Removal of a whole subtree without following links and without recursion, so depth costs neither stack nor
//! descriptors: only the directory at hand is open, and the way up is `..` of a directory we hold, checked by identity.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, fchmod, fstat, openat, unlinkat},
    io::Errno,
};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `name` in `parent` with everything below; nothing there is fine.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    if remove_if_leaf(parent, name)? {
        return Ok(());
    }
    let mut directory = enter(parent, name)?;
    // Names of the directories between `parent` and `directory`, and who they are.
    let mut above: Vec<(OsString, u64, u64)> = Vec::new();
    loop {
        match first_directory(&directory)? {
            Some(child) => {
                let stat = fstat(&directory)?;
                let entered = enter_fd(&directory, &child)?;
                above.push((child, stat.st_dev, stat.st_ino));
                directory = entered;
            }
            None => {
                let Some((child, device, inode)) = above.pop() else { break };
                let up = openat(&directory, "..", DIRECTORY, Mode::empty())?;
                let stat = fstat(&up)?;
                if (stat.st_dev, stat.st_ino) != (device, inode) {
                    return Err(io::Error::other("a directory was moved away while it was being removed"));
                }
                directory = up;
                unlinkat(&directory, &child, AtFlags::REMOVEDIR)?;
            }
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(Into::into)
}

/// Removes everything in the directory that is no directory, and names one that is, if there is one with contents.
fn first_directory(directory: &OwnedFd) -> io::Result<Option<OsString>> {
    for entry in Dir::read_from(directory)? {
        let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
        if name != "." && name != ".." && !remove_if_leaf(std::os::fd::AsFd::as_fd(directory), &name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether it is gone: anything but a directory with contents.
fn remove_if_leaf(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // Linux says EISDIR, POSIX EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn enter_fd(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    enter(std::os::fd::AsFd::as_fd(parent), name)
}

fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let directory = match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Our own directory without read permission.
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, DIRECTORY, Mode::empty())?
        }
        directory => directory?,
    };
    let mode = fstat(&directory)?.st_mode;
    if mode & 0o700 != 0o700 {
        // Where that is not allowed, the removal says so.
        let _writable = fchmod(&directory, Mode::from_raw_mode(mode & 0o7777 | 0o700));
    }
    Ok(directory)
}
