//! The history of a workspace's commands, and their output, which can be read in parts.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize};

use super::{identity::WorkspaceRef, view::tokens};
use crate::{
    check::{invalid, within},
    error::ErrorBody,
    run::CapturedOutput,
    text::ByteString,
};

/// Entries of one page of the history.
pub const LOG_PAGE_SIZES: RangeInclusive<u64> = 1..=1000;
/// Entries of a page when nothing is said.
pub const DEFAULT_LOG_LIMIT: u64 = 100;
/// Bytes of each stream that one entry of the history may hold.
pub const LOG_OUTPUT_BYTES: RangeInclusive<u64> = 0..=1 << 20;
/// Bytes of each stream in an entry of the history when nothing is said: the last ones.
pub const DEFAULT_LOG_OUTPUT_BYTES: u64 = 64 << 10;
/// Bytes of one piece of output.
pub const OUTPUT_BYTES: RangeInclusive<u64> = 1..=1 << 20;
/// Bytes of one piece of output when nothing is said.
pub const DEFAULT_OUTPUT_BYTES: u64 = 64 << 10;
/// Output that one answer holds at most, all entries together. Each stream gets at most half of what is left, the newest
/// command first (with `after` the oldest); the rest is cut, or empty, and says so as `stdout_truncated`.
pub const MAX_OUTPUT_BYTES_OF_ANSWER: u64 = 2 << 20;

const MAX_PATTERN_BYTES: usize = 4096;

tokens! {
    /// What became of a command.
    CommandState {
        /// It is on record, and the guest is being asked.
        Starting = "starting",
        /// It runs.
        Running = "running",
        /// It ended, and how is known.
        Finished = "finished",
        /// It never ran.
        NeverStarted = "never_started",
        /// It may have run; its machine was lost before anybody knew more.
        Unknown = "unknown",
    }
    /// One of the two outputs.
    OutputStream {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
    /// How bytes stand in JSON.
    Encoding {
        /// As text.
        Utf8 = "utf-8",
        /// As base64.
        Base64 = "base64",
    }
    /// How bytes shall stand in JSON.
    WantedEncoding {
        /// As text if they are UTF-8, else as base64.
        Auto = "auto",
        /// As text, with replacement characters where they are no UTF-8.
        Utf8 = "utf-8",
        /// As base64.
        Base64 = "base64",
    }
}

impl CommandState {
    /// Whether the command may still do something.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }
}

/// Names a command: its sequence number (a number in JSON, or text), or its job id (`c` and that number).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(into = "String")]
pub struct CommandRef(pub u64);

impl CommandRef {
    /// Reads `7` and `c7`.
    pub fn parse(text: &str) -> Result<Self, ErrorBody> {
        let digits = text.trim();
        let digits = digits.strip_prefix('c').unwrap_or(digits);
        let number = digits.parse().ok().filter(|number| *number > 0 && !digits.starts_with('+'));
        number.map(Self).ok_or_else(|| {
            invalid(format!("{text:?} names no command"))
                .with_hint("give its number, or its job id such as c7")
        })
    }
}

impl fmt::Display for CommandRef {
    /// The job id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl std::str::FromStr for CommandRef {
    type Err = ErrorBody;

    fn from_str(text: &str) -> Result<Self, ErrorBody> {
        Self::parse(text)
    }
}

impl From<CommandRef> for String {
    fn from(command: CommandRef) -> Self {
        command.to_string()
    }
}

impl<'de> Deserialize<'de> for CommandRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected the number of a command, or its job id")]
        enum NumberOrText {
            Number(u64),
            Text(String),
        }
        let text = match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(number) => number.to_string(),
            NumberOrText::Text(text) => text,
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A command on record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandRecord {
    /// Its number in the workspace, from 1.
    pub sequence: u64,
    /// The job that it is.
    pub job_id: String,
    /// The command as one line, secrets hidden.
    pub command: String,
    /// Working directory.
    pub cwd: ByteString,
    /// Account, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment variables that it was given, secrets hidden.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, ByteString>,
    /// What became of it.
    pub state: CommandState,
    /// Its exit status, as in [`ExecReport`](super::exec::ExecReport); null while it runs, and when nobody knows.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the timeout ended it.
    pub timed_out: bool,
    /// Whether the guest ran out of memory meanwhile.
    pub out_of_memory: bool,
    /// Whether it was begun to go on without its caller.
    pub detached: bool,
    /// Whether it ran when the snapshot was taken that the workspace went on from, or was forked from. What it had written before
    /// is not kept here, and no key names it.
    #[serde(default)]
    pub restored: bool,
    /// What else is to be known of it, as that its input broke off; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The idempotency key that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Seconds that it may run; null: no bound.
    pub timeout_seconds: Option<u64>,
    /// How long it ran, or has run up to now.
    pub duration_ms: u64,
    /// How it was run.
    pub execution_mode: String,
    /// When it was put on record.
    pub recorded_at: f64,
    /// When it ended.
    pub ended_at: Option<f64>,
    /// Name of the file of its standard output, `NNNNNN.stdout`.
    pub stdout_file: String,
    /// Name of the file of its standard error, `NNNNNN.stderr`.
    pub stderr_file: String,
    /// All bytes of standard output.
    pub stdout_bytes: u64,
    /// All bytes of standard error.
    pub stderr_bytes: u64,
    /// Bytes of standard output that are not kept any more, for the quota.
    pub stdout_dropped_bytes: u64,
    /// Bytes of standard error that are not kept any more, for the quota.
    pub stderr_dropped_bytes: u64,
}

/// A command of the history with the end of its output.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogEntry {
    /// The command.
    #[serde(flatten)]
    pub record: CommandRecord,
    /// What it wrote: at most `max_output_bytes` of each stream, the last ones, and less where
    /// [`MAX_OUTPUT_BYTES_OF_ANSWER`] is used up. `workspace_output` has all. Empty unless output was asked for.
    #[serde(flatten)]
    pub output: CapturedOutput,
}

