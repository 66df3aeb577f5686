//! `workspace_patch_apply`: a patch on the files of a workspace, all of it or nothing.

use serde::{Deserialize, Serialize};

use super::{identity::WorkspaceRef, view::tokens};
use crate::{
    check::invalid,
    error::{ErrorBody, ErrorCode},
    text::ByteString,
};

/// Longest patch.
pub const MAX_PATCH_BYTES: usize = 1 << 20;

/// Applies a patch as `git diff` and `diff -u` write them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PatchApplyRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// The patch, at most [`MAX_PATCH_BYTES`].
    pub patch: ByteString,
    /// Only says what would happen.
    #[serde(default)]
    pub check: bool,
    /// Applies it backwards.
    #[serde(default)]
    pub reverse: bool,
}

impl PatchApplyRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        if self.patch.0.iter().all(u8::is_ascii_whitespace) {
            return Err(invalid("patch is blank"));
        }
        if self.patch.0.len() > MAX_PATCH_BYTES {
            let error = format!("patch is longer than {MAX_PATCH_BYTES} bytes");
            return Err(ErrorBody::new(ErrorCode::FileTooLarge, error).with_hint("apply it in parts"));
        }
        Ok(())
    }
}

tokens! {
    /// How a path changed.
    ChangeStatus {
        /// It is new.
        Added = "added",
        /// It has other content, another mode or another target.
        Modified = "modified",
        /// It is gone.
        Deleted = "deleted",
        /// It is something of another type.
        TypeChanged = "type_changed",
        /// It has another name.
        Renamed = "renamed",
        /// It is a copy of another path.
        Copied = "copied",
    }
}

/// A patch was applied, or would apply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchResult {
    /// Where.
    pub workspace_id: String,
    /// Whether anything changed; with `check`, would change.
    pub changed: bool,
    /// How many files changed and how.
    pub summary: PatchSummary,
    /// In the order of the patch.
    pub entries: Vec<PatchedFile>,
    /// The patch as it was given.
    pub patch: ByteString,
    /// How it was done.
    pub execution_mode: String,
    /// Whether it was only tried.
    pub checked_only: bool,
}

/// How many files changed and how.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchSummary {
    /// All.
    pub total: u64,
    /// New ones, copies included.
    pub added: u64,
    /// Other content or mode.
    pub modified: u64,
    /// Gone.
    pub deleted: u64,
    /// Another name.
    pub renamed: u64,
}

/// A file of a patch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchedFile {
    /// Absolute in the guest.
    pub path: ByteString,
    /// How it changed.
    pub status: ChangeStatus,
    /// Of a rename or a copy, the path before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<ByteString>,
    /// Parts that applied elsewhere than they said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shifted: Vec<ShiftedHunk>,
}

/// A part of a patch that applied elsewhere than it said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShiftedHunk {
    /// Its number in the file, from 1.
    pub hunk: u64,
    /// The line where it applied.
    pub line: u64,
    /// How many lines after where it said; before, if negative.
    pub offset: i64,
    /// Lines of context that did not fit and were ignored.
    pub fuzz: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_have_something_in_them() {
        let check = |patch: &str| {
            let json = serde_json::json!({"workspace": "a", "patch": patch});
            serde_json::from_value::<PatchApplyRequest>(json).unwrap().check().err().map(|error| error.code)
        };
        assert_eq!(check("--- a\n"), None);
        assert_eq!(check(&"x".repeat(MAX_PATCH_BYTES)), None);
        assert_eq!(check(" \n"), Some(ErrorCode::InvalidRequest));
        assert_eq!(check(&"x".repeat(MAX_PATCH_BYTES + 1)), Some(ErrorCode::FileTooLarge));
        let json = r#"{"workspace":"a","patch":"x","fuzz":3}"#;
        assert!(serde_json::from_str::<PatchApplyRequest>(json).is_err());
    }
}
