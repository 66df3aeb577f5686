//! `workspace_summary`: what happened in a workspace, in few words: since it was made, or since an earlier summary.

use std::{fmt, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    command::{CommandRef, CommandState},
    identity::WorkspaceRef,
    patch::ChangeStatus,
    view::WorkspaceState,
};
use crate::{
    check::{invalid, within},
    error::ErrorBody,
    text::ByteString,
};

/// Characters that a summary may have.
pub const SUMMARY_CHARS: RangeInclusive<u64> = 700..=20_000;
/// Characters of a summary when nothing is said.
pub const DEFAULT_SUMMARY_CHARS: u64 = 4000;

/// A moment in the life of a workspace: after a command, and, if it is an earlier summary's `cursor`, at a time.
/// Written `c7`, `7`, or as a cursor was given, `c7@1732812345678`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(into = "String")]
pub struct Since {
    /// Commands with a greater number came after it. 0: all did.
    pub sequence: u64,
    /// The time, milliseconds since 1970. None: when that command ended, or, if it runs, began.
    pub at_ms: Option<u64>,
}

impl Since {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, ErrorBody> {
        let refuse = || {
            invalid(format!("{text:?} is no moment of a workspace"))
                .with_hint("give the cursor of an earlier summary, or a command's job id such as c7")
        };
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let (command, at) = match text.trim().split_once('@') {
            Some((command, at)) => (command, Some(at)),
            None => (text.trim(), None),
        };
        let command = command.strip_prefix('c').unwrap_or(command);
        if !is_number(command) || !at.is_none_or(is_number) {
            return Err(refuse());
        }
        let sequence = command.parse().map_err(|_| refuse())?;
        let at_ms = at.map(str::parse).transpose().map_err(|_| refuse())?;
        Ok(Self { sequence, at_ms })
    }

    /// The command whose time is meant, if no other is said.
    pub fn command(self) -> Option<CommandRef> {
        (self.at_ms.is_none() && self.sequence > 0).then_some(CommandRef(self.sequence))
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at_ms {
            Some(at_ms) => write!(f, "c{}@{at_ms}", self.sequence),
            None => write!(f, "c{}", self.sequence),
        }
    }
}

impl std::str::FromStr for Since {
    type Err = ErrorBody;

    fn from_str(text: &str) -> Result<Self, ErrorBody> {
        Self::parse(text)
    }
}

impl From<Since> for String {
    fn from(since: Since) -> Self {
        since.to_string()
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected the cursor of a summary, or the number of a command")]
        enum NumberOrText {
            Number(u64),
            Text(String),
        }
        match NumberOrText::deserialize(deserializer)? {
            NumberOrText::Number(sequence) => Ok(Self { sequence, at_ms: None }),
            NumberOrText::Text(text) => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

/// Asks what happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceSummaryRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Only what came after this: the `cursor` of an earlier summary, or a command. Everything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// At most so many characters of JSON, within [`SUMMARY_CHARS`]; counts stay, lists get shorter.
    #[serde(default = "default_chars")]
    #[cfg_attr(feature = "schema", schemars(range(min = *SUMMARY_CHARS.start(), max = *SUMMARY_CHARS.end())))]
    pub max_chars: u64,
}

fn default_chars() -> u64 {
    DEFAULT_SUMMARY_CHARS
}

impl WorkspaceSummaryRequest {
    /// A request with the defaults.
    pub fn new(workspace: WorkspaceRef) -> Self {
        Self { workspace, since: None, max_chars: DEFAULT_SUMMARY_CHARS }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("max_chars", self.max_chars, &SUMMARY_CHARS)
    }
}

/// What happened. What there is none of is absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceSummary {
    /// Where.
    pub workspace_id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether there is a machine.
    pub state: WorkspaceState,
    /// Give it as `since` to hear only what comes from now on.
    pub cursor: Since,
    /// Commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<SummaryCounts>,
    /// Commands that failed, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<SummaryCommand>,
    /// Commands that run now, whenever they began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<SummaryCommand>,
    /// Files that are otherwise than the seed was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<SummaryFiles>,
    /// What could not be said, or has no room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How many commands, and how they ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SummaryCounts {
    /// Those that began or ended in that time.
    pub total: u64,
    /// Those of them that ended otherwise than with exit code 0.
    pub failed: u64,
    /// Those of them that still run.
    pub running: u64,
}

/// A command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SummaryCommand {
    /// The job that it is.
    pub job_id: String,
    /// Its beginning, secrets hidden.
    pub command: String,
    /// What became of it.
    pub state: CommandState,
    /// Its exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Whether the timeout ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// How long it ran, or has run up to now.
    pub duration_ms: u64,
    /// Of a failure, the end of what it wrote: of standard error, or of standard output if that is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_end: Option<String>,
}

/// Files that changed. With `since`, those that are there count if they were modified since, and those that are gone
/// always do, since nothing says when they went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SummaryFiles {
    /// All of them.
    pub total: u64,
    /// New ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub added: u64,
    /// Those with other content, another mode, type or name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub modified: u64,
    /// Those that are gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
    /// The last modified first, as many as there is room for.
    pub first: Vec<SummaryFile>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A file that changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SummaryFile {
    /// Relative to `/workspace`.
    pub path: ByteString,
    /// How it changed.
    pub status: ChangeStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        for text in ["c0", "c7", "c7@1732812345678"] {
            assert_eq!(Since::parse(text).unwrap().to_string(), text);
        }
        let since = |json: &str| serde_json::from_str::<Since>(json);
        assert_eq!(since("7").unwrap(), Since { sequence: 7, at_ms: None });
        assert_eq!(since("\" 7 \"").unwrap(), Since { sequence: 7, at_ms: None });
        for bad in ["\"\"", "\"c\"", "\"c-7\"", "\"c+7\"", "\"c7@\"", "\"@1\"", "\"c7@1@2\"", "-1", "null"] {
            assert!(since(bad).is_err(), "{bad}");
        }
        assert!(since("\"c99999999999999999999\"").is_err());
        assert_eq!(Since::parse("c7").unwrap().command(), Some(CommandRef(7)));
        assert_eq!(Since::parse("c7@5").unwrap().command(), None);
    }

    #[test]
    fn what_there_is_none_of_is_absent() {
        let summary = WorkspaceSummary {
            workspace_id: "0123456789ab".to_owned(),
            name: None,
            state: WorkspaceState::Started,
            cursor: Since { sequence: 0, at_ms: Some(5) },
            commands: None,
            failures: Vec::new(),
            running: Vec::new(),
            files: None,
            notes: Vec::new(),
        };
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(json, r#"{"workspace_id":"0123456789ab","state":"started","cursor":"c0@5"}"#);
        assert_eq!(serde_json::from_str::<WorkspaceSummary>(&json).unwrap(), summary);
    }

    #[test]
    fn a_summary_has_a_bound() {
        let read: WorkspaceSummaryRequest = serde_json::from_str(r#"{"workspace_id":"a"}"#).unwrap();
        assert_eq!(read, WorkspaceSummaryRequest::new(WorkspaceRef::new("a").unwrap()));
        assert!(read.check().is_ok());
        for bad in [0, 699, 20_001] {
            assert!(WorkspaceSummaryRequest { max_chars: bad, ..read.clone() }.check().is_err(), "{bad}");
        }
    }
}
