//! `workspace_exec`: a command in a workspace, at most once.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use super::{WORKSPACE_PATH, command::CommandState, identity::WorkspaceRef};
use crate::{
    check::{self, invalid, not_yet, within},
    error::ErrorBody,
    run::{CapturedOutput, Collected, CommandLine, DEFAULT_TIMEOUT_SECONDS},
    text::ByteString,
};

/// Timeouts that can be asked for, beside 0 for none: 1 s to 100 years.
pub const EXEC_TIMEOUTS_SECONDS: RangeInclusive<u64> = 1..=100 * 365 * 24 * 3600;

/// Most characters of an idempotency key.
pub const MAX_IDEMPOTENCY_KEY_CHARS: usize = 200;

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceExecRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// What: a string is a shell line, an array an argument vector.
    pub command: CommandLine,
    /// Working directory: absolute, or relative to `/workspace`, which it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<ByteString>,
    /// Environment variables for the command, added to the guest's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, ByteString>,
    /// Account in the guest by name or number; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether `Stdin` frames will follow. Without, the command reads an empty standard input.
    #[serde(default)]
    pub stdin: bool,
    /// The command is killed after this many seconds, with everything it started; within [`EXEC_TIMEOUTS_SECONDS`], or
    /// 0 for never. When absent: 30 s, and never with `detach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *EXEC_TIMEOUTS_SECONDS.end())))]
    pub timeout_seconds: Option<u64>,
    /// A text of the caller's choice for this one call. A second request with the same key and otherwise the same
    /// content runs nothing: it follows the running command, or gives the stored result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Without an idempotency key: follow a command of the same content that runs now, if there is one, instead of beginning
    /// another. Such a command goes on without its caller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach: bool,
    /// Answer as soon as the command runs. It goes on without the caller.
    #[serde(default)]
    pub detach: bool,
    /// Environment variables that hold secrets. A later release will do that; now it is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_env: BTreeMap<String, String>,
}

impl WorkspaceExecRequest {
    /// A request with the defaults.
    pub fn new(workspace: WorkspaceRef, command: CommandLine) -> Self {
        Self {
            workspace,
            command,
            cwd: None,
            env: BTreeMap::new(),
            user: None,
            stdin: false,
            timeout_seconds: None,
            idempotency_key: None,
            attach: false,
            detach: false,
            secret_env: BTreeMap::new(),
        }
    }

    /// The working directory in the guest, absolute.
    pub fn cwd_in_guest(&self) -> Vec<u8> {
        let workspace = WORKSPACE_PATH.as_bytes();
        match &self.cwd {
            None => workspace.to_vec(),
            Some(cwd) if cwd.0.starts_with(b"/") => cwd.0.clone(),
            Some(cwd) => [workspace, &cwd.0].join(&b'/'),
        }
    }

    /// How many seconds the command may run; none: without a bound.
    pub fn timeout(&self) -> Option<u64> {
        match (self.timeout_seconds, self.detach) {
            (None, false) => Some(DEFAULT_TIMEOUT_SECONDS),
            (None, true) | (Some(0), _) => None,
            (Some(seconds), _) => Some(seconds),
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.command.check()?;
        if self.cwd.as_ref().is_some_and(|cwd| cwd.0.is_empty() || cwd.0.contains(&0)) {
            return Err(invalid("cwd is no path"));
        }
        check::variables(&self.env)?;
        check::user(self.user.as_deref())?;
        if let Some(seconds) = self.timeout_seconds.filter(|seconds| *seconds != 0) {
            within("timeout_seconds (unless it is 0, for never)", seconds, &EXEC_TIMEOUTS_SECONDS)?;
        }
        self.idempotency_key.as_deref().map_or(Ok(()), check_key)?;
        if self.attach && self.stdin {
            return Err(invalid("a command that others may attach to has no standard input"));
        }
        if self.detach && self.stdin {
            return Err(invalid("a detached command has no standard input"));
        }
        if !self.secret_env.is_empty() {
            return Err(not_yet(
                "workspaces take no secrets in this release, so secret_env cannot be given",
                "run it without",
            ));
        }
        Ok(())
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), ErrorBody> {
    let length = key.chars().count();
    if length == 0 || length > MAX_IDEMPOTENCY_KEY_CHARS || key.contains(char::is_control) {
        return Err(invalid(format!(
            "idempotency_key must have 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters and no control characters"
        )));
    }
    Ok(())
}

/// What happens to a command, apart from its output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ExecEvent {
    /// It is on record and has a number; sent before any output.
    Started {
        /// Its number in the workspace.
        sequence: u64,
        /// The job to ask for when this connection breaks.
        job_id: String,
        /// Whether it was begun by an earlier request.
        attached: bool,
    },
}

/// How a command ended, or that it runs on; the result on the wire. Output went before it as frames.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecReport {
    /// Where it ran.
    pub workspace_id: String,
    /// The environment of the workspace.
    pub environment: String,
    /// That environment's version, as far as it has one.
    pub environment_version: Option<String>,
    /// The command as one line, secrets hidden.
    pub command: String,
    /// The command's exit status; 128 + n when signal n ended it; 124 when the timeout did; null while it runs, and
    /// when nobody knows.
    pub exit_code: Option<i32>,
    /// How long it ran, or has run up to now.
    pub duration_ms: u64,
    /// How it was run.
    pub execution_mode: String,
    /// Its number in the workspace, from 1.
    pub sequence: u64,
    /// Working directory.
    pub cwd: ByteString,
    /// The job that it is.
    pub job_id: String,
    /// Whether it has ended.
    pub state: CommandState,
    /// Whether it was begun by an earlier request: one with the same idempotency key, or one that this attached to.
    pub attached: bool,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// Whether the timeout ended the command. Its output up to then is complete.
    pub timed_out: bool,
    /// Whether the guest ran out of memory meanwhile.
    pub out_of_memory: bool,
    /// `kvm` or `emulated`, as measured.
    pub isolation: Option<String>,
    /// All bytes of standard output, also those that were not passed on.
    pub stdout_bytes: u64,
    /// All bytes of standard error, also those that were not passed on.
    pub stderr_bytes: u64,
    /// Bytes of standard output that are not kept any more, for the quota.
    #[serde(default)]
    pub stdout_dropped_bytes: u64,
    /// Bytes of standard error that are not kept any more, for the quota.
    #[serde(default)]
    pub stderr_dropped_bytes: u64,
}