/// Asks for the history. That is no use of the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceLogsRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// At most so many commands, within [`LOG_PAGE_SIZES`], the newest that fit the rest of the request.
    #[serde(default = "defaults::log_limit")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LOG_PAGE_SIZES.start(), max = *LOG_PAGE_SIZES.end())))]
    pub limit: u64,
    /// Only commands before this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only commands after this number; then the oldest of them that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only commands that ended with another exit status than 0, or of which nobody knows how they ended.
    #[serde(default)]
    pub failed: bool,
    /// Whether their output is wanted too.
    #[serde(default = "defaults::yes")]
    pub with_output: bool,
    /// At most so much of each stream of each command, within [`LOG_OUTPUT_BYTES`].
    #[serde(default = "defaults::log_output_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LOG_OUTPUT_BYTES.start(), max = *LOG_OUTPUT_BYTES.end())))]
    pub max_output_bytes: u64,
}

mod defaults {
    pub(super) fn log_limit() -> u64 {
        super::DEFAULT_LOG_LIMIT
    }
    pub(super) fn log_output_bytes() -> u64 {
        super::DEFAULT_LOG_OUTPUT_BYTES
    }
    pub(super) fn output_bytes() -> u64 {
        super::DEFAULT_OUTPUT_BYTES
    }
    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn stdout() -> super::OutputStream {
        super::OutputStream::Stdout
    }
    pub(super) fn auto() -> super::WantedEncoding {
        super::WantedEncoding::Auto
    }
}

