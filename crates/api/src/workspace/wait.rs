//! `workspace_wait`: waiting until something changes in a workspace, without asking again and again.

use serde::{Deserialize, Serialize};

use super::identity::WorkspaceRef;

/// Waits for a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceWaitRequest {
    /// Where.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// The `revision` that is known; waits for another one. Without, the revision of now is given at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Wait at most this long; then the result says that nothing changed. As long as it takes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

impl WorkspaceWaitRequest {
    /// Asks for the revision of now.
    pub fn new(workspace: WorkspaceRef) -> Self {
        Self { workspace, after: None, timeout_seconds: None }
    }
}

/// How far a workspace has come. Revisions grow, and are never the same for two states of a workspace. What is told of a
/// workspace after its daemon was started anew is a change of everything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceRevision {
    /// Where.
    pub workspace_id: String,
    /// Grows with every change.
    pub revision: u64,
    /// The revision when a command last began or ended.
    pub commands_revision: u64,
    /// The revision when files may have changed last: with an operation on files, and with the end of a command. What a
    /// command does to files while it runs is told with its end.
    pub files_revision: u64,
    /// Whether it is another one than the `after` of the request.
    pub changed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_of_now_can_be_asked_for() {
        let read: WorkspaceWaitRequest = serde_json::from_str(r#"{"workspace_id":"a"}"#).unwrap();
        assert_eq!(read, WorkspaceWaitRequest::new(WorkspaceRef::new("a").unwrap()));
        assert!(serde_json::from_str::<WorkspaceWaitRequest>(r#"{"workspace":"a","since":1}"#).is_err());
    }
}
