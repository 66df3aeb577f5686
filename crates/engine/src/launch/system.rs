//! The few system calls that have no safe wrapper. Called only in the launcher, which has one thread.
#![expect(unsafe_code, reason = "fork, execveat, dup2, unshare and mount_setattr")]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub(super) enum Fork {
    Parent { child: u32 },
    Child,
}

/// Splits the launcher in two.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: the launcher has one thread, so no lock is held by another that the child would lack.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent { child: u32::try_from(child).unwrap_or(0) }),
    }
}

/// Enters new namespaces.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: namespaces only; CLONE_FILES, which could surprise owners of descriptors, is never among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Makes `target` a copy of `source` that survives an exec.
pub(super) fn duplicate_to(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: the caller owns the numbers it duplicates to: nothing in this process holds one of them as an
    // `OwnedFd` (they were moved above them before).
    match unsafe { libc::dup2(source.as_raw_fd(), target) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Duplicates to the lowest free number of `lowest` or more, closed on exec.
pub(super) fn duplicate_above(source: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer and touches no memory.
    match unsafe { libc::fcntl(source.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just made this number, so it has no other owner.
        number => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
    }
}

/// Closes every descriptor from `first` on at the next exec.
pub(super) fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: changes a flag of descriptors, touches no memory.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Adds attributes to a mount, or to all mounts at and below it.
pub(super) fn add_mount_attributes(path: &CStr, attributes: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `path` ends in NUL, `attributes` is a valid structure of the stated size, both live during the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The whole environment of a VMM. Left alone, each of its threads reserves 64 MiB of address space to allocate from, which is
/// limited and which it cannot do without.
const ENVIRONMENT: &CStr = c"MALLOC_ARENA_MAX=2";

/// Becomes the program held by `program`, with [`ENVIRONMENT`]. Returns only on failure.
pub(super) fn execute(program: RawFd, arguments: &[CString]) -> io::Error {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let environment: [*const libc::c_char; 2] = [ENVIRONMENT.as_ptr(), std::ptr::null()];
    // SAFETY: all pointers are to NUL-terminated strings and null-terminated arrays that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program,
            c"".as_ptr(),
            pointers.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}
