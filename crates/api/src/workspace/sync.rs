//! Files between a directory on the host and a workspace, whole or not at all.

use serde::{Deserialize, Serialize};

use super::{
    create::check_patterns, identity::WorkspaceRef, patch::ChangeStatus, path::WorkspacePath, view::SeedMode,
};
use crate::{
    check::{self, invalid},
    error::ErrorBody,
    text::ByteString,
};

/// Brings files of the host into a workspace. What fails has changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncPushRequest {
    /// Where to.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Absolute path on the host of a directory or a tar archive, as for a seed.
    pub source_path: ByteString,
    /// The directory that takes it; made if it is not there.
    #[serde(default)]
    pub dest: WorkspacePath,
    /// Also delete what the source does not have, but for what `exclude` names.
    #[serde(default)]
    pub delete: bool,
    /// Patterns in the syntax of `.gitignore` of what is neither sent nor deleted, beside those in `.pyroignore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Of a directory in a Git work tree, takes only what Git tracks, as it is now.
    #[serde(default)]
    pub git: bool,
    /// Only says what would change.
    #[serde(default)]
    pub dry_run: bool,
}

impl SyncPushRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        check::host_path("source_path", &self.source_path)?;
        check_patterns("exclude", &self.exclude)?;
        self.dest.check()
    }
}

/// Files were brought into a workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SyncPushed {
    /// Where to.
    pub workspace_id: String,
    /// How it was done.
    pub execution_mode: String,
    /// What was done.
    pub workspace_sync: PushView,
}

/// What was pushed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PushView {
    /// What the source was.
    pub mode: SeedMode,
    /// Where on the host.
    pub source_path: ByteString,
    /// Absolute in the guest.
    pub destination: ByteString,
    /// Entries of the source.
    pub entry_count: u64,
    /// Bytes of its regular files.
    pub bytes_written: u64,
    /// Paths that were made or changed.
    pub changed_count: u64,
    /// Paths that were deleted.
    pub deleted_count: u64,
    /// The first 1,000 of them.
    pub changes: Vec<SyncChange>,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// What was left out and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A path that changed, or would.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SyncChange {
    /// Relative to the directory that changes.
    pub path: ByteString,
    /// How.
    pub status: ChangeStatus,
}

/// Brings what changed in a workspace back to the host: what only the guest changed is taken, what both changed is a
/// conflict and stays as it is. What fails has changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncPullRequest {
    /// Where from.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Absolute path of a directory on the host; when absent, the one that the workspace was filled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_path: Option<ByteString>,
    /// Only these paths and what is below them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<WorkspacePath>,
    /// Patterns in the syntax of `.gitignore` of what is not brought back, beside those in `.pyroignore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Only says what would change.
    #[serde(default)]
    pub dry_run: bool,
}

impl SyncPullRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        check_patterns("exclude", &self.exclude)?;
        if self.paths.len() > 1000 {
            return Err(invalid("more than 1000 paths"));
        }
        self.paths.iter().try_for_each(WorkspacePath::check)?;
        self.target_path.as_ref().map_or(Ok(()), |path| check::host_path("target_path", path))
    }
}

/// Changes were brought back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SyncPulled {
    /// Where from.
    pub workspace_id: String,
    /// How it was done.
    pub execution_mode: String,
    /// What was done.
    pub workspace_sync: PullView,
}

/// What was pulled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PullView {
    /// Absolute in the guest.
    pub source_path: ByteString,
    /// The directory on the host.
    pub destination: ByteString,
    /// Entries that were written.
    pub entry_count: u64,
    /// Bytes of the regular files among them.
    pub bytes_written: u64,
    /// Paths that were made or changed.
    pub changed_count: u64,
    /// Paths that were deleted.
    pub deleted_count: u64,
    /// How many conflicts there are.
    pub conflict_count: u64,
    /// The first 1,000 paths that were made, changed or deleted.
    pub changes: Vec<SyncChange>,
    /// The first 1,000 paths that both sides changed. Nothing was written there.
    pub conflicts: Vec<SyncConflict>,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// What was left out and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A path that both sides changed since they were the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SyncConflict {
    /// Relative to the directory that changes.
    pub path: ByteString,
    /// What the guest did.
    pub guest: ChangeStatus,
    /// What happened on the host.
    pub host: ChangeStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_paths_are_absolute() {
        let push = |json: &str| serde_json::from_str::<SyncPushRequest>(json).ok()?.check().ok();
        let pull = |json: &str| serde_json::from_str::<SyncPullRequest>(json).ok()?.check().ok();
        assert!(push(r#"{"workspace":"a","source_path":"/src"}"#).is_some());
        assert!(push(r#"{"workspace":"a","source_path":"/src","dest":"lib","delete":true}"#).is_some());
        assert!(pull(r#"{"workspace":"a"}"#).is_some());
        assert!(pull(r#"{"workspace":"a","target_path":"/src","dry_run":true}"#).is_some());
        for bad in [
            r#"{"workspace":"a"}"#,
            r#"{"workspace":"a","source_path":"src"}"#,
            r#"{"workspace":"a","source_path":"/src","dest":"/"}"#,
            r#"{"workspace":"a","source_path":"/src","destination":"lib"}"#,
            r#"{"workspace":"a","source_path":"/src","exclude":["a\nb"]}"#,
        ] {
            assert!(push(bad).is_none(), "{bad}");
        }
        for bad in [r#"{"workspace":"a","target_path":"."}"#, r#"{"workspace":"a","paths":["/etc"]}"#] {
            assert!(pull(bad).is_none(), "{bad}");
        }
    }
}
