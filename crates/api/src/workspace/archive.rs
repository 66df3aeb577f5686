//! `workspace_save`, `workspace_load`: a stopped workspace as one file, which another host can load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::{Labels, WorkspaceName, WorkspaceRef};
use crate::{check, error::ErrorBody, text::ByteString};

/// Takes a stopped workspace to the host as an archive: its disk, and what it is. Neither memory, nor history, nor secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceSaveRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Absolute path on the host.
    pub output_path: ByteString,
    /// Replace what is at `output_path`.
    #[serde(default)]
    pub force: bool,
}

impl WorkspaceSaveRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        check::host_path("output_path", &self.output_path)
    }
}

/// A workspace was saved; it is as it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceSaved {
    /// Which.
    pub workspace_id: String,
    /// Where it is on the host.
    pub output_path: ByteString,
    /// Length of the file.
    pub bytes_written: u64,
    /// How much of the disk is in it, before compression; zeros are not.
    pub data_bytes: u64,
    /// SHA-256 of all of the file but its last 32 bytes, which are this digest.
    pub sha256: String,
}

/// Makes a stopped workspace of an archive. All of it is checked before anything is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceLoadRequest {
    /// Absolute path of the archive on the host.
    pub input_path: ByteString,
    /// Another name than the archive's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<WorkspaceName>,
    /// Labels beside the archive's, or instead of those with the same keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
}

impl WorkspaceLoadRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        check::host_path("input_path", &self.input_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_have_absolute_paths() {
        let save = |path: &str| {
            let json = format!(r#"{{"workspace_id": "fix", "output_path": "{path}"}}"#);
            serde_json::from_str::<WorkspaceSaveRequest>(&json).unwrap().check()
        };
        assert!(save("/tmp/a").is_ok() && save("a").is_err());
        let load = |json: &str| serde_json::from_str::<WorkspaceLoadRequest>(json);
        load(r#"{"input_path": "/a", "name": "b", "labels": {"k": "v"}}"#).unwrap().check().unwrap();
        assert!(load(r#"{"input_path": "a"}"#).unwrap().check().is_err());
        assert!(load(r#"{"input_path": "/a", "force": true}"#).is_err());
    }
}
