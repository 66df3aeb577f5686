//! Finding paths and lines in a workspace.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{
    command::check_pattern,
    create::check_patterns,
    entry::FileEntry,
    files::{ENTRY_LIMITS, default_entry_limit},
    identity::WorkspaceRef,
    path::WorkspacePath,
};
use crate::{check::within, error::ErrorBody, text::ByteString};

/// Lines that one search may give.
pub const MATCH_LIMITS: RangeInclusive<u64> = 1..=10_000;
/// Lines that a search gives when nothing is said.
pub const DEFAULT_MATCH_LIMIT: u64 = 1000;
/// Lines before and after a match that can be asked for.
pub const CONTEXT_LINES: RangeInclusive<u32> = 0..=100;
/// Bytes of a line that are shown.
pub const LINE_BYTES: RangeInclusive<u32> = 1..=65_536;
/// Bytes of a line that are shown when nothing is said.
pub const DEFAULT_LINE_BYTES: u32 = 2000;

/// Finds paths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileGlobRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Over the path relative to `path`; `*` stays within a directory, `**` crosses them.
    pub pattern: String,
    /// Below which directory.
    #[serde(default)]
    pub path: WorkspacePath,
    /// At most so many entries, within [`ENTRY_LIMITS`].
    #[serde(default = "default_entry_limit")]
    #[cfg_attr(feature = "schema", schemars(range(min = *ENTRY_LIMITS.start(), max = *ENTRY_LIMITS.end())))]
    pub limit: u64,
    /// Leave out what `.gitignore` files name.
    #[serde(default)]
    pub respect_gitignore: bool,
    /// Leave out names that begin with a dot.
    #[serde(default)]
    pub skip_hidden: bool,
}

impl FileGlobRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("limit", self.limit, &ENTRY_LIMITS)?;
        check_pattern("pattern", Some(&self.pattern))?;
        self.path.check()
    }
}

/// Paths that were found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileGlob {
    /// Where.
    pub workspace_id: String,
    /// Below which directory, absolute in the guest.
    pub path: ByteString,
    /// As it was asked.
    pub pattern: String,
    /// How many there are here.
    pub count: u64,
    /// In order of their paths.
    pub entries: Vec<FileEntry>,
    /// Whether there are more.
    pub truncated: bool,
    /// What could not be looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How it was done.
    pub execution_mode: String,
}

/// Finds lines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileGrepRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Regular expression, or a plain text with `fixed`.
    pub pattern: String,
    /// Below which directory, or in which file.
    #[serde(default)]
    pub path: WorkspacePath,
    /// The pattern is a plain text.
    #[serde(default)]
    pub fixed: bool,
    /// Case does not matter.
    #[serde(default)]
    pub ignore_case: bool,
    /// Only in files whose path relative to `path` matches one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Lines shown before and after, within [`CONTEXT_LINES`].
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = *CONTEXT_LINES.start(), max = *CONTEXT_LINES.end())))]
    pub context: u32,
    /// At most so many lines, within [`MATCH_LIMITS`].
    #[serde(default = "default_match_limit")]
    #[cfg_attr(feature = "schema", schemars(range(min = *MATCH_LIMITS.start(), max = *MATCH_LIMITS.end())))]
    pub limit: u64,
    /// At most so many bytes of each line, within [`LINE_BYTES`].
    #[serde(default = "default_line_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *LINE_BYTES.start(), max = *LINE_BYTES.end())))]
    pub max_line_bytes: u32,
    /// Leave out what `.gitignore` files name.
    #[serde(default)]
    pub respect_gitignore: bool,
    /// Only the names of the files, each with how many lines match.
    #[serde(default)]
    pub names_only: bool,
}

fn default_match_limit() -> u64 {
    DEFAULT_MATCH_LIMIT
}

fn default_line_bytes() -> u32 {
    DEFAULT_LINE_BYTES
}

impl FileGrepRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("limit", self.limit, &MATCH_LIMITS)?;
        within("context", self.context, &CONTEXT_LINES)?;
        within("max_line_bytes", self.max_line_bytes, &LINE_BYTES)?;
        check_pattern("pattern", Some(&self.pattern))?;
        check_patterns("include", &self.include)?;
        self.path.check()
    }
}

/// Lines that were found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileGrep {
    /// Where.
    pub workspace_id: String,
    /// Below which directory, or in which file, absolute in the guest.
    pub path: ByteString,
    /// As it was asked.
    pub pattern: String,
    /// How many lines match, or with `names_only` how many files, as far as they are listed.
    pub count: u64,
    /// In order of path and line.
    pub matches: Vec<FileMatch>,
    /// Whether there are more.
    pub truncated: bool,
    /// What could not be looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How it was done.
    pub execution_mode: String,
}

/// A line that matches, one beside it, or a file with `names_only`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileMatch {
    /// The file, absolute in the guest.
    pub path: ByteString,
    /// Number of the line, from 1; absent with `names_only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Its text without the end of line, cut if it is very long; absent with `names_only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<ByteString>,
    /// Whether it only stands beside a match.
    #[serde(default)]
    pub is_context: bool,
    /// How many lines of the file match; only with `names_only`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_have_limits() {
        let grep = |json: &str| serde_json::from_str::<FileGrepRequest>(json).unwrap().check();
        assert!(grep(r#"{"workspace":"a","pattern":"x"}"#).is_ok());
        for bad in [
            r#"{"workspace":"a","pattern":""}"#,
            r#"{"workspace":"a","pattern":"x","limit":0}"#,
            r#"{"workspace":"a","pattern":"x","context":101}"#,
            r#"{"workspace":"a","pattern":"x","max_line_bytes":0}"#,
            r#"{"workspace":"a","pattern":"x","path":"/"}"#,
            r#"{"workspace":"a","pattern":"x","include":[""]}"#,
        ] {
            assert!(grep(bad).is_err(), "{bad}");
        }
        let glob: FileGlobRequest = serde_json::from_str(r#"{"workspace":"a","pattern":"**/*.rs"}"#).unwrap();
        assert!(glob.check().is_ok());
        assert!(FileGlobRequest { limit: 100_000, ..glob }.check().is_err());
        assert!(
            serde_json::from_str::<FileGrepRequest>(r#"{"workspace":"a","pattern":"x","i":true}"#).is_err()
        );
    }
}
