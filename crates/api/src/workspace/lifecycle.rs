//! Looking at, changing, stopping, starting and deleting a workspace.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    create::{check_idle_sleep, check_ttl},
    identity::{LabelKey, Labels, WorkspaceName, WorkspaceRef},
};
use crate::{check::invalid, error::ErrorBody};

/// Asks how a workspace is. That is no use of it, and does not extend its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceStatusRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
}

/// Changes name, labels and lifetime. Something must change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceUpdateRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<WorkspaceName>,
    /// It shall have no name.
    #[serde(default)]
    pub clear_name: bool,
    /// Labels to add, or to give another value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Labels to take away, after those above were added; it is no fault if they are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear_labels: Vec<LabelKey>,
    /// Its new lifetime, from now on; 0 for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *crate::workspace::create::WORKSPACE_TTLS_SECONDS.end())))]
    pub ttl_seconds: Option<u64>,
    /// How long its machine may stay unused before it sleeps; 0 for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *crate::workspace::create::WORKSPACE_TTLS_SECONDS.end())))]
    pub idle_sleep_seconds: Option<u64>,
    /// Whether a checkpoint is taken before each command, patch and write. Those that are there stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_checkpoint: Option<bool>,
}

impl WorkspaceUpdateRequest {
    /// A request that changes nothing yet.
    pub fn new(workspace: WorkspaceRef) -> Self {
        Self {
            workspace,
            name: None,
            clear_name: false,
            labels: Labels::new(),
            clear_labels: Vec::new(),
            ttl_seconds: None,
            idle_sleep_seconds: None,
            auto_checkpoint: None,
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        if self.name.is_some() && self.clear_name {
            return Err(invalid("name and clear_name exclude each other"));
        }
        let changes_name = self.name.is_some() || self.clear_name;
        let changes_labels = !self.labels.is_empty() || !self.clear_labels.is_empty();
        let changes_times = self.ttl_seconds.is_some() || self.idle_sleep_seconds.is_some();
        let changes_checkpoints = self.auto_checkpoint.is_some();
        if !changes_name && !changes_labels && !changes_times && !changes_checkpoints {
            return Err(invalid("no change was asked for").with_hint(
                "give name, clear_name, labels, clear_labels, ttl_seconds, idle_sleep_seconds or auto_checkpoint",
            ));
        }
        self.ttl_seconds.map_or(Ok(()), check_ttl)?;
        self.idle_sleep_seconds.map_or(Ok(()), check_idle_sleep)
    }
}

/// Deletes a workspace and everything in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceDeleteRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Also while commands run in it. Without, that is refused with `workspace_busy`.
    #[serde(default)]
    pub force: bool,
}

/// A workspace is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceDeleted {
    /// Which it was.
    pub workspace_id: String,
    /// Always true.
    pub deleted: bool,
    /// `explicit_delete`.
    pub reason: String,
}

/// Shuts the machine down cleanly. The disk stays. No fault if there is no machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceStopRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
}

/// Starts a machine from the workspace's disk. No fault if there is one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceStartRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(json: &str) -> Result<WorkspaceUpdateRequest, ErrorBody> {
        let request: WorkspaceUpdateRequest =
            serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
        request.check().map(|()| request)
    }

    #[test]
    fn an_update_changes_something() {
        for good in [
            r#"{"workspace":"a","name":"b"}"#,
            r#"{"workspace_id":"a","clear_name":true}"#,
            r#"{"workspace":"a","labels":{"k":"v"},"clear_labels":["k"]}"#,
            r#"{"workspace":"a","ttl_seconds":0}"#,
        ] {
            assert!(update(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"workspace":"a"}"#,
            r#"{"name":"b"}"#,
            r#"{"workspace":"a","name":"b","clear_name":true}"#,
            r#"{"workspace":"a","name":" "}"#,
            r#"{"workspace":"a","clear_labels":[""]}"#,
            r#"{"workspace":"a","nam":"b"}"#,
            r#"{"workspace":"a","workspace_id":"a","name":"b"}"#,
        ] {
            assert!(update(bad).is_err(), "{bad}");
        }
    }
}
