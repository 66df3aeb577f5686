//! Processes that are not our children: who they are, whether they live, and how they are ended.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use crate::readiness;

/// A process, never mistaken for a later one that got the same number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id in this process's pid namespace.
    pub pid: u32,
    /// Start time in clock ticks since the host booted, field 22 of `/proc/PID/stat`.
    pub start_time_ticks: u64,
}

impl ProcessIdentity {
    /// Reads the identity of the process that has this number now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The command name, in parentheses, may hold anything; the fields after the last one start with field 3.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let start_time_ticks =
            after_name.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).ok_or_else(
                || io::Error::new(io::ErrorKind::InvalidData, "no start time in /proc/PID/stat"),
            )?;
        Ok(Self { pid, start_time_ticks })
    }
}

/// A process held by its pidfd: readable once it has ended.
#[derive(Debug)]
pub(crate) struct ProcessHandle {
    identity: ProcessIdentity,
    pidfd: AsyncFd<OwnedFd>,
    kill_on_drop: bool,
}

impl ProcessHandle {
    /// Holds a process through a pidfd that is known to be its own. Until [`Self::keep`], dropping the handle kills it.
    pub(crate) fn new(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
        // Held first: whatever fails from here on ends the process.
        let mut handle = Self {
            identity: ProcessIdentity { pid, start_time_ticks: 0 },
            pidfd: readiness::watch(pidfd)?,
            kill_on_drop: true,
        };
        handle.identity = ProcessIdentity::of(pid)?;
        Ok(handle)
    }

    /// Finds the very process of `identity`; `None` if it is gone.
    pub(crate) fn find(identity: ProcessIdentity) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        // Compared after the pidfd is held, so that the number cannot change hands in between.
        match ProcessIdentity::of(identity.pid) {
            Ok(found) if found == identity => {}
            _ => return Ok(None),
        }
        let handle = Self { identity, pidfd: readiness::watch(pidfd)?, kill_on_drop: false };
        Ok((!handle.is_gone()).then_some(handle))
    }

    pub(crate) fn identity(&self) -> ProcessIdentity {
        self.identity
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        has_ended(self.pidfd.get_ref())
    }

    /// Another hold on the same process, to ask [`has_ended`] later.
    pub(crate) fn pidfd(&self) -> io::Result<OwnedFd> {
        self.pidfd.get_ref().try_clone()
    }

    /// From now on the process outlives this handle.
    pub(crate) fn keep(mut self) -> Self {
        self.kill_on_drop = false;
        self
    }

    /// Ends it and waits until it has.
    pub(crate) async fn end(&self) -> io::Result<()> {
        self.kill()?;
        self.gone().await;
        Ok(())
    }

    /// Ends it; already gone is fine.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Waits until it has ended. Level-triggered: the pidfd stays readable, and its readiness is never cleared. An orphan
    /// that this process has adopted, being a subreaper, does not stay a zombie.
    pub(crate) async fn gone(&self) {
        // Only a runtime that shuts down makes this fail, and then nobody is left to be told.
        if self.pidfd.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
        // Somebody else's child, and one seen off before, is refused.
        let _status = waitid(
            WaitId::PidFd(self.pidfd.get_ref().as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
    }
}

impl Drop for ProcessHandle {
    fn drop(&mut self) {
        if self.kill_on_drop
            && let Err(error) = self.kill()
        {
            tracing::error!(pid = self.identity.pid, %error, "a process that nobody keeps could not be ended");
        }
    }
}

/// Whether the process of this pidfd has ended.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
        .is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reused_number_is_a_stranger() {
        let me = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(ProcessHandle::find(me).unwrap().is_some());
        let other = ProcessIdentity { start_time_ticks: me.start_time_ticks - 1, ..me };
        assert!(ProcessHandle::find(other).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_child_that_has_gone_is_no_zombie() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let handle = ProcessHandle::new(child.id(), pidfd).unwrap();
        handle.end().await.unwrap();
        assert!(ProcessIdentity::of(child.id()).is_err());
        assert!(child.try_wait().is_err());
        // Asked again, it is still gone.
        handle.end().await.unwrap();
        assert!(handle.is_gone());
    }

    #[tokio::test]
    async fn a_process_that_nobody_keeps_ends_with_its_handle() {
        use std::os::unix::process::ExitStatusExt;
        for kept in [false, true] {
            let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
            let pid = Pid::from_child(&child);
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            let handle = ProcessHandle::new(child.id(), pidfd).unwrap();
            if kept {
                drop(handle.keep());
                assert!(child.try_wait().unwrap().is_none());
                child.kill().unwrap();
            } else {
                drop(handle);
            }
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
    }
}
