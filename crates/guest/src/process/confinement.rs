//! What holds a process together with all it starts: a control group in a machine, a process group where there
//! are none (tests in a process of their own).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Tasks in one control group when the host asks for no bound.
const DEFAULT_MAX_TASKS: u32 = 4096;

/// Where confinements come from.
#[derive(Debug)]
pub enum Confiner {
    /// A control group each, under this directory, which is the agent's alone.
    ControlGroups {
        /// For example `/sys/fs/cgroup/pyro`.
        directory: PathBuf,
        /// Number of the next one.
        next: u64,
    },
    /// A session and process group each: what leaves the group escapes.
    ProcessGroups,
}

impl Confiner {
    /// Control groups under `directory`.
    pub fn control_groups(directory: PathBuf) -> Self {
        Self::ControlGroups { directory, next: 0 }
    }

    /// Makes an empty confinement. `max_tasks` 0 takes the default of 4096.
    ///
    /// # Errors
    /// The kernel's, when it gives no more control groups.
    pub fn confine(&mut self, max_tasks: u32) -> io::Result<Confinement> {
        match self {
            Self::ProcessGroups => Ok(Confinement::ProcessGroup),
            Self::ControlGroups { directory, next } => {
                let group = directory.join(next.to_string());
                *next += 1;
                fs::create_dir(&group)?;
                let max_tasks = if max_tasks == 0 { DEFAULT_MAX_TASKS } else { max_tasks };
                // Without the pids controller the group is still killed whole.
                let _unbounded = fs::write(group.join("pids.max"), max_tasks.to_string());
                Ok(Confinement::ControlGroup(group))
            }
        }
    }
}

/// One process and all that it starts.
#[derive(Debug)]
pub enum Confinement {
    /// A control group's directory.
    ControlGroup(PathBuf),
    /// The process group of the first process.
    ProcessGroup,
}

impl Confinement {
    /// The file in which a child enters the confinement by writing `0`, if it is entered that way.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entrance(&self) -> io::Result<Option<File>> {
        match self {
            Self::ControlGroup(group) => {
                OpenOptions::new().write(true).open(group.join("cgroup.procs")).map(Some)
            }
            Self::ProcessGroup => Ok(None),
        }
    }

    /// Sends a signal to every task; `leader` is the first process. With `KILL` nobody escapes a control group.
    ///
    /// # Errors
    /// The kernel's; nobody left to signal is none.
    pub fn signal(&self, leader: Pid, signal: Signal) -> io::Result<()> {
        match self {
            Self::ControlGroup(group) if signal == Signal::KILL => fs::write(group.join("cgroup.kill"), "1"),
            Self::ControlGroup(group) => signal_members(group, signal),
            Self::ProcessGroup => nobody_is_fine(kill_process_group(leader, signal)),
        }
    }

    /// Whether the kernel killed a task for want of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let Self::ControlGroup(group) = self else { return false };
        let events = fs::read_to_string(group.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|count| count.trim() != "0")
    }

    /// Removes what the kernel keeps for it; false while a task is still dying in it.
    pub fn dissolve(&self) -> bool {
        match self {
            Self::ControlGroup(group) => match fs::remove_dir(group) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            },
            Self::ProcessGroup => true,
        }
    }
}

fn signal_members(group: &Path, signal: Signal) -> io::Result<()> {
    for line in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
        if let Some(pid) = line.parse().ok().and_then(Pid::from_raw) {
            nobody_is_fine(kill_process(pid, signal))?;
        }
    }
    Ok(())
}

fn nobody_is_fine(outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
