//! A place for a worker: a directory that stands for the disk, `/workspace`, and a mount namespace in which the one is
//! mounted over the other.
//!
//! Root gets the very overlay of a machine. An ordinary user gets a user namespace, in which the kernel keeps the
//! overlay's notes under `user.overlay.*`, copies renamed directories and keeps no index; what only the whole overlay does,
//! unit tests of the worker show with layers made by hand.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use pyro_guest::worker::Mount;
use pyro_guest::workspace_mount::{OverlayAttributes, SEED, UPPER, WORK, mount_on};
use rustix::fs::XattrFlags;
use rustix::mount::{MountFlags, UnmountFlags};

const INSIDE: &str = "PYRO_TEST_IN_NAMESPACE";

/// Runs `body` in a mount namespace: the test program is started again for this one test, `name` with its modules.
pub(crate) fn in_namespace(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let arguments: &[&str] =
        if is_allowed(&["--mount"]) { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let output = Command::new("unshare")
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        // A failure is told here once more, with this program's own.
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

fn is_allowed(arguments: &[&str]) -> bool {
    Command::new("unshare").args(arguments).arg("true").output().unwrap().status.success()
}

/// Mounts as a machine does, or as an ordinary user may.
pub(crate) fn mount() -> Mount {
    // In a user namespace nobody may.
    let file = tempfile::NamedTempFile::new().unwrap();
    if rustix::fs::setxattr(file.path(), "trusted.pyro", b"", XattrFlags::empty()).is_ok() {
        return Mount { mount: mount_on, attributes: OverlayAttributes::Trusted };
    }
    Mount { mount: mount_as_user, attributes: OverlayAttributes::User }
}

fn mount_as_user(disk: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let disk = format!("/proc/self/fd/{}", disk.as_raw_fd());
    let options = format!("lowerdir={disk}/{SEED},upperdir={disk}/{UPPER},workdir={disk}/{WORK},userxattr");
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount(c"overlay", target, c"overlay", MountFlags::empty(), &*options)?)
}

/// Leaves the workspace as it is: a plain directory.
pub(crate) fn no_mount() -> Mount {
    Mount { mount: |_disk, _target| Ok(()), attributes: OverlayAttributes::Trusted }
}

/// Directories for one worker; unmounted and gone when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(place.disk()).unwrap();
        fs::create_dir(place.workspace()).unwrap();
        place
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    /// Another directory beside them.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn seed(&self) -> PathBuf {
        self.disk().join(SEED)
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.disk().join(UPPER)
    }

    /// Whether a renamed directory is not copied and other names of a file show its new content.
    pub(crate) fn is_whole_overlay(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let workspace = self.workspace();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == workspace.to_str()).unwrap();
        line.contains("redirect_dir=on") && line.contains("index=on")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _not_mounted = rustix::mount::unmount(self.workspace(), UnmountFlags::DETACH);
    }
}
