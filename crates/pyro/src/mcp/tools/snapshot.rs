//! Snapshots of workspaces, and what goes on from them: reset, fork, sleep. Only the way back is in the core.

use std::collections::BTreeMap;

use pyro_api::{
    ErrorBody,
    operation::{
        CreateSnapshot, DeleteSnapshot, ForkWorkspace, ListSnapshots, ResetWorkspace, SleepWorkspace,
    },
    workspace::{
        identity::{SnapshotName, WorkspaceName, WorkspaceRef},
        snapshot::{
            FORK_COUNTS, Resumed, SnapshotCreateRequest, SnapshotDeleteRequest, SnapshotDeleted,
            SnapshotList, SnapshotListRequest, SnapshotResult, WorkspaceForkRequest, WorkspaceForked,
            WorkspaceReset, WorkspaceResetRequest, WorkspaceSleepRequest,
        },
        view::{Workspace, WorkspaceState},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    sync::stream_to_end,
    workspace::{Named, labels, lean},
};
use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "snapshot_create",
            "Take a snapshot",
            "Before a risky step: save files, memory and all that runs, for workspace_reset to go back to.",
            Hints::Writes,
            create,
        ),
        tool(
            "snapshot_list",
            "List snapshots",
            "List what workspace_reset can go back to and workspace_fork can begin from.",
            Hints::Reads,
            list,
        ),
        tool(
            "snapshot_delete",
            "Delete a snapshot",
            "Delete a snapshot that is not needed any more.",
            Hints::Destroys,
            delete,
        ),
        tool(
            "workspace_reset",
            "Go back to a snapshot",
            "Undo everything since a snapshot; without one, since the workspace was made.",
            Hints::Destroys,
            reset,
        ),
        tool(
            "workspace_fork",
            "Fork a workspace",
            "For attempts side by side: make workspaces that begin where this one is, with all that runs in it.",
            Hints::Writes,
            fork,
        ),
        tool(
            "workspace_sleep",
            "Let a workspace sleep",
            "Done for now: save the machine and free its memory. The next use wakes it, and what ran runs on.",
            Hints::Settles,
            sleep,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// A new name: letters, digits, . _ -
    #[schemars(with = "String")]
    snapshot_name: SnapshotName,
    /// Why
    #[serde(default)]
    comment: Option<String>,
    /// To find it by
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

async fn create(call: ToolCall, arguments: Create) -> Result<SnapshotResult, ErrorBody> {
    let request = SnapshotCreateRequest {
        workspace: arguments.workspace_id,
        snapshot_name: arguments.snapshot_name,
        comment: arguments.comment,
        labels: labels(arguments.labels)?,
    };
    request.check()?;
    Ok(call.client.call::<CreateSnapshot>(&request).await?)
}

async fn list(call: ToolCall, Named { workspace_id }: Named) -> Result<SnapshotList, ErrorBody> {
    let request = SnapshotListRequest { workspace: workspace_id };
    Ok(call.client.call::<ListSnapshots>(&request).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delete {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Its name
    #[schemars(with = "String")]
    snapshot_name: SnapshotName,
}

async fn delete(call: ToolCall, arguments: Delete) -> Result<SnapshotDeleted, ErrorBody> {
    let request =
        SnapshotDeleteRequest { workspace: arguments.workspace_id, snapshot_name: arguments.snapshot_name };
    Ok(call.client.call::<DeleteSnapshot>(&request).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reset {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Its name
    #[serde(default = "SnapshotName::baseline")]
    #[schemars(with = "String")]
    snapshot: SnapshotName,
}

async fn reset(call: ToolCall, arguments: Reset) -> Result<WorkspaceReset, ErrorBody> {
    let request = WorkspaceResetRequest { workspace: arguments.workspace_id, snapshot: arguments.snapshot };
    let mut reset = call.client.call::<ResetWorkspace>(&request).await?;
    reset.workspace = lean(reset.workspace);
    Ok(reset)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fork {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Begin from this snapshot of it, not from now
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    snapshot: Option<SnapshotName>,
    /// How many
    #[serde(default = "one")]
    #[schemars(range(min = *FORK_COUNTS.start(), max = *FORK_COUNTS.end()))]
    count: u64,
    /// They are named with it, - and a number
    #[serde(default)]
    name_prefix: Option<String>,
    /// Beside those of the first
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

fn one() -> u64 {
    1
}

/// What was forked, without what each has from the one that it was forked from.
#[derive(Serialize, JsonSchema)]
struct Forked {
    workspace_id: String,
    snapshot_name: Option<String>,
    count: u64,
    resumed: Resumed,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_reason: Option<String>,
    workspaces: Vec<ForkedOne>,
}

#[derive(Serialize, JsonSchema)]
struct ForkedOne {
    workspace_id: String,
    name: Option<String>,
    state: WorkspaceState,
}

async fn fork(call: ToolCall, arguments: Fork) -> Result<Forked, ErrorBody> {
    let request = WorkspaceForkRequest {
        workspace: arguments.workspace_id,
        snapshot: arguments.snapshot,
        count: arguments.count,
        name_prefix: arguments.name_prefix.map(WorkspaceName::new).transpose()?,
        labels: labels(arguments.labels)?,
    };
    request.check()?;
    stream_to_end::<ForkWorkspace>(&call, &request).await.map(Forked::from)
}

impl From<WorkspaceForked> for Forked {
    fn from(forked: WorkspaceForked) -> Self {
        let one = |workspace: Workspace| ForkedOne {
            workspace_id: workspace.workspace_id,
            name: workspace.name,
            state: workspace.state,
        };
        Self {
            workspace_id: forked.workspace_id,
            snapshot_name: forked.snapshot_name,
            count: forked.count,
            resumed: forked.resumed,
            boot_reason: forked.boot_reason,
            workspaces: forked.workspaces.into_iter().map(one).collect(),
        }
    }
}

async fn sleep(call: ToolCall, Named { workspace_id }: Named) -> Result<Workspace, ErrorBody> {
    let request = WorkspaceSleepRequest { workspace: workspace_id };
    Ok(lean(call.client.call::<SleepWorkspace>(&request).await?))
}

impl Told for SnapshotResult {
    fn told(&self) -> String {
        let snapshot = &self.snapshot;
        let what = if snapshot.has_memory { "memory and disk" } else { "the disk" };
        format!("snapshot {} has {what} of workspace {}", snapshot.snapshot_name, self.workspace_id)
    }
}

impl Told for SnapshotList {
    fn told(&self) -> String {
        format!("{} snapshots", self.count)
    }
}

impl Told for SnapshotDeleted {
    fn told(&self) -> String {
        format!("snapshot {} of workspace {} is gone", self.snapshot_name, self.workspace_id)
    }
}

impl Told for WorkspaceReset {
    fn told(&self) -> String {
        let how = how(self.workspace_reset.resumed);
        let id = &self.workspace.workspace_id;
        format!("workspace {id} is as in snapshot {}; {how}", self.workspace_reset.snapshot_name)
    }
}

impl Told for Forked {
    fn told(&self) -> String {
        format!("{} workspaces forked from {}; {}", self.count, self.workspace_id, how(self.resumed))
    }
}

fn how(resumed: Resumed) -> &'static str {
    match resumed {
        Resumed::Memory => "what ran then runs on",
        Resumed::Boot => "it was booted: nothing runs, every file is there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_told_as_one() {
        let forked = |resumed| Forked {
            workspace_id: "0123456789ab".to_owned(),
            snapshot_name: None,
            count: 2,
            resumed,
            boot_reason: None,
            workspaces: Vec::new(),
        };
        assert!(forked(Resumed::Memory).told().contains("runs on"));
        assert!(forked(Resumed::Boot).told().contains("booted"));
    }
}
