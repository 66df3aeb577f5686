//! Workspaces: making, finding, changing, stopping, starting and deleting them.

use std::collections::BTreeMap;

use pyro_api::{
    ErrorBody, ErrorCode,
    operation::{
        CreateWorkspace, DeleteWorkspace, GetWorkspaceStatus, ListWorkspaces, StartWorkspace, StopWorkspace,
        UpdateWorkspace,
    },
    run::{DEFAULT_MEM_MIB, DEFAULT_TTL_SECONDS, DEFAULT_VCPU_COUNT, MEM_MIBS, VCPU_COUNTS},
    workspace::{
        create::{NetworkPolicy, SecretSource, WorkspaceCreateRequest},
        identity::{LabelKey, Labels, WorkspaceName, WorkspaceRef},
        lifecycle::{
            WorkspaceDeleteRequest, WorkspaceDeleted, WorkspaceStartRequest, WorkspaceStatusRequest,
            WorkspaceStopRequest, WorkspaceUpdateRequest,
        },
        list::{WorkspaceList, WorkspaceListRequest},
        view::Workspace,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::sync::stream_to_end;
use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

/// Most workspaces of one list.
const MOST_LISTED: u64 = 50;

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "workspace_create",
            "Create a workspace",
            "Create a lasting machine with a directory /workspace.",
            Hints::Writes,
            create,
        )
        .only_in_full(&["auto_checkpoint", "idle_sleep_seconds", "network_policy", "secrets"]),
        tool(
            "workspace_list",
            "List workspaces",
            "List workspaces, the last used first.",
            Hints::Reads,
            list,
        ),
        tool("workspace_update", "Rename or label", "Change name or labels.", Hints::Settles, update)
            .only_in_full(&["auto_checkpoint", "idle_sleep_seconds"]),
        tool("workspace_status", "Workspace status", "State and facts of a workspace.", Hints::Reads, status),
        tool("workspace_stop", "Stop a workspace", "Stop the machine; the files stay.", Hints::Settles, stop),
        tool("workspace_start", "Start a workspace", "Start a stopped workspace.", Hints::Settles, start),
        tool(
            "workspace_delete",
            "Delete a workspace",
            "Delete a workspace and all its files.",
            Hints::Destroys,
            delete,
        ),
    ]
}

/// An argument that names a workspace and nothing more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// Name or id
    #[schemars(with = "String")]
    pub(super) workspace_id: WorkspaceRef,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// debian:12 or debian:12-build
    environment: String,
    /// Virtual CPUs
    #[serde(default = "defaults::vcpu_count")]
    #[schemars(range(min = *VCPU_COUNTS.start(), max = *VCPU_COUNTS.end()))]
    vcpu_count: u32,
    /// Memory
    #[serde(default = "defaults::mem_mib")]
    #[schemars(range(min = *MEM_MIBS.start(), max = *MEM_MIBS.end()))]
    mem_mib: u32,
    /// Idle seconds before it is stopped; 0: never
    #[serde(default = "defaults::ttl_seconds")]
    ttl_seconds: u64,
    /// Idle seconds before it sleeps; 0: never
    #[serde(default)]
    idle_sleep_seconds: u64,
    /// Make each command, patch and write one that workspace_undo undoes
    #[serde(default)]
    auto_checkpoint: bool,
    /// off only, as yet
    #[serde(default)]
    network_policy: NetworkPolicy,
    /// Ignored
    #[serde(default)]
    allow_host_compat: bool,
    /// Directory or tar on the host to copy in
    #[serde(default)]
    seed_path: Option<String>,
    /// Not yet supported
    #[serde(default)]
    #[schemars(with = "Option<Vec<BTreeMap<String, String>>>")]
    secrets: Option<Vec<SecretSource>>,
    /// To find it by
    #[serde(default)]
    name: Option<String>,
    /// To find it by
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

mod defaults {
    pub(super) fn vcpu_count() -> u32 {
        super::DEFAULT_VCPU_COUNT
    }
    pub(super) fn mem_mib() -> u32 {
        super::DEFAULT_MEM_MIB
    }
    pub(super) fn ttl_seconds() -> u64 {
        super::DEFAULT_TTL_SECONDS
    }
}

