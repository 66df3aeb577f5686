//! `snapshot_…`, `workspace_reset`, `workspace_fork`, `workspace_sleep`: a workspace as it was, to go back to or to begin others
//! from, with its memory and everything that runs in it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{
    files::one,
    identity::{Labels, SnapshotName, WorkspaceName, WorkspaceRef},
    view::{Workspace, tokens},
};
use crate::{
    check::{invalid, within},
    error::ErrorBody,
};

/// Most characters of a comment.
pub const MAX_COMMENT_CHARS: usize = 1000;

/// Workspaces that one fork may make.
pub const FORK_COUNTS: RangeInclusive<u64> = 1..=100;

tokens! {
    /// What a snapshot is for.
    SnapshotKind {
        /// What the workspace began with; it lasts as long as the workspace.
        Baseline = "baseline",
        /// Somebody asked for it.
        Named = "named",
        /// Was taken by itself before a call; the oldest ones go.
        Checkpoint = "checkpoint",
    }
    /// How a machine goes on.
    Resumed {
        /// With its memory: what ran runs.
        Memory = "memory",
        /// Booted from its disk: nothing runs, and no file is lost.
        Boot = "boot",
    }
}

/// Takes a snapshot: of a workspace with a machine its memory, processes, devices and disk, of a stopped one its disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SnapshotCreateRequest {
    /// Of which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Its name, which no other snapshot of the workspace has.
    pub snapshot_name: SnapshotName,
    /// Why it is taken, at most [`MAX_COMMENT_CHARS`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl SnapshotCreateRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        let comment = self.comment.as_deref().unwrap_or_default();
        if comment.chars().count() > MAX_COMMENT_CHARS {
            return Err(invalid(format!("the comment is longer than {MAX_COMMENT_CHARS} characters")));
        }
        if comment.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n')) {
            return Err(invalid("the comment contains a control character"));
        }
        Ok(())
    }
}

/// Lists the snapshots of a workspace. That is no use of it, and does not extend its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SnapshotListRequest {
    /// Of which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
}

/// Says everything about a snapshot. That is no use of its workspace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SnapshotInspectRequest {
    /// Of which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Its name or id.
    pub snapshot_name: SnapshotName,
}

/// Deletes a snapshot. Others that share something with it keep that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SnapshotDeleteRequest {
    /// Of which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Its name or id.
    pub snapshot_name: SnapshotName,
}

/// A snapshot.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// Of which.
    pub workspace_id: String,
    /// 12 hexadecimal digits.
    pub snapshot_id: String,
    /// Its name.
    pub snapshot_name: String,
    /// What it is for.
    pub kind: SnapshotKind,
    /// When it was taken.
    pub created_at: f64,
    /// The snapshot that the workspace's state came from then; null: none, or it was deleted.
    pub parent: Option<String>,
    /// Why it was taken.
    pub comment: Option<String>,
    /// Sorted by key.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Whether it has the memory of a machine, or only its disk.
    pub has_memory: bool,
    /// Commands that ran in it.
    pub running_command_count: u64,
    /// How long the machine stood still for it; null: it had none.
    pub paused_ms: Option<f64>,
    /// What it alone takes on the host, as far as that can be told.
    pub size_bytes: u64,
    /// Whether the workspace's state came from it last.
    pub current: bool,
    /// Entries of the seed, for the baseline; null for others, which nobody counted.
    pub entry_count: Option<u64>,
    /// What was written to keep it.
    pub bytes_written: u64,
    /// Whether it may be deleted.
    pub deletable: bool,
}

/// A snapshot of a workspace: the answer of create and inspect.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SnapshotResult {
    /// Of which.
    pub workspace_id: String,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// `guest_vsock` ([`EXECUTION_MODE`](crate::run::EXECUTION_MODE)).
    pub execution_mode: String,
}

/// The snapshots of a workspace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SnapshotList {
    /// Of which.
    pub workspace_id: String,
    /// How many.
    pub count: u64,
    /// The baseline first, then the newest ones.
    pub snapshots: Vec<Snapshot>,
}

