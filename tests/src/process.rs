//! A process of the host, held by a pidfd: it cannot be mistaken for a later one with the same number.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::events::readable;

/// One process, maybe ended by now.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    handle: OwnedFd,
}

impl Process {
    /// The process of that number, if it lives.
    pub fn find(pid: u32) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let handle = pidfd_open(number, PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        !readable(&self.handle, Duration::ZERO)
    }

    /// Waits for its end; false if it outlives `patience`.
    pub fn ends_within(&self, patience: Duration) -> bool {
        readable(&self.handle, patience)
    }

    /// Fails the test unless it ends soon.
    #[track_caller]
    pub fn assert_ends(&self, who: &str) {
        assert!(self.ends_within(Duration::from_secs(30)), "{who} (pid {}) still lives after 30 s", self.pid);
    }

    /// Waits until this child of the test stands still; fails the test unless it does so soon.
    #[track_caller]
    pub fn assert_stops(&self, why: &str) {
        let handle = self.handle.try_clone().expect("another descriptor of a process");
        let (say, said) = std::sync::mpsc::channel();
        // Of a child that stops nothing becomes readable.
        std::thread::spawn(move || {
            let stopped = waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::STOPPED);
            // Nobody may wait any more.
            let _unheard = say.send(stopped.map(|status| status.is_some_and(|status| status.stopped())));
        });
        let stopped = said.recv_timeout(Duration::from_secs(60));
        assert_eq!(stopped, Ok(Ok(true)), "{why}: the process (pid {}) does not stand still", self.pid);
    }

    /// Sends a signal; a process that has ended takes none.
    pub fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("cannot signal process {}: {error}", self.pid),
        }
    }

    /// A path below its directory in `/proc`.
    pub fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// One line of `/proc/<pid>/status`, without its name.
    #[track_caller]
    pub fn status(&self, field: &str) -> String {
        let path = self.proc("status");
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("{} has no {field}", path.display()))
            .trim()
            .to_owned()
    }

    /// Most memory it ever had resident, MiB; nothing once it has ended.
    pub fn peak_resident_mib(&self) -> Option<u64> {
        let status = fs::read_to_string(self.proc("status")).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        assert!(process.is_alive());
        assert!(!process.ends_within(Duration::from_millis(20)));
        assert_eq!(process.status("Name"), "sleep");
        process.signal(Signal::KILL);
        process.assert_ends("the child");
        child.wait().unwrap();
        assert_eq!(process.peak_resident_mib(), None);
        process.signal(Signal::KILL);
    }
}