async fn create(call: ToolCall, arguments: Create) -> Result<Workspace, ErrorBody> {
    let seed_path = match &arguments.seed_path {
        Some(path) => Some(call.paths.existing(path)?),
        None => None,
    };
    let request = WorkspaceCreateRequest {
        vcpu_count: arguments.vcpu_count,
        mem_mib: arguments.mem_mib,
        ttl_seconds: arguments.ttl_seconds,
        idle_sleep_seconds: arguments.idle_sleep_seconds,
        auto_checkpoint: arguments.auto_checkpoint,
        network_policy: arguments.network_policy,
        allow_host_compat: arguments.allow_host_compat,
        seed_path,
        secrets: arguments.secrets.unwrap_or_default(),
        name: arguments.name.map(WorkspaceName::new).transpose()?,
        labels: labels(arguments.labels)?,
        ..WorkspaceCreateRequest::new(arguments.environment)
    };
    request.check()?;
    stream_to_end::<CreateWorkspace>(&call, &request).await.map(lean)
}

pub(super) fn labels(given: Option<BTreeMap<String, String>>) -> Result<Labels, ErrorBody> {
    let texts = serde_json::to_value(given.unwrap_or_default());
    texts.and_then(serde_json::from_value).map_err(|error| {
        ErrorBody::new(ErrorCode::InvalidRequest, format!("labels: {error}")).with_work_started(false)
    })
}

/// Without what is for people who look into things.
pub(super) fn lean(mut workspace: Workspace) -> Workspace {
    workspace.metadata.clear();
    workspace
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {}

async fn list(call: ToolCall, List {}: List) -> Result<WorkspaceList, ErrorBody> {
    let request = WorkspaceListRequest { limit: Some(MOST_LISTED), ..WorkspaceListRequest::default() };
    Ok(call.client.call::<ListWorkspaces>(&request).await?)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Update {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// New name
    #[serde(default)]
    name: Option<String>,
    /// Remove the name
    #[serde(default)]
    clear_name: bool,
    /// To set
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    /// Keys to remove
    #[serde(default)]
    clear_labels: Option<Vec<String>>,
    /// Idle seconds before it sleeps; 0: never
    #[serde(default)]
    idle_sleep_seconds: Option<u64>,
    /// Whether workspace_undo is to work from now on
    #[serde(default)]
    auto_checkpoint: Option<bool>,
}

async fn update(call: ToolCall, arguments: Update) -> Result<Workspace, ErrorBody> {
    let cleared = arguments.clear_labels.unwrap_or_default();
    let request = WorkspaceUpdateRequest {
        name: arguments.name.map(WorkspaceName::new).transpose()?,
        clear_name: arguments.clear_name,
        labels: labels(arguments.labels)?,
        clear_labels: cleared.into_iter().map(LabelKey::new).collect::<Result<_, _>>()?,
        idle_sleep_seconds: arguments.idle_sleep_seconds,
        auto_checkpoint: arguments.auto_checkpoint,
        ..WorkspaceUpdateRequest::new(arguments.workspace_id)
    };
    request.check()?;
    Ok(lean(call.client.call::<UpdateWorkspace>(&request).await?))
}

async fn status(call: ToolCall, Named { workspace_id }: Named) -> Result<Workspace, ErrorBody> {
    let request = WorkspaceStatusRequest { workspace: workspace_id };
    Ok(lean(call.client.call::<GetWorkspaceStatus>(&request).await?))
}

async fn stop(call: ToolCall, Named { workspace_id }: Named) -> Result<Workspace, ErrorBody> {
    let request = WorkspaceStopRequest { workspace: workspace_id };
    Ok(lean(call.client.call::<StopWorkspace>(&request).await?))
}

async fn start(call: ToolCall, Named { workspace_id }: Named) -> Result<Workspace, ErrorBody> {
    let request = WorkspaceStartRequest { workspace: workspace_id };
    Ok(lean(call.client.call::<StartWorkspace>(&request).await?))
}

async fn delete(call: ToolCall, Named { workspace_id }: Named) -> Result<WorkspaceDeleted, ErrorBody> {
    let request = WorkspaceDeleteRequest { workspace: workspace_id, force: true };
    Ok(call.client.call::<DeleteWorkspace>(&request).await?)
}

impl Told for Workspace {
    fn told(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        format!("workspace {}{name}, {}", self.workspace_id, self.state)
    }
}

impl Told for WorkspaceList {
    fn told(&self) -> String {
        format!("{} workspaces", self.count)
    }
}

impl Told for WorkspaceDeleted {
    fn told(&self) -> String {
        format!("workspace {} is gone", self.workspace_id)
    }
}