/// A snapshot is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SnapshotDeleted {
    /// Of which.
    pub workspace_id: String,
    /// Which it was.
    pub snapshot_name: String,
    /// Always true.
    pub deleted: bool,
}

/// Has a workspace go on from a snapshot, with its memory and all that ran in it. Name, labels, snapshots and settings stay; the
/// history of commands begins anew. On any failure the workspace is as it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceResetRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// The snapshot's name or id.
    #[serde(default = "SnapshotName::baseline")]
    pub snapshot: SnapshotName,
}

/// What a workspace goes on from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ResetView {
    /// The snapshot's name.
    pub snapshot_name: String,
    /// What the snapshot is for.
    pub kind: SnapshotKind,
    /// Always `/workspace`, and everything else in the guest.
    pub destination: String,
    /// As in [`Snapshot`].
    pub entry_count: Option<u64>,
    /// Of the baseline the contents of the seed; of others what their memory takes on the host.
    pub bytes_written: u64,
    /// Whether with its memory.
    pub resumed: Resumed,
    /// Why it was booted though there might have been a memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_reason: Option<String>,
}

/// A workspace that was reset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceReset {
    /// As it is now.
    #[serde(flatten)]
    pub workspace: Workspace,
    /// What it goes on from.
    pub workspace_reset: ResetView,
}

/// Makes workspaces that begin from the state of another one, all of them or none. Each has the memory of that, which all share
/// until it is written to, and an identity of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceForkRequest {
    /// From which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// From this snapshot of it; from how it is now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotName>,
    /// How many, within [`FORK_COUNTS`].
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schemars(range(min = *FORK_COUNTS.start(), max = *FORK_COUNTS.end())))]
    pub count: u64,
    /// Their names are this, `-` and a number from 1 on; without it they have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_prefix: Option<WorkspaceName>,
    /// Labels beside those of the parent.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl WorkspaceForkRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("count", self.count, &FORK_COUNTS)
    }
}

/// Workspaces were made from another one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceForked {
    /// From which.
    pub workspace_id: String,
    /// From which snapshot; null: from how it was.
    pub snapshot_name: Option<String>,
    /// How many.
    pub count: u64,
    /// Whether they go on with its memory.
    pub resumed: Resumed,
    /// Why they were booted though there might have been a memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_reason: Option<String>,
    /// They.
    pub workspaces: Vec<Workspace>,
}

/// Saves the machine of a workspace and ends it. Whatever uses the workspace wakes it up, and what ran runs on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceSleepRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_goes_to_the_baseline_unless_told_otherwise() {
        let reset: WorkspaceResetRequest = serde_json::from_str(r#"{"workspace": "fix"}"#).unwrap();
        assert_eq!(reset.snapshot.as_str(), "baseline");
        assert!(
            serde_json::from_str::<WorkspaceResetRequest>(r#"{"workspace": "fix", "snapshot": ""}"#).is_err()
        );
    }

    #[test]
    fn names_counts_and_comments_are_bounded() {
        let create = |rest: &str| {
            serde_json::from_str::<SnapshotCreateRequest>(&format!("{{\"workspace\": \"fix\", {rest}}}"))
        };
        create(r#""snapshot_name": "pre-review", "comment": "two\nlines""#).unwrap().check().unwrap();
        assert!(create(r#""snapshot_name": "a/b""#).is_err());
        assert!(create(r#""snapshot_name": "a", "comment": "\u0007""#).unwrap().check().is_err());
        let long = format!("\"snapshot_name\": \"a\", \"comment\": \"{}\"", "x".repeat(1001));
        assert!(create(&long).unwrap().check().is_err());
        for count in [0, 101] {
            let fork: WorkspaceForkRequest =
                serde_json::from_str(&format!("{{\"workspace\": \"fix\", \"count\": {count}}}")).unwrap();
            assert!(fork.check().is_err(), "{count}");
        }
    }
}
