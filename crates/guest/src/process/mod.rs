//! The guest's one noun: a process that the host started, with an id, a confinement, spools of its output, and an
//! end. Exec is its first use.
//!
//! # States
//!
//! *Beginning*: there is a child that becomes its program, for which a file system may take its time. It is a running process
//! in all but that it may turn out that it never began: then it is forgotten.
//!
//! *Running*: its program runs; output flows from its pipes to its spools as they have room. At its timeout the
//! whole confinement is killed.
//!
//! *Lingering*: the program has ended, but something still holds its pipes, such as a `tee` that is not done. It is
//! waited for as long as it prints something every [`LINGER`], [`MAX_LINGER`] at most; time that it spends waiting for a
//! host that takes the output does not count. Then, or at the timeout, the confinement is killed
//! and what is left in the pipes is taken in, full spool or not. A pipe that even then stays open (held by one that
//! left its control group) is closed [`DRAIN`] later.
//!
//! *Finished*: no task, no pipe; the exit status is known and counts all output, which is in the spools.
//!
//! A process that closes its output and lives on is simply running. One that ends leaves nobody behind.

pub mod account;
pub mod builtin;
mod child;
pub mod confinement;
pub mod launch;
pub mod outlet;
pub mod program;
pub mod spool;
pub mod table;

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pyro_protocol::message::{ExitStatus, ProcessInfo, StreamKind};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep};

use self::confinement::Confinement;
use self::launch::{Launch, LaunchError, Launched};
use self::outlet::{Inlet, Outlet};
use crate::kernel;

/// How long something may hold the pipes of a process that has ended without printing anything. Emulated machines are
/// slow.
pub const LINGER: Duration = Duration::from_secs(2);
/// How long something may hold the pipes of a process that has ended, not counting the time that it waits for a host.
pub const MAX_LINGER: Duration = Duration::from_secs(30);
/// How long pipes may stay open after everything in the confinement was killed.
pub const DRAIN: Duration = Duration::from_millis(1000);

/// One process; see the [module](self).
#[derive(Debug)]
pub struct Process {
    /// Its standard input, if it reads a stream.
    pub stdin: Option<Inlet>,
    /// Its standard output.
    pub stdout: Outlet,
    /// Its standard error.
    pub stderr: Outlet,
    pid: Pid,
    confinement: Confinement,
    launch: Launch,
    beginning: Beginning,
    started: Instant,
    timed_out: bool,
    state: State,
}

/// What is known of its program.
#[derive(Debug)]
enum Beginning {
    /// Nothing yet. Ends or tells something when something is known.
    Awaited(AsyncFd<OwnedFd>),
    /// It runs, or did.
    Seen,
    /// It never will.
    Failed(LaunchError),
}

#[derive(Debug)]
enum State {
    Running { timeout: Option<Pin<Box<Sleep>>> },
    Lingering { exit: ExitStatus, linger: Linger },
    Finished(ExitStatus),
}

/// The wait for those that hold the pipes of a process that has ended.
#[derive(Debug)]
struct Linger {
    timeout: Option<Pin<Box<Sleep>>>,
    patience: Pin<Box<Sleep>>,
    /// What patience is left after this one.
    left: Duration,
    /// Bytes printed when it began.
    printed_bytes: u64,
    killed: bool,
}

impl Process {
    /// Takes over a child that was just launched. `has_begun` says whether it was heard to have become its program.
    ///
    /// # Errors
    /// Why it cannot be served, and the confinement in which it still runs.
    pub fn adopt(
        launched: Launched,
        launch: Launch,
        has_begun: bool,
    ) -> Result<Self, (Confinement, LaunchError)> {
        let Launched { pid, confinement, stdin, stdout, stderr, report } = launched;
        let watched = || {
            let stdin = stdin.map(Inlet::new).transpose()?;
            let beginning =
                if has_begun { Beginning::Seen } else { Beginning::Awaited(kernel::watch(report)?) };
            Ok((stdin, Outlet::new(stdout, &launch)?, Outlet::new(stderr, &launch)?, beginning))
        };
        let (stdin, stdout, stderr, beginning) = match watched() {
            Ok(pipes) => pipes,
            Err(source) => {
                return Err((confinement, LaunchError::Exhausted { operation: "watch a pipe", source }));
            }
        };
        let started = Instant::now();
        let timeout = launch.timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
        Ok(Self {
            stdin,
            stdout,
            stderr,
            pid,
            confinement,
            launch,
            beginning,
            started,
            timed_out: false,
            state: State::Running { timeout },
        })
    }

