//! What is written down about a command: before the guest is asked, when it runs, and when it has ended.
//!
//! ```text
//!  starting ──guest started it──> running ──ended──> finished
//!     │                             │
//!     ├──guest refused it─────────────────────────> finished (125, 126, 127)
//!     ├──guest never heard of it──> never_started
//!     └──machine gone──────────────┴──machine gone─> unknown
//! ```

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::run::CommandEnd;

/// A command of a workspace, now or in its history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandRecord {
    /// Counts the commands of the workspace from 1; never used twice.
    pub sequence: u64,
    /// The command line for people, secrets redacted: the shell line as it was given, or the arguments quoted.
    pub command: String,
    /// Where it started, for people.
    pub cwd: String,
    /// The account in the guest; none is root.
    pub user: Option<String>,
    /// Names of the variables it was given; their values are not kept.
    pub env_names: Vec<String>,
    /// It was killed, or will be, after this; none: never.
    pub timeout: Option<Duration>,
    /// Whether its caller did not wait for its end.
    #[serde(default)]
    pub detached: bool,
    /// Whether its standard input is, or was, fed by the caller.
    pub stdin: Stdin,
    /// Names the call that it belongs to, for repetition.
    pub idempotency_key: Option<String>,
    /// SHA-256 over everything that was asked, lower-case hex; tells a repetition from another call.
    pub request_digest: String,
    /// When it was written down.
    pub created_at: SystemTime,
    /// When the guest had started it.
    pub started_at: Option<SystemTime>,
    /// When its end was known.
    pub ended_at: Option<SystemTime>,
    /// Where it stands.
    pub state: CommandState,
    /// Its standard output.
    pub stdout: OutputRecord,
    /// Its standard error.
    pub stderr: OutputRecord,
    /// How long its machine was saved while it ran; that is no part of its timeout.
    #[serde(default)]
    pub slept: Duration,
    /// It ran when the snapshot was taken that its workspace went on from. What it had written before is not kept here.
    #[serde(default)]
    pub restored: bool,
    /// What else a person should know; one line.
    pub note: Option<String>,
}

/// Where a command stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CommandState {
    /// Written down; the guest has not answered yet.
    Starting,
    /// It runs.
    Running,
    /// It has ended, and how is known.
    Finished {
        /// How.
        end: CommandEnd,
        /// The kernel killed a task of it for want of memory.
        out_of_memory: bool,
        /// Wall time in the guest.
        duration: Duration,
    },
    /// It did not run and never will.
    NeverStarted {
        /// Why.
        reason: String,
    },
    /// It ran, or may have, and how it ended cannot be known.
    Unknown {
        /// Why.
        reason: String,
    },
}

impl CommandState {
    /// Stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Finished { .. } => "finished",
            Self::NeverStarted { .. } => "never_started",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether more may come of it.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    /// Whether it ended otherwise than with exit code 0.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Starting | Self::Running => false,
            Self::Finished { end, .. } => *end != CommandEnd::Exited(0),
            Self::NeverStarted { .. } | Self::Unknown { .. } => true,
        }
    }
}

/// Where a command reads from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// The caller, who has not come to the end.
    Open,
    /// The caller, who has come to the end.
    Ended,
}

/// How much there is of an output.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct OutputRecord {
    /// Bytes that the command wrote, as far as is known.
    pub total_bytes: u64,
    /// Bytes of them that are kept on the host.
    pub kept_bytes: u64,
    /// It was kept, and has made room for newer outputs.
    pub removed: bool,
}

impl OutputRecord {
    /// Bytes that are not kept.
    pub fn dropped_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.kept_bytes)
    }
}

/// How many commands a workspace has in its history.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CommandCounts {
    /// All of them.
    pub total: u64,
    /// Those that have not ended.
    pub running: u64,
    /// Those that ended otherwise than with exit code 0.
    pub failed: u64,
}

impl CommandRecord {
    /// What people and later calls name the command by; also the id of its process in the guest.
    pub fn job_id(&self) -> String {
        job_id(self.sequence)
    }

    /// Bytes kept of both outputs.
    pub fn kept_bytes(&self) -> u64 {
        self.stdout.kept_bytes.saturating_add(self.stderr.kept_bytes)
    }

    /// What is known of a command whose record was lost: that it was there, and perhaps some output.
    pub(crate) fn lost(sequence: u64, stdout: OutputRecord, stderr: OutputRecord, at: SystemTime) -> Self {
        Self {
            sequence,
            command: String::new(),
            cwd: String::new(),
            user: None,
            detached: false,
            env_names: Vec::new(),
            timeout: None,
            stdin: Stdin::Null,
            idempotency_key: None,
            request_digest: String::new(),
            created_at: at,
            started_at: None,
            ended_at: None,
            state: CommandState::Unknown { reason: "its record was lost with the store".to_owned() },
            stdout,
            stderr,
            slept: Duration::ZERO,
            restored: false,
            note: Some("what it was is not known any more: the store was damaged".to_owned()),
        }
    }
}

/// See [`CommandRecord::job_id`].
pub fn job_id(sequence: u64) -> String {
    format!("c{sequence}")
}

/// The sequence that a [`job_id`] stands for.
pub fn sequence_of(job_id: &str) -> Option<u64> {
    let digits = job_id.strip_prefix('c')?;
    let sequence = digits.parse().ok()?;
    // Neither `c+7` nor `c007`.
    (self::job_id(sequence) == job_id).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_is_the_sequence_in_one_spelling() {
        assert_eq!(sequence_of(&job_id(17)), Some(17));
        for other in ["17", "c", "c+7", "c007", "c-1", "worker.1", "c99999999999999999999"] {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }
}
