//! `gc`: what the daemon keeps without need.

use serde::{Deserialize, Serialize};

use crate::text::ByteString;

/// Removes what nothing leads to any more: directories of machines that are gone, disks without a workspace, copies of
/// environments that no workspace uses. Never a workspace.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GcRequest {
    /// Only says what would be removed, and why.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GcResult {
    /// Whether it was only looked at.
    pub dry_run: bool,
    /// How many things.
    pub count: u64,
    /// What they took on disk, together.
    pub bytes_freed: u64,
    /// Each thing.
    pub items: Vec<GcItem>,
}

/// A thing that is kept without need.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GcItem {
    /// What it is: `machine`, `workspace_directory`, `environment_copy`, `command_output`, …
    pub kind: String,
    /// Where it is.
    pub path: ByteString,
    /// Why it is of no use, in words.
    pub reason: String,
    /// What it takes on disk.
    pub size_bytes: u64,
    /// Why it could not be removed, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
