//! `/workspace`: an overlay of what the workspace was seeded with and what was changed since, both on the writable
//! disk, so that a comparison has to look only at what was changed. This module knows the names on the disk and how
//! they are joined; beside it only `crates/disk/src/root.rs` does, which reads a stopped disk.
//!
//! ```text
//! workspace/seed    what the workspace began with; not changed after it was mounted
//! workspace/upper   what was changed since
//! workspace/work    the kernel's own
//! workspace/state   what the file worker remembers; `seeded` says that the seed is whole
//! ```
//!
//! # States
//!
//! *Unseeded*: `/workspace` is a plain directory of the root. *Seeded*: the marker is on the disk; every boot mounts the
//! overlay, and a machine that was not booted since has it mounted by the one who seeded it.
//!
//! Everything is found from the open root directory of the disk: its mount point is out of sight.

use std::fmt::Display;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

/// Where it is mounted.
pub const WORKSPACE: &str = "/workspace";
/// On the disk: what the workspace began with.
pub const SEED: &str = "workspace/seed";
/// On the disk: what was changed since, in the kernel's notation (whiteouts, `trusted.overlay.*`).
pub const UPPER: &str = "workspace/upper";
/// On the disk: what the file worker remembers.
pub const STATE: &str = "workspace/state";
/// On the disk: there when the seed is whole.
pub const SEEDED: &str = "workspace/state/seeded";

/// On the disk: the kernel's list of seeded files with several names that were changed; missing while there are none.
pub const INDEX: &str = "workspace/work/index";

/// On the disk: the kernel's own.
pub const WORK: &str = "workspace/work";

/// What the names of the attributes begin with in which an overlay keeps its notes. Each kind of mount believes one of
/// them, and lets programs in the workspace use the other for whatever they like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OverlayAttributes {
    /// `trusted.overlay.`, as in a machine: only the kernel and root outside of the overlay write them.
    Trusted,
    /// `user.overlay.`, of a mount with the option `userxattr`, which ordinary users may make.
    User,
}

impl OverlayAttributes {
    /// The whole name of an attribute.
    pub(crate) fn named(self, attribute: &str) -> String {
        let prefix = match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        };
        format!("{prefix}{attribute}")
    }
}

/// Directory renames and hard links of the seed behave as on any file system; a change of an owner leaves no data
/// behind in the seed, where nobody who looks at `upper` would find it.
pub(crate) const OVERLAY_OPTIONS: &str = "redirect_dir=on,index=on,metacopy=off";

/// Makes the directories that are missing. `disk` is the root directory of the writable disk, here and below.
///
/// # Errors
/// The kernel's.
pub fn make_directories(disk: BorrowedFd<'_>) -> io::Result<()> {
    make_directory(disk, "workspace", 0o700)?;
    // The modes of `seed` and `upper` show: that of `upper` is the mode of `/workspace`.
    for (directory, mode) in [(SEED, 0o755), (UPPER, 0o755), (WORK, 0o700), (STATE, 0o700)] {
        make_directory(disk, directory, mode)?;
    }
    Ok(())
}

fn make_directory(disk: BorrowedFd<'_>, path: &str, mode: u32) -> io::Result<()> {
    match rustix::fs::mkdirat(disk, path, Mode::from_raw_mode(mode)) {
        // Whatever the mask of new files is.
        Ok(()) => Ok(rustix::fs::chmodat(disk, path, Mode::from_raw_mode(mode), AtFlags::empty())?),
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the seed is whole.
///
/// # Errors
/// The kernel's; a missing marker is none.
pub fn is_seeded(disk: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::statat(disk, SEEDED, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Says that the seed is whole, and makes it durable with what the seed holds. Comes after all of that.
///
/// A machine that loses its power on the way may have the marker and not all of the seed. Nobody works in it then: a creation
/// that did not come to its end is undone with its disk.
///
/// # Errors
/// The kernel's.
pub fn mark_seeded(disk: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(disk, SEEDED, flags, Mode::RUSR)?;
    Ok(rustix::fs::syncfs(disk)?)
}

/// Mounts the overlay on [`WORKSPACE`]. The seed must not be changed any more from then on.
///
/// # Errors
/// The kernel's: `EBUSY` when it is mounted already, `ENOENT` when `/workspace` or a directory on the disk is missing.
pub fn mount(disk: BorrowedFd<'_>) -> io::Result<()> {
    mount_on(disk, Path::new(WORKSPACE))
}

/// The same on another directory.
///
/// # Errors
/// As [`mount`].
pub fn mount_on(disk: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let layers = std::ffi::CString::new(layers(format_args!("/proc/self/fd/{}", disk.as_raw_fd())))?;
    Ok(rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::empty(), &*layers)?)
}

fn layers(disk: impl Display) -> String {
    format!("lowerdir={disk}/{SEED},upperdir={disk}/{UPPER},workdir={disk}/{WORK},{OVERLAY_OPTIONS}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_layout_is_made_once_and_modes_that_users_change_stay() {
        let directory = tempfile::tempdir().unwrap();
        let disk = std::fs::File::open(directory.path()).unwrap();
        make_directories(disk.as_fd()).unwrap();
        let upper = directory.path().join(UPPER);
        assert_eq!(std::fs::metadata(&upper).unwrap().permissions().mode() & 0o7777, 0o755);
        std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(0o1777)).unwrap();
        make_directories(disk.as_fd()).unwrap();
        assert_eq!(std::fs::metadata(&upper).unwrap().permissions().mode() & 0o7777, 0o1777);
    }

    #[test]
    fn a_seed_is_whole_once_it_is_marked() {
        let directory = tempfile::tempdir().unwrap();
        let disk = std::fs::File::open(directory.path()).unwrap();
        assert!(!is_seeded(disk.as_fd()).unwrap(), "no directories yet");
        make_directories(disk.as_fd()).unwrap();
        assert!(!is_seeded(disk.as_fd()).unwrap());
        mark_seeded(disk.as_fd()).unwrap();
        assert!(is_seeded(disk.as_fd()).unwrap());
    }
}