impl WorkspaceLogsRequest {
    /// A request with the defaults.
    pub fn new(workspace: WorkspaceRef) -> Self {
        Self {
            workspace,
            limit: DEFAULT_LOG_LIMIT,
            before: None,
            after: None,
            failed: false,
            with_output: true,
            max_output_bytes: DEFAULT_LOG_OUTPUT_BYTES,
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("limit", self.limit, &LOG_PAGE_SIZES)?;
        within("max_output_bytes", self.max_output_bytes, &LOG_OUTPUT_BYTES)?;
        if self.before.is_some() && self.after.is_some() {
            return Err(invalid("before and after exclude each other"));
        }
        Ok(())
    }
}

/// A page of the history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceLogs {
    /// Whose.
    pub workspace_id: String,
    /// How many commands are on this page.
    pub count: u64,
    /// How many commands the workspace has on record; with `failed`, how many of those failed.
    pub total_count: u64,
    /// In order of their numbers.
    pub entries: Vec<LogEntry>,
    /// There are older ones: ask for them with this as `before`.
    pub next_before: Option<u64>,
    /// There are newer ones: ask for them with this as `after`.
    pub next_after: Option<u64>,
}

/// Asks for a part of one command's output. That is no use of the workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceOutputRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which command.
    #[serde(alias = "sequence", alias = "job_id", alias = "job")]
    pub command: CommandRef,
    /// Which of its outputs.
    #[serde(default = "defaults::stdout")]
    pub stream: OutputStream,
    /// First line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_line: Option<u64>,
    /// First byte, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_byte: Option<u64>,
    /// The last so many lines; with `grep`, the last so many that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// At most so many lines; with `grep`, so many that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Only lines that match this regular expression, as [`OutputPiece::matches`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<String>,
    /// For `grep`, case does not matter.
    #[serde(default)]
    pub ignore_case: bool,
    /// At most so many bytes, within [`OUTPUT_BYTES`].
    #[serde(default = "defaults::output_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *OUTPUT_BYTES.start(), max = *OUTPUT_BYTES.end())))]
    pub max_bytes: u64,
    /// How they shall stand in JSON.
    #[serde(default = "defaults::auto")]
    pub encoding: WantedEncoding,
}

impl WorkspaceOutputRequest {
    /// A request for the beginning of the standard output.
    pub fn new(workspace: WorkspaceRef, command: CommandRef) -> Self {
        Self {
            workspace,
            command,
            stream: OutputStream::Stdout,
            from_line: None,
            from_byte: None,
            tail: None,
            lines: None,
            grep: None,
            ignore_case: false,
            max_bytes: DEFAULT_OUTPUT_BYTES,
            encoding: WantedEncoding::Auto,
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("max_bytes", self.max_bytes, &OUTPUT_BYTES)?;
        let starts = [self.from_line.is_some(), self.from_byte.is_some(), self.tail.is_some()];
        if starts.iter().filter(|start| **start).count() > 1 {
            return Err(invalid("from_line, from_byte and tail exclude each other"));
        }
        if self.tail.is_some() && self.lines.is_some() {
            return Err(invalid("tail and lines exclude each other"));
        }
        if self.from_byte.is_some() && (self.lines.is_some() || self.grep.is_some()) {
            return Err(invalid("from_byte goes with neither lines nor grep"));
        }
        if self.from_line == Some(0) || self.lines == Some(0) || self.tail == Some(0) {
            return Err(invalid("lines are counted from 1"));
        }
        check_pattern("grep", self.grep.as_deref())
    }
}

/// A regular expression of a length that can be meant.
pub(crate) fn check_pattern(what: &str, pattern: Option<&str>) -> Result<(), ErrorBody> {
    if pattern.is_some_and(|pattern| pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES) {
        return Err(invalid(format!("{what} must have 1 to {MAX_PATTERN_BYTES} bytes")));
    }
    Ok(())
}

/// A part of one command's output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutputPiece {
    /// Whose.
    pub workspace_id: String,
    /// Which command.
    pub sequence: u64,
    /// The job that it is.
    pub job_id: String,
    /// Which output.
    pub stream: OutputStream,
    /// What became of the command; while it is live there may be more.
    pub state: CommandState,
    /// The bytes; empty with `grep`.
    pub content: String,
    /// How they stand in `content`.
    pub encoding: Encoding,
    /// Lines that match; only with `grep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Vec<OutputMatch>>,
    /// Number of the first line, from 1; null when it cannot be said, because earlier output was dropped.
    pub first_line: Option<u64>,
    /// Lines in this part, a last one without its end included.
    pub line_count: u64,
    /// Place of the first byte in the whole output.
    pub first_byte: u64,
    /// Place after the last byte that was looked at: the `from_byte` to go on with.
    pub next_byte: u64,
    /// All bytes of the output up to now.
    pub total_bytes: u64,
    /// How many of them are not kept any more, for the quota.
    pub dropped_bytes: u64,
    /// Whether there is more after this part.
    pub truncated: bool,
}

