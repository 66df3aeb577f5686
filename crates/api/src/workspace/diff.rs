//! `workspace_diff`: what became of the files of a workspace.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    entry::{ArtifactType, FileMode},
    identity::WorkspaceRef,
    patch::ChangeStatus,
    path::WorkspacePath,
};
use crate::{
    check::{invalid, within},
    error::ErrorBody,
    text::ByteString,
};

/// Bytes of patch that one answer may hold.
pub const DIFF_BYTES: RangeInclusive<u64> = 1..=2 << 20;
/// Bytes of patch when nothing is said: as many as may be.
pub const DEFAULT_DIFF_BYTES: u64 = 2 << 20;
/// Lines of context that can be asked for.
pub const DIFF_CONTEXT_LINES: RangeInclusive<u32> = 0..=1000;

const MAX_PATHS: usize = 1000;

const BASELINE: &str = "baseline";
const HOST: &str = "host";

/// What a workspace is compared with: `baseline`, `host`, or another workspace by its id or name. One that has one of these two
/// words for a name is reached by its id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Against {
    /// What it was filled with when it was made.
    Baseline,
    /// The directory on the host that it was filled from, as it is now.
    Host,
    /// The files of another one, as they are now.
    Workspace(WorkspaceRef),
}

impl Against {
    /// A workspace and nothing else: of one that is called like something else only the id will do.
    pub fn workspace(reference: &WorkspaceRef) -> Result<Self, ErrorBody> {
        match reference.as_str().parse()? {
            Self::Baseline | Self::Host => {
                Err(invalid(format!("`{reference}` is not only a name; give the id of the workspace")))
            }
            workspace => Ok(workspace),
        }
    }
}

impl FromStr for Against {
    type Err = ErrorBody;

    fn from_str(text: &str) -> Result<Self, ErrorBody> {
        match text.trim() {
            BASELINE => Ok(Self::Baseline),
            HOST => Ok(Self::Host),
            reference => WorkspaceRef::new(reference).map(Self::Workspace),
        }
    }
}

impl TryFrom<String> for Against {
    type Error = ErrorBody;

    fn try_from(text: String) -> Result<Self, ErrorBody> {
        text.parse()
    }
}

impl From<Against> for String {
    fn from(against: Against) -> Self {
        against.to_string()
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => BASELINE,
            Self::Host => HOST,
            Self::Workspace(reference) => reference.as_str(),
        })
    }
}

/// Asks what changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceDiffRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Compared with what: `baseline`, `host`, or another workspace by its id or name. Told is what would make that like this one.
    #[serde(default = "baseline")]
    pub against: Against,
    /// Only these paths and what is below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<WorkspacePath>,
    /// Count lines instead of giving the patch.
    #[serde(default)]
    pub stat: bool,
    /// Give only what changed, no patch and no counts.
    #[serde(default)]
    pub name_only: bool,
    /// At most so much patch, within [`DIFF_BYTES`]; what does not fit is named in `left_out`.
    #[serde(default = "default_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *DIFF_BYTES.start(), max = *DIFF_BYTES.end())))]
    pub max_bytes: u64,
    /// Lines of context, within [`DIFF_CONTEXT_LINES`]; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = *DIFF_CONTEXT_LINES.start(), max = *DIFF_CONTEXT_LINES.end())))]
    pub context: Option<u32>,
    /// Do not look for renames: they are a deletion and an addition then.
    #[serde(default)]
    pub no_renames: bool,
}

fn baseline() -> Against {
    Against::Baseline
}

fn default_bytes() -> u64 {
    DEFAULT_DIFF_BYTES
}