    /// The id given by the host.
    pub fn id(&self) -> &str {
        &self.launch.id
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The same as the host knows it.
    pub fn raw_pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether its program still runs: its process id is its own.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, once it is finished.
    pub fn exit(&self) -> Option<&ExitStatus> {
        match &self.state {
            State::Finished(exit) => Some(exit),
            State::Running { .. } | State::Lingering { .. } => None,
        }
    }

    /// What `List` says about it.
    pub fn info(&self) -> ProcessInfo {
        ProcessInfo {
            id: self.launch.id.clone(),
            pid: self.raw_pid(),
            exit: self.exit().cloned(),
            stdout: Some(self.stdout.spool.range()),
            stderr: Some(self.stderr.spool.range()),
        }
    }

    /// The host that started it is gone. A worker reads the end of its input: it brings what is decided to its end, and
    /// ends. Nobody takes what it still says. Others do not notice.
    pub fn session_ended(&mut self) {
        if !self.launch.is_worker() {
            return;
        }
        if let Some(inlet) = &mut self.stdin {
            inlet.end();
        }
        self.stdout.spool.abandon();
        self.stderr.spool.abandon();
    }

    /// Sends a signal to the program, or to everything in the confinement. Nothing happens to one that has ended.
    ///
    /// # Errors
    /// The kernel's.
    pub fn signal(&self, signal: Signal, whole_confinement: bool) -> io::Result<()> {
        match &self.state {
            State::Finished(_) => Ok(()),
            State::Running { .. } if !whole_confinement => {
                Ok(rustix::process::kill_process(self.pid, signal)?)
            }
            State::Running { .. } => self.signal_everything(signal),
            State::Lingering { .. } if whole_confinement => self.confinement.signal(self.pid, signal),
            State::Lingering { .. } => Ok(()),
        }
    }

    /// Signals the confinement. Root may have left it, so the program itself is killed by its id, too, which is its own
    /// as long as it was not collected.
    fn signal_everything(&self, signal: Signal) -> io::Result<()> {
        let sent = self.confinement.signal(self.pid, signal);
        if signal == Signal::KILL && self.is_running() {
            let _gone = rustix::process::kill_process(self.pid, signal);
        }
        sent
    }

    /// The kernel says that the program ended.
    pub fn reaped(&mut self, status: WaitStatus) {
        let State::Running { timeout } = &mut self.state else { return };
        let timeout = timeout.take();
        let exit = ExitStatus {
            code: status.exit_status(),
            signal: status.terminating_signal(),
            timed_out: self.timed_out,
            duration_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..ExitStatus::default()
        };
        // At its timeout everything was killed already.
        let patience = Box::pin(tokio::time::sleep(if self.timed_out { DRAIN } else { LINGER }));
        let linger = Linger {
            timeout,
            patience,
            left: MAX_LINGER.saturating_sub(LINGER),
            printed_bytes: self.printed_bytes(),
            killed: self.timed_out,
        };
        self.state = State::Lingering { exit, linger };
    }

    fn printed_bytes(&self) -> u64 {
        self.stdout.spool.range().next + self.stderr.spool.range().next
    }

    /// Moves everything that can move: bytes, timers, states. True if something did. `buffer` is lent for reading
    /// pipes; `is_read` says of an id whether the host takes the process's output.
    pub fn poll_progress(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        is_read: &dyn Fn(&str, StreamKind) -> bool,
    ) -> bool {
        let began = self.poll_beginning(context);
        let stdin_moved = self.stdin.as_mut().is_some_and(|inlet| inlet.poll_feed(context));
        let id = self.launch.id.as_str();
        let stdout_moved = self.stdout.poll_fill(context, buffer, || is_read(id, StreamKind::Stdout));
        let stderr_moved = self.stderr.poll_fill(context, buffer, || is_read(id, StreamKind::Stderr));
        let state_moved = self.poll_state(context, is_read);
        began | stdin_moved | stdout_moved | stderr_moved | state_moved
    }

    /// Whether its program runs, or did.
    pub fn has_begun(&self) -> bool {
        matches!(self.beginning, Beginning::Seen)
    }

    /// Why its program never ran, if that is so.
    pub fn take_failure(&mut self) -> Option<LaunchError> {
        match std::mem::replace(&mut self.beginning, Beginning::Seen) {
            Beginning::Failed(error) => Some(error),
            other => {
                self.beginning = other;
                None
            }
        }
    }

    fn poll_beginning(&mut self, context: &mut Context<'_>) -> bool {
        let Beginning::Awaited(report) = &self.beginning else { return false };
        if report.poll_read_ready(context).is_pending() {
            return false;
        }
        self.beginning = match self.launch.heard(report.get_ref()) {
            Ok(()) => Beginning::Seen,
            Err(error) => Beginning::Failed(error),
        };
        true
    }

    fn poll_state(&mut self, context: &mut Context<'_>, is_read: &dyn Fn(&str, StreamKind) -> bool) -> bool {
        let printed_bytes = self.printed_bytes();
        let id = self.launch.id.as_str();
        let waits_for_host = || {
            self.stdout.waits_for_host(|| is_read(id, StreamKind::Stdout))
                || self.stderr.waits_for_host(|| is_read(id, StreamKind::Stderr))
        };
        match &mut self.state {
            State::Finished(_) => false,
            State::Running { timeout } => {
                let due = is_due(timeout, context);
                if due {
                    self.timed_out = true;
                    self.kill_everything();
                }
                due
            }
            State::Lingering { linger, .. } => {
                let pipes_closed = self.stdout.spool.is_ended() && self.stderr.spool.is_ended();
                let timed_out = is_due(&mut linger.timeout, context);
                let impatient = linger.patience.as_mut().poll(context) == Poll::Ready(());
                if pipes_closed || (impatient && linger.killed) {
                    self.finish();
                } else if impatient && !timed_out && waits_for_host() {
                    linger.patience.as_mut().reset(Instant::now() + LINGER);
                } else if impatient && !timed_out && linger.has_patience(printed_bytes) {
                    linger.left = linger.left.saturating_sub(LINGER);
                    linger.printed_bytes = printed_bytes;
                    linger.patience.as_mut().reset(Instant::now() + LINGER);
                } else if (impatient || timed_out) && !linger.killed {
                    linger.killed = true;
                    linger.patience.as_mut().reset(Instant::now() + DRAIN);
                    self.kill_everything();
                } else {
                    return false;
                }
                true
            }
        }
    }

    /// Kills the confinement and makes room for what it printed. That it is gone already is no failure.
    fn kill_everything(&mut self) {
        let _gone = self.signal_everything(Signal::KILL);
        self.stdout.spool.admit_last_output();
        self.stderr.spool.admit_last_output();
    }

    fn finish(&mut self) {
        let State::Lingering { exit, .. } = &self.state else { return };
        let mut exit = exit.clone();
        self.stdin = None;
        self.stdout.close();
        self.stderr.close();
        exit.stdout_bytes = self.stdout.spool.range().next;
        exit.stderr_bytes = self.stderr.spool.range().next;
        // A program that succeeded got over whatever the kernel killed; asking costs as much as running `true`.
        exit.out_of_memory = exit.code != Some(0) && self.confinement.ran_out_of_memory();
        self.state = State::Finished(exit);
    }

    /// Gives the confinement of a finished process away, to be emptied and dissolved.
    pub fn take_spent_confinement(&mut self) -> Option<Confinement> {
        let spent = matches!(self.state, State::Finished(_));
        spent.then(|| self.take_confinement())
    }

    /// Gives the confinement away, whoever still lives in it.
    pub fn take_confinement(&mut self) -> Confinement {
        std::mem::replace(&mut self.confinement, Confinement::ProcessGroup)
    }
}

impl Linger {
    /// Whether something was printed since the last time, and the time is not over.
    fn has_patience(&self, printed_bytes: u64) -> bool {
        printed_bytes > self.printed_bytes && !self.left.is_zero()
    }
}

/// Whether a timer, if there is one, has come to its end; then it is gone.
fn is_due(timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> bool {
    let due = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
    if due {
        *timer = None;
    }
    due
}

impl Drop for Process {
    /// An agent that goes away, which only happens where it is not PID 1, takes its processes along.
    fn drop(&mut self) {
        if self.is_running() {
            let _gone = self.signal_everything(Signal::KILL);
            let _reaped = waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}
