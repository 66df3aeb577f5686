//! The end of the machine: now, or at a deadline that needs no host.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::{RebootCommand, reboot};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::{kernel, plain_file};

/// When the machine powers itself off. Its clock is the kernel's boot time, which the host's setting of the
/// calendar clock does not move, and which counts a suspend.
#[derive(Debug)]
pub struct Deadline {
    timer: AsyncFd<OwnedFd>,
}

impl Deadline {
    /// None yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Self { timer: kernel::watch(timer)? })
    }

    /// Sets it to so much later than now, or to never.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, left: Option<Duration>) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A deadline beyond what the kernel can count is as good as none.
        let value = left.and_then(|left| Timespec::try_from(left).ok()).unwrap_or(never);
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: never, it_value: value },
        )?;
        Ok(())
    }

    /// Ready once it is reached.
    pub fn poll_reached(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Poll::Ready(Ok(mut readiness)) = self.timer.poll_read_ready(context) else {
                return Poll::Pending;
            };
            let mut expirations = [0u8; 8];
            match rustix::io::read(readiness.get_inner(), &mut expirations) {
                Ok(_) => return Poll::Ready(()),
                // Set anew since it became readable.
                Err(_) => readiness.clear_ready(),
            }
        }
    }
}

/// How long the disks may stand still at the end before they are clean. One that does not answer is no reason to live on;
/// one that is slow is.
const DISK_PATIENCE: Duration = Duration::from_secs(10);
const DISK_STATISTICS: &str = "/proc/diskstats";
const MOUNTS: &str = "/proc/self/mountinfo";
/// File systems of the kernel's own, with nothing to be written anywhere. Some of them are needed to the last.
const WITHOUT_A_DISK: &[&str] =
    &["cgroup2", "devpts", "devtmpfs", "mqueue", "proc", "securityfs", "sysfs", "tmpfs"];

/// Leaves the disk as clean as [`DISK_PATIENCE`] allows and powers the machine off; `disk` is the root directory of the
/// writable disk, if there is one yet. A machine that cannot is reset instead, which ends it as well where the host's
/// engine does not let machines reset. Does nothing to an ordinary program but end it.
pub fn off(disk: Option<BorrowedFd<'_>>) -> ! {
    if rustix::process::getpid().is_init() {
        let disk = disk.and_then(|disk| disk.try_clone_to_owned().ok());
        within(DISK_PATIENCE, move || leave_clean(disk.as_ref()));
        let _refused = reboot(RebootCommand::PowerOff);
        let _refused = reboot(RebootCommand::Restart);
    }
    std::process::abort()
}

/// Does something that may not come back, for as long as the disks are written to. A kernel that gives no thread any more is not trusted to come back from it.
fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let work = move || {
        work();
        let _nobody_waits = done.send(());
    };
    if thread::Builder::new().name("power-off".into()).spawn(work).is_ok() {
        let mut written = written_sectors(&plain_file::text(DISK_STATISTICS));
        while wait.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let now = written_sectors(&plain_file::text(DISK_STATISTICS));
            if written == now {
                break;
            }
            written = now;
        }
    }
}

/// What was written to all disks since the boot.
fn written_sectors(statistics: &str) -> u64 {
    let sectors = |line: &str| line.split_ascii_whitespace().nth(9)?.parse::<u64>().ok();
    statistics.lines().filter_map(sectors).sum()
}

/// Writes everything that is not written yet, unmounts what lies on the root, and makes an end of the disk's journal.
fn leave_clean(disk: Option<&OwnedFd>) {
    // The one that matters first: another may hang, such as one that a program of the machine's serves.
    if let Some(disk) = disk {
        let _refused = rustix::fs::syncfs(disk);
    }
    rustix::fs::sync();
    let mounts = plain_file::text(MOUNTS);
    // What was mounted last may lie on what was mounted before.
    for place in mounts.lines().rev().filter_map(place_to_unmount) {
        let _busy = unmount(place, UnmountFlags::NOFOLLOW);
    }
    let Some(disk) = disk else { return };
    // Its mount point is out of sight, and the root lies on it: it cannot be unmounted, but need not be written to.
    let place = format!("/proc/self/fd/{}", disk.as_raw_fd());
    if mount_remount(place, MountFlags::RDONLY | MountFlags::NOATIME, c"").is_err() {
        // Somebody still writes, one who cannot be killed.
        let _refused = kernel::freeze(disk);
    }
}

/// The mount point of a line of `mountinfo`, if it has something to lose and can be unmounted.
fn place_to_unmount(line: &str) -> Option<OsString> {
    let (mount, file_system) = line.split_once(" - ")?;
    let kind = file_system.split(' ').next()?;
    let place = mount.split(' ').nth(4)?;
    let matters = place != "/" && !WITHOUT_A_DISK.contains(&kind);
    matters.then(|| unescaped(place))
}

/// Blanks and the like are written as three octal digits behind a backslash.
fn unescaped(text: &str) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *byte == b'\\');
        bytes.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_something_to_lose_is_unmounted() {
        let place = |line| place_to_unmount(line).map(|place| place.into_string().unwrap());
        let loop_device = "61 24 7:0 / /mnt/a\\040b\\134c rw,relatime shared:3 - ext4 /dev/loop0 rw";
        assert_eq!(place(loop_device).unwrap(), "/mnt/a b\\c");
        assert_eq!(place("24 1 0:21 / / rw - overlay overlay rw,lowerdir=/a"), None);
        assert_eq!(place("25 24 0:22 / /proc rw - proc proc rw"), None);
        assert_eq!(place("nonsense"), None);
    }

    #[test]
    fn what_was_written_is_counted_over_all_disks() {
        let statistics =
            " 254 0 vda 5 0 40 2 7 1 64 9 0 3 11\n 254 16 vdb 1 0 8 0 2 0 16 0 0 0 0\nnonsense\n";
        assert_eq!((written_sectors(statistics), written_sectors("")), (80, 0));
    }
}
