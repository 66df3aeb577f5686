//! All processes that the host knows, in order of their start, and the reaping of everything that ends.

use std::io;
use std::task::Context;

use pyro_protocol::message::{Builtin, ProcessInfo, Start, Stdin, StreamKind};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, kill_process_group, wait,
    waitid, waitpid,
};

use super::Process;
use super::builtin::FileWorker;
use super::confinement::{Confinement, Confiner};
use super::launch::{Launch, LaunchError, Launched};
use super::outlet::STEP_BYTES;

/// Processes kept at most, running or finished; the host removes those it is done with. So few that `List` always
/// fits into one frame.
const MAX_PROCESSES: usize = 256;
/// Children collected in one round.
const REAPED_AT_ONCE: usize = 64;

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
    file_worker: Option<FileWorker>,
    /// A file worker that nobody has asked for yet.
    spare_worker: Option<Launched>,
    /// Confinements of processes that ended, with the processes' ids: perhaps with tasks that are left or still dying.
    spent: Vec<(Pid, Confinement)>,
    /// What pipes are read with.
    buffer: Vec<u8>,
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
    /// An empty table. Without a `file_worker` none can be started.
    pub fn new(confiner: Confiner, reaping: Reaping, file_worker: Option<FileWorker>) -> Self {
        Self {
            processes: Vec::new(),
            confiner,
            reaping,
            file_worker,
            spare_worker: None,
            spent: Vec::new(),
            buffer: vec![0; STEP_BYTES],
        }
    }

    /// Starts a file worker ahead: the first that a host asks for is there already. In a restored machine, where every
    /// program's first steps are slow, this is most of the time that a first request takes. Where it fails, workers are
    /// started as they are asked for.
    pub fn start_worker_ahead(&mut self) {
        let start = Start {
            id: "ahead".to_owned(),
            builtin: Builtin::FileWorker.into(),
            stdin: Stdin::Stream.into(),
            ..Start::default()
        };
        let Ok(launch) = Launch::check(start, self.file_worker.as_ref()) else { return };
        let Ok(launched) = launch.run(&mut self.confiner) else { return };
        match launch.hear(&launched.report) {
            Some(Err(_)) => self.abandon(launched.pid, launched.confinement),
            Some(Ok(())) | None => self.spare_worker = Some(launched),
        }
    }

    /// Checks and starts a process. It may not have begun yet: [`Process::has_begun`].
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
        let launch = Launch::check(start, self.file_worker.as_ref())?;
        let spare = if launch.is_plain_worker() { self.take_spare_worker() } else { None };
        let launched = match spare {
            Some(spare) => spare,
            None => launch.run(&mut self.confiner)?,
        };
        let pid = launched.pid;
        let heard = launch.hear(&launched.report);
        let has_begun = heard.is_some();
        if let Some(Err(error)) = heard {
            self.abandon(pid, launched.confinement);
            return Err(error.into());
        }
        match Process::adopt(launched, launch, has_begun) {
            Ok(process) => self.processes.push(process),
            Err((confinement, error)) => {
                self.abandon(pid, confinement);
                return Err(error.into());
            }
        }
        self.processes.last().ok_or(TableError::Full)
    }

    /// Forgets a process of which it turned out that its program never ran; its id, and why.
    pub fn take_failed(&mut self) -> Option<(String, LaunchError)> {
        let found = self.processes.iter_mut().enumerate();
        let (position, error) =
            found.filter_map(|(at, process)| Some((at, process.take_failure()?))).next()?;
        let mut process = self.processes.remove(position);
        if process.exit().is_none() {
            self.spent.push((process.pid(), process.take_confinement()));
        }
        Some((process.id().to_owned(), error))
    }

    /// Ends a program that runs and cannot be served.
    fn abandon(&mut self, pid: Pid, confinement: Confinement) {
        let _gone = confinement.signal(pid, Signal::KILL);
        let _gone = kill_process(pid, Signal::KILL);
        if self.reaping == Reaping::OwnProcesses {
            let _reaped = waitpid(Some(pid), WaitOptions::empty());
        }
        self.spent.push((pid, confinement));
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
        // Its confinement was given away when it finished.
        self.processes.remove(position.ok_or_else(|| TableError::Unknown(id.to_owned()))?);
        Ok(())
    }

    /// The host that started them is gone.
    pub fn session_ended(&mut self) {
        self.processes.iter_mut().for_each(Process::session_ended);
    }

    /// What `List` says.
    pub fn list(&self) -> Vec<ProcessInfo> {
        self.processes.iter().map(Process::info).collect()
    }

    /// Collects children that have ended, so many at most that nobody waits for long; true if there may be more of
    /// them. To be called after each SIGCHLD.
    pub fn reap(&mut self) -> bool {
        match self.reaping {
            Reaping::Everything => {
                for _child in 0..REAPED_AT_ONCE {
                    let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else { return false };
                    self.route(pid, status);
                }
                true
            }
            Reaping::OwnProcesses => {
                for process in self.processes.iter_mut().filter(|process| process.is_running()) {
                    if let Ok(Some((_, status))) = waitpid(Some(process.pid()), WaitOptions::NOHANG) {
                        process.reaped(status);
                    }
                }
                false
            }
        }
    }

    /// What can wait until the host has its answers: ends what finished processes left behind, dissolves their
    /// confinements, and makes the next one ahead. To be called when nothing moves.
    pub fn tidy(&mut self) {
        self.spent.retain(|(leader, confinement)| !confinement.end(*leader));
        self.confiner.prepare();
    }

    /// Lets no process take a step in its program until [`Table::let_go`]; where there are no control groups, nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn hold(&self) -> io::Result<()> {
        self.confiner.freeze()
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn let_go(&self) -> io::Result<()> {
        self.confiner.thaw()
    }

    /// Sends a signal to all there are: as PID 1 to every process of the machine, else to those of this table.
    pub fn signal_everyone(&self, signal: Signal) {
        if self.is_everyones_parent() {
            // The group of PID 1 stands for everybody but PID 1. Nobody being there is fine.
            let _nobody = kill_process_group(Pid::INIT, signal);
        } else {
            for process in &self.processes {
                let _gone = process.signal(signal, true);
            }
        }
    }

    /// Whether any of those whom [`Table::signal_everyone`] means has not ended, or was not collected yet.
    pub fn anybody_lives(&self) -> bool {
        if self.is_everyones_parent() {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            !matches!(waitid(WaitId::All, look), Err(Errno::CHILD))
        } else {
            self.processes.iter().any(Process::is_running)
        }
    }

    /// Whether every process has ended with all its output in its spools.
    pub fn all_finished(&self) -> bool {
        self.processes.iter().all(|process| process.exit().is_some())
    }

    fn is_everyones_parent(&self) -> bool {
        self.reaping == Reaping::Everything && rustix::process::getpid().is_init()
    }

    /// The file worker that was started ahead, if it is alive.
    fn take_spare_worker(&mut self) -> Option<Launched> {
        let spare = self.spare_worker.take()?;
        if matches!(waitpid(Some(spare.pid), WaitOptions::NOHANG), Ok(None)) {
            return Some(spare);
        }
        self.spent.push((spare.pid, spare.confinement));
        None
    }

    fn route(&mut self, pid: Pid, status: WaitStatus) {
        // Its id is not its own any more.
        let dead = self.spare_worker.take_if(|spare| spare.pid == pid);
        self.spent.extend(dead.map(|spare| (spare.pid, spare.confinement)));
        // The id of a process that has ended may be a stranger's by now.
        let owner = self.processes.iter_mut().find(|process| process.is_running() && process.pid() == pid);
        if let Some(process) = owner {
            process.reaped(status);
        }
    }

    /// Moves everything that can move; true if something did. `is_read` says of an id whether the host takes the
    /// process's output.
    pub fn poll_progress(
        &mut self,
        context: &mut Context<'_>,
        is_read: &dyn Fn(&str, StreamKind) -> bool,
    ) -> bool {
        let mut moved = false;
        for process in &mut self.processes {
            if process.poll_progress(context, &mut self.buffer, is_read) {
                moved = true;
                let spent = process.take_spent_confinement();
                self.spent.extend(spent.map(|confinement| (process.pid(), confinement)));
            }
        }
        moved
    }
}
