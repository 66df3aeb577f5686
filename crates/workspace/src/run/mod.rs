//! One-shot runs: a machine for one command, gone when the command is.
//!
//! Phases, each a type that consumes the one before it; what is printed is where it can fail:
//!
//! ```text
//! RunRequest ─admit→ Prepared ─claim→ Claimed ─start→ Running ─greet→ (session) ─execute→ Execution
//!              │                │               │        └──────── end ────────→ nothing left
//!           environment      directory       restore, or boot when that fails
//!           and template     and disk
//! ```
//!
//! One task drives a run from beginning to end. Whatever happens to the caller, it ends the machine and
//! removes the directory before it ends itself.

mod driver;
mod execution;
mod phases;

use std::time::Duration;

use bytes::Bytes;
pub(crate) use driver::drive;
pub(crate) use execution::start_message;
pub use phases::PhaseTimes;
use pyro_engine::{Isolation, MachineId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What to run, and in what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunRequest {
    /// Name of an environment.
    pub environment: String,
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// Absolute working directory in the guest; `None` is the home of the workspace, `/workspace`.
    pub cwd: Option<Vec<u8>>,
    /// Variables added to the guest's clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Account in the guest; `None` is root.
    pub user: Option<String>,
    /// Virtual processors, see [`crate::policy::VCPUS`].
    pub vcpus: u8,
    /// Guest memory in MiB, see [`crate::policy::MEM_MIB`].
    pub mem_mib: u32,
    /// The command and all it started are killed after this.
    pub timeout: Duration,
    /// The machine powers off by itself after this; `None` is never.
    pub ttl: Option<Duration>,
    /// Whether [`RunIo::stdin`] feeds the command; otherwise it reads `/dev/null`.
    pub stdin: bool,
}

impl RunRequest {
    /// A request with the defaults of the contract: 1 vCPU, 1024 MiB, 30 s, 600 s to live.
    pub fn new(environment: impl Into<String>, argv: Vec<Vec<u8>>) -> Self {
        Self {
            environment: environment.into(),
            argv,
            cwd: None,
            env: Vec::new(),
            user: None,
            vcpus: 1,
            mem_mib: 1024,
            timeout: Duration::from_secs(30),
            ttl: Some(Duration::from_secs(600)),
            stdin: false,
        }
    }
}

/// How a run talks to its caller.
#[derive(Debug)]
pub struct RunIo {
    /// Takes what happens. A slow receiver slows the command down; a dropped one cancels the run.
    pub events: mpsc::Sender<RunEvent>,
    /// Standard input; a closed channel is end of file.
    pub stdin: mpsc::Receiver<Bytes>,
    /// Ends the run early.
    pub cancel: CancellationToken,
}

/// What happens during a run.
#[derive(Clone, PartialEq, Debug)]
pub enum RunEvent {
    /// The environment is being made; it was not installed.
    Pulling {
        /// Short name of the step.
        phase: String,
        /// From 0 to 1, if known.
        fraction: Option<f64>,
    },
    /// The machine has its id and is being started.
    Starting(MachineId),
    /// The command is being started.
    Executing(MachineId),
    /// The command wrote to standard output.
    Stdout(Bytes),
    /// The command wrote to standard error.
    Stderr(Bytes),
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEnd {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It was killed at its timeout.
    TimedOut,
}

/// How a machine came to life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartKind {
    /// From its template.
    Restored,
    /// From the kernel, since restoring failed.
    Booted,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The machine it ran in, which is gone.
    pub machine: MachineId,
    /// Version of the environment.
    pub environment_version: String,
    /// How the command ended.
    pub end: CommandEnd,
    /// Whether the guest ran out of memory meanwhile.
    pub out_of_memory: bool,
    /// How the machine came to life.
    pub start: StartKind,
    /// What separated it from the host.
    pub isolation: Isolation,
    /// Wall time of the command in the guest.
    pub duration: Duration,
    /// Wall time of each phase on the host.
    pub phases: PhaseTimes,
    /// Bytes the command wrote to standard output.
    pub stdout_bytes: u64,
    /// Bytes the command wrote to standard error.
    pub stderr_bytes: u64,
}
