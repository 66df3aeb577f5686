//! All processes that the host knows, in order of their start, and the reaping of everything that ends.

use std::task::Context;

use pyro_protocol::message::{ProcessInfo, Start};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait, waitpid};

use super::Process;
use super::confinement::{Confinement, Confiner};
use super::launch::{Launch, LaunchError};

/// Processes kept at most, running or finished; the host removes those it is done with. So few that `List` always
/// fits into one frame.
const MAX_PROCESSES: usize = 256;

/// Whose children the agent may reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaping {
    /// All: it is PID 1, and orphans become its children.
    Everything,
    /// Its own alone: it shares its process with others.
    OwnProcesses,
}

/// The processes; see the [module](self).
#[derive(Debug)]
pub struct Table {
    processes: Vec<Process>,
    confiner: Confiner,
    reaping: Reaping,
    /// Confinements of processes that ended, with the processes' ids: perhaps with tasks that are left or still dying.
    spent: Vec<(Pid, Confinement)>,
}

/// Why the table refuses.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The process could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The id is taken.
    #[error("start a second process with the id {0:?}")]
    Duplicate(String),
    /// Too many are kept.
    #[error("keep more than {MAX_PROCESSES} processes")]
    Full,
    /// No process has the id.
    #[error("find the process {0:?}")]
    Unknown(String),
    /// It has not finished.
    #[error("remove the process {0:?}, which is running")]
    StillRunning(String),
}

impl Table {
    /// An empty table.
    pub fn new(confiner: Confiner, reaping: Reaping) -> Self {
        Self { processes: Vec::new(), confiner, reaping, spent: Vec::new() }
    }

    /// Checks and starts a process.
    ///
    /// # Errors
    /// Nothing was started, see [`TableError`].
    pub fn start(&mut self, start: Start) -> Result<&Process, TableError> {
        if self.find(&start.id).is_ok() {
            return Err(TableError::Duplicate(start.id));
        }
        if self.processes.len() >= MAX_PROCESSES {
            return Err(TableError::Full);
        }
        let launch = Launch::check(start)?;
        let process = Process::start(&launch, &mut self.confiner)?;
        self.processes.push(process);
        self.processes.last().ok_or(TableError::Full)
    }

    /// The process of that id.
    ///
    /// # Errors
    /// [`TableError::Unknown`].
    pub fn find(&self, id: &str) -> Result<&Process, TableError> {
        self.processes
            .iter()
            .find(|process| process.id() == id)
            .ok_or_else(|| TableError::Unknown(id.to_owned()))
    }

    /// The process of that id, to be changed.
    ///
    /// # Errors
    /// [`TableError::Unknown`].
    pub fn find_mut(&mut self, id: &str) -> Result<&mut Process, TableError> {
        let found = self.processes.iter_mut().find(|process| process.id() == id);
        found.ok_or_else(|| TableError::Unknown(id.to_owned()))
    }

    /// Forgets a finished process and its output.
    ///
    /// # Errors
    /// [`TableError::Unknown`], [`TableError::StillRunning`].
    pub fn remove(&mut self, id: &str) -> Result<(), TableError> {
        if self.find(id)?.exit().is_none() {
            return Err(TableError::StillRunning(id.to_owned()));
        }
        let position = self.processes.iter().position(|process| process.id() == id);
        let mut removed = self.processes.remove(position.ok_or_else(|| TableError::Unknown(id.to_owned()))?);
        self.spent.push((removed.pid(), removed.take_confinement()));
        Ok(())
    }

    /// What `List` says.
    pub fn list(&self) -> Vec<ProcessInfo> {
        self.processes.iter().map(Process::info).collect()
    }

    /// Collects every child that has ended; to be called after each SIGCHLD.
    pub fn reap(&mut self) {
        match self.reaping {
            Reaping::Everything => {
                while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                    self.route(pid, status);
                }
            }
            Reaping::OwnProcesses => {
                for process in self.processes.iter_mut().filter(|process| process.is_running()) {
                    if let Ok(Some((_, status))) = waitpid(Some(process.pid()), WaitOptions::NOHANG) {
                        process.reaped(status);
                    }
                }
            }
        }
    }

    /// What can wait until the host has its answers: ends what finished processes left behind, dissolves their
    /// confinements, and makes the next one ahead. To be called when nothing moves.
    pub fn tidy(&mut self) {
        self.spent.retain(|(leader, confinement)| !confinement.end(*leader));
        self.confiner.prepare();
    }

    fn route(&mut self, pid: Pid, status: WaitStatus) {
        // The id of a process that has ended may be a stranger's by now.
        let owner = self.processes.iter_mut().find(|process| process.is_running() && process.pid() == pid);
        if let Some(process) = owner {
            process.reaped(status);
        }
    }

    /// Moves everything that can move; true if something did.
    pub fn poll_progress(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        for process in &mut self.processes {
            if process.poll_progress(context) {
                moved = true;
                let spent = process.take_spent_confinement();
                self.spent.extend(spent.map(|confinement| (process.pid(), confinement)));
            }
        }
        moved
    }
}
