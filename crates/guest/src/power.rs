//! The end of the machine: now, or at a deadline that needs no host.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use rustix::system::{RebootCommand, reboot};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::kernel;

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

/// How long writing everything to the disk may take at the end. A disk that does not answer is no reason to live on.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);

/// Writes everything to the disk, for as long as [`SYNC_PATIENCE`] allows, and powers the machine off. A machine that
/// cannot is reset instead, which ends it as well where the host's engine does not let machines reset. Does nothing to
/// an ordinary program but end it.
pub fn off() -> ! {
    if rustix::process::getpid().is_init() {
        sync_within(SYNC_PATIENCE);
        let _refused = reboot(RebootCommand::PowerOff);
        let _refused = reboot(RebootCommand::Restart);
    }
    std::process::abort()
}

/// Writes what is not on the disk yet. A kernel that gives no thread any more is not trusted to come back from it.
fn sync_within(patience: Duration) {
    let (done, wait) = mpsc::channel();
    let sync = move || {
        rustix::fs::sync();
        let _nobody_waits = done.send(());
    };
    if thread::Builder::new().name("sync".into()).spawn(sync).is_ok() {
        let _late = wait.recv_timeout(patience);
    }
}