/// A command with its output: what `pyro workspace exec --json` prints.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecResult {
    /// How it ended.
    #[serde(flatten)]
    pub report: ExecReport,
    /// What it wrote.
    #[serde(flatten)]
    pub output: CapturedOutput,
}

impl ExecResult {
    /// Joins a report and the output collected beside it.
    pub fn new(report: ExecReport, stdout: &Collected, stderr: &Collected) -> Self {
        Self { report, output: CapturedOutput::new(stdout, stderr) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn request() -> WorkspaceExecRequest {
        let workspace = WorkspaceRef::new("fix-42").unwrap();
        WorkspaceExecRequest::new(workspace, CommandLine::Shell("true".into()))
    }

    #[test]
    fn a_request_is_what_it_says() {
        let read: WorkspaceExecRequest =
            serde_json::from_str(r#"{"workspace_id":"fix-42","command":"true"}"#).unwrap();
        assert_eq!(read, request());
        assert!(read.check().is_ok());
        let json = r#"{"workspace":"fix-42","command":"true","timeout":1}"#;
        assert!(serde_json::from_str::<WorkspaceExecRequest>(json).is_err());
    }

    #[test]
    fn only_attached_commands_have_a_timeout_by_themselves() {
        let timeout =
            |timeout_seconds, detach| WorkspaceExecRequest { timeout_seconds, detach, ..request() }.timeout();
        assert_eq!(timeout(None, false), Some(30));
        assert_eq!(timeout(None, true), None);
        assert_eq!(timeout(Some(0), false), None);
        assert_eq!(timeout(Some(5), true), Some(5));
    }

    #[test]
    fn directories_are_below_the_workspace_unless_absolute() {
        let cwd = |cwd: Option<&str>| {
            let request = WorkspaceExecRequest { cwd: cwd.map(Into::into), ..request() };
            String::from_utf8(request.cwd_in_guest()).unwrap()
        };
        assert_eq!(cwd(None), "/workspace");
        assert_eq!(cwd(Some("/tmp")), "/tmp");
        assert_eq!(cwd(Some("src")), "/workspace/src");
    }

    #[test]
    fn nonsense_is_refused() {
        for (bad, code) in [
            (
                WorkspaceExecRequest { command: CommandLine::Shell(" ".into()), ..request() },
                ErrorCode::MissingCommand,
            ),
            (WorkspaceExecRequest { cwd: Some("".into()), ..request() }, ErrorCode::InvalidRequest),
            (WorkspaceExecRequest { timeout_seconds: Some(u64::MAX), ..request() }, ErrorCode::InvalidSize),
            (
                WorkspaceExecRequest { idempotency_key: Some(String::new()), ..request() },
                ErrorCode::InvalidRequest,
            ),
            (
                WorkspaceExecRequest { idempotency_key: Some("k".repeat(201)), ..request() },
                ErrorCode::InvalidRequest,
            ),
            (WorkspaceExecRequest { attach: true, stdin: true, ..request() }, ErrorCode::InvalidRequest),
            (WorkspaceExecRequest { detach: true, stdin: true, ..request() }, ErrorCode::InvalidRequest),
            (
                WorkspaceExecRequest { secret_env: [("A".into(), "B".into())].into(), ..request() },
                ErrorCode::NotYetSupported,
            ),
        ] {
            assert_eq!(bad.check().unwrap_err().code, code, "{bad:?}");
        }
    }
}