/// A line that matches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutputMatch {
    /// Its number, from 1; null when it cannot be said.
    pub line: Option<u64>,
    /// Place of its first byte in the whole output.
    pub byte: u64,
    /// Its text without the end of line, cut if it is very long.
    pub text: ByteString,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(json: &str) -> Result<WorkspaceOutputRequest, ErrorBody> {
        let request: WorkspaceOutputRequest =
            serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        request.check().map(|()| request)
    }

    #[test]
    fn commands_are_named_by_number_or_job() {
        for (json, number) in [("7", 7), ("\"7\"", 7), ("\"c7\"", 7), ("\" c12 \"", 12)] {
            assert_eq!(serde_json::from_str::<CommandRef>(json).unwrap(), CommandRef(number), "{json}");
        }
        for bad in ["0", "-1", "\"\"", "\"c\"", "\"cc1\"", "\"c+1\"", "\"7x\"", "1.5", "null"] {
            assert!(serde_json::from_str::<CommandRef>(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&CommandRef(7)).unwrap(), "\"c7\"");
    }

    #[test]
    fn output_is_asked_for_in_one_way() {
        let read = output(r#"{"workspace":"a","sequence":3}"#).unwrap();
        assert_eq!(read, WorkspaceOutputRequest::new(WorkspaceRef::new("a").unwrap(), CommandRef(3)));
        for good in [
            r#"{"workspace":"a","job_id":"c3","stream":"stderr","from_byte":0,"max_bytes":1048576}"#,
            r#"{"workspace":"a","command":3,"tail":5,"encoding":"base64"}"#,
            r#"{"workspace":"a","command":3,"grep":"error","ignore_case":true,"lines":1}"#,
            r#"{"workspace":"a","command":3,"grep":"error","tail":2}"#,
        ] {
            assert!(output(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"workspace":"a"}"#,
            r#"{"workspace":"a","command":3,"from_line":1,"from_byte":1}"#,
            r#"{"workspace":"a","command":3,"from_line":0}"#,
            r#"{"workspace":"a","command":3,"tail":2,"lines":1}"#,
            r#"{"workspace":"a","command":3,"from_byte":2,"lines":1}"#,
            r#"{"workspace":"a","command":3,"from_byte":2,"grep":"x"}"#,
            r#"{"workspace":"a","command":3,"max_bytes":0}"#,
            r#"{"workspace":"a","command":3,"max_bytes":1048577}"#,
            r#"{"workspace":"a","command":3,"grep":""}"#,
            r#"{"workspace":"a","command":3,"stream":"stdin"}"#,
            r#"{"workspace":"a","command":3,"line":1}"#,
        ] {
            assert!(output(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_history_is_asked_for_by_the_page() {
        let read: WorkspaceLogsRequest = serde_json::from_str(r#"{"workspace":"a"}"#).unwrap();
        let usual = WorkspaceLogsRequest::new(WorkspaceRef::new("a").unwrap());
        assert_eq!(read, usual);
        assert!(usual.check().is_ok());
        for bad in [
            WorkspaceLogsRequest { limit: 0, ..usual.clone() },
            WorkspaceLogsRequest { limit: 1001, ..usual.clone() },
            WorkspaceLogsRequest { max_output_bytes: 1 << 21, ..usual.clone() },
            WorkspaceLogsRequest { before: Some(5), after: Some(1), ..usual },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
