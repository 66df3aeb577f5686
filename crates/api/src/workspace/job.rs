//! Jobs: commands that run, or were begun to go on without their caller. Any process of the user can follow them.

use serde::{Deserialize, Serialize};

use super::{
    command::{CommandRecord, CommandRef, DEFAULT_OUTPUT_BYTES, LOG_OUTPUT_BYTES, LogEntry},
    identity::WorkspaceRef,
    view::tokens,
};
use crate::{check::within, error::ErrorBody};

/// Asks for the jobs: commands that run, and detached ones that have ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobListRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Only those that run.
    #[serde(default)]
    pub running: bool,
}

/// Jobs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobList {
    /// Whose.
    pub workspace_id: String,
    /// How many are listed.
    pub count: u64,
    /// How many of the workspace's commands run.
    pub running_count: u64,
    /// In order of their numbers, at most the newest 1,000.
    pub jobs: Vec<CommandRecord>,
}

/// Waits until a command ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobWaitRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    #[serde(alias = "job_id", alias = "sequence", alias = "command")]
    pub job: CommandRef,
    /// Wait at most this long; then the result says that it runs on, and it does. As long as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Whether its output is wanted too, as frames, while it comes.
    #[serde(default)]
    pub follow: bool,
    /// With `follow`, the first byte of standard output that is wanted.
    #[serde(default)]
    pub stdout_from: u64,
    /// With `follow`, the first byte of standard error that is wanted.
    #[serde(default)]
    pub stderr_from: u64,
}

/// Asks for the end of a command's output. That is no use of the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobLogsRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    #[serde(alias = "job_id", alias = "sequence", alias = "command")]
    pub job: CommandRef,
    /// At most so much of each stream, the last bytes, within [`LOG_OUTPUT_BYTES`].
    #[serde(default = "default_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LOG_OUTPUT_BYTES.start(), max = *LOG_OUTPUT_BYTES.end())))]
    pub max_bytes: u64,
}

fn default_bytes() -> u64 {
    DEFAULT_OUTPUT_BYTES
}

impl JobLogsRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("max_bytes", self.max_bytes, &LOG_OUTPUT_BYTES)
    }
}

/// A command with the end of its output.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobLogs {
    /// Whose.
    pub workspace_id: String,
    /// The command.
    #[serde(flatten)]
    pub entry: LogEntry,
}

/// Sends a signal to a command and all that it started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobKillRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    #[serde(alias = "job_id", alias = "sequence", alias = "command")]
    pub job: CommandRef,
    /// Which signal.
    #[serde(default = "default_signal")]
    pub signal: JobSignal,
}

fn default_signal() -> JobSignal {
    JobSignal::Term
}

tokens! {
    /// A signal that jobs can be sent.
    JobSignal {
        /// Hang-up.
        Hup = "HUP",
        /// Interruption, as Ctrl-C.
        Int = "INT",
        /// Request to end.
        Term = "TERM",
        /// The end.
        Kill = "KILL",
    }
}

/// A signal was sent, or there was nobody to take it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobKilled {
    /// Whose.
    pub workspace_id: String,
    /// Which signal was asked for; what ended the command, if one did, is in `signal`.
    pub sent_signal: JobSignal,
    /// Whether the command ran. If not, nothing was sent.
    pub signalled: bool,
    /// The command, as it is right after.
    #[serde(flatten)]
    pub record: CommandRecord,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_asked_for_by_any_of_their_names() {
        for json in [
            r#"{"workspace":"a","job":"c1"}"#,
            r#"{"workspace_id":"a","job_id":"c1"}"#,
            r#"{"workspace":"a","sequence":1}"#,
        ] {
            let wait: JobWaitRequest = serde_json::from_str(json).unwrap();
            assert_eq!((wait.job, wait.follow, wait.timeout_seconds), (CommandRef(1), false, None));
            let kill: JobKillRequest = serde_json::from_str(json).unwrap();
            assert_eq!(kill.signal, JobSignal::Term);
            let logs: JobLogsRequest = serde_json::from_str(json).unwrap();
            assert!(logs.check().is_ok());
            assert!(JobLogsRequest { max_bytes: 1 << 30, ..logs }.check().is_err());
        }
        let json = r#"{"workspace":"a","job":"c1","signal":"STOP"}"#;
        assert!(serde_json::from_str::<JobKillRequest>(json).is_err());
        assert!(serde_json::from_str::<JobListRequest>(r#"{"workspace":"a","all":true}"#).is_err());
    }
}