impl WorkspaceDiffRequest {
    /// A request with the defaults.
    pub fn new(workspace: WorkspaceRef) -> Self {
        Self {
            workspace,
            against: Against::Baseline,
            paths: Vec::new(),
            stat: false,
            name_only: false,
            max_bytes: DEFAULT_DIFF_BYTES,
            context: None,
            no_renames: false,
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("max_bytes", self.max_bytes, &DIFF_BYTES)?;
        self.context.map_or(Ok(()), |context| within("context", context, &DIFF_CONTEXT_LINES))?;
        if self.stat && self.name_only {
            return Err(invalid("stat and name_only exclude each other"));
        }
        if self.paths.len() > MAX_PATHS {
            return Err(invalid(format!("more than {MAX_PATHS} paths")));
        }
        self.paths.iter().try_for_each(WorkspacePath::check)
    }
}

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceDiff {
    /// Where.
    pub workspace_id: String,
    /// Compared with what; of a workspace its id.
    pub against: Against,
    /// Whether anything changed.
    pub changed: bool,
    /// How many paths changed and how.
    pub summary: DiffSummary,
    /// In order of their paths.
    pub entries: Vec<DiffEntry>,
    /// The patch, as `git apply` takes it: the text of all entries that have one.
    pub patch: ByteString,
    /// Paths whose text was left out because of `max_bytes`. `workspace_export` as patch has all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<ByteString>,
    /// What is worth a word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How many paths changed and how.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiffSummary {
    /// All.
    pub total: u64,
    /// New.
    pub added: u64,
    /// Other content, mode or target.
    pub modified: u64,
    /// Gone.
    pub deleted: u64,
    /// Another type.
    pub type_changed: u64,
    /// Another name.
    pub renamed: u64,
    /// With a text in the patch.
    pub text_patched: u64,
    /// Without one: binary files, directories.
    pub non_text: u64,
    /// Lines added, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_lines: Option<u64>,
    /// Lines removed, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_lines: Option<u64>,
}

/// A path that changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiffEntry {
    /// Relative to `/workspace`.
    pub path: ByteString,
    /// How it changed.
    pub status: ChangeStatus,
    /// What it is now; what it was, if it is gone.
    pub artifact_type: ArtifactType,
    /// Its part of the patch; null if it has none.
    pub text_patch: Option<ByteString>,
    /// The path before, if it has another name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<ByteString>,
    /// Whether either side is binary.
    #[serde(default)]
    pub binary: bool,
    /// Lines added, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_lines: Option<u64>,
    /// Lines removed, where they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_lines: Option<u64>,
    /// What was there; null: nothing.
    pub old: Option<DiffSide>,
    /// What is there; null: nothing.
    pub new: Option<DiffSide>,
}

/// One side of a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiffSide {
    /// What it is.
    pub artifact_type: ArtifactType,
    /// Permission bits.
    pub mode: FileMode,
    /// Size of a file; 0 for everything else.
    pub size_bytes: u64,
    /// SHA-256 of the content of a binary file, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_asked_for_in_one_way() {
        let diff = |json: &str| serde_json::from_str::<WorkspaceDiffRequest>(json).ok()?.check().ok();
        let usual: WorkspaceDiffRequest = serde_json::from_str(r#"{"workspace_id":"a"}"#).unwrap();
        assert_eq!(usual, WorkspaceDiffRequest::new(WorkspaceRef::new("a").unwrap()));
        assert!(usual.check().is_ok());
        assert!(diff(r#"{"workspace":"a","against":"host","paths":["src"],"stat":true}"#).is_some());
        assert!(diff(r#"{"workspace":"a","against":"b"}"#).is_some());
        for against in ["baseline", "host", "try-2"] {
            let read: Against = against.parse().unwrap();
            assert_eq!(matches!(read, Against::Workspace(_)), against == "try-2");
            assert_eq!(serde_json::to_value(&read).unwrap(), against);
            let named = Against::workspace(&WorkspaceRef::new(against).unwrap());
            assert_eq!(named.is_ok(), against == "try-2");
        }
        for bad in [
            r#"{"workspace":"a","against":""}"#,
            r#"{"workspace":"a","against":7}"#,
            r#"{"workspace":"a","stat":true,"name_only":true}"#,
            r#"{"workspace":"a","paths":["../x"]}"#,
            r#"{"workspace":"a","max_bytes":0}"#,
            r#"{"workspace":"a","max_bytes":4194304}"#,
            r#"{"workspace":"a","names_only":true}"#,
        ] {
            assert!(diff(bad).is_none(), "{bad}");
        }
    }
}
