//! `workspace_timeline`, `workspace_undo`: the calls of a workspace with automatic checkpoints, and back through them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{files::one, identity::WorkspaceRef, snapshot::ResetView, view::Workspace};
use crate::{check::within, error::ErrorBody};

/// Steps that one undo may go back: as many as are kept.
pub const UNDO_STEPS: RangeInclusive<u64> = 1..=24;

/// Says which calls of a workspace can be undone. That is no use of it, and does not extend its life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceTimelineRequest {
    /// Of which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
}

/// Goes back before the last calls of a workspace, as a reset goes to a snapshot: with its memory and all that ran. What it was
/// is a checkpoint too, so an undo can be undone by a reset to `left_snapshot_id`. On any failure it is as it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceUndoRequest {
    /// Which.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// How many calls, within [`UNDO_STEPS`].
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schemars(range(min = *UNDO_STEPS.start(), max = *UNDO_STEPS.end())))]
    pub steps: u64,
}

impl WorkspaceUndoRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("steps", self.steps, &UNDO_STEPS)
    }
}

/// A call before which a checkpoint was taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Step {
    /// Counts the steps of a workspace.
    pub number: u64,
    /// When it was called.
    pub at: f64,
    /// What was called, one line. Secrets that are known are left out.
    pub call: String,
}

/// A state of the workspace that can be gone back to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimelineEntry {
    /// When it was so.
    pub at: f64,
    /// The call that came next; null: an undo left the workspace like this.
    pub step: Option<Step>,
    /// Whether that call is behind the workspace's state of now; one that was undone is not.
    pub behind: bool,
    /// The checkpoint, for `workspace_reset` and `workspace_fork`. A call that was undone shares it with the next one, if nothing came in between.
    pub snapshot_id: String,
    /// What it alone takes on the host, as far as that can be told; 0 where it is shared.
    pub size_bytes: u64,
}

/// The timeline of a workspace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Timeline {
    /// Of which.
    pub workspace_id: String,
    /// Whether a checkpoint is taken before each call that may change something.
    pub auto_checkpoint: bool,
    /// How many entries.
    pub count: u64,
    /// The oldest first.
    pub entries: Vec<TimelineEntry>,
}

/// A workspace that went back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceUndone {
    /// As it is now.
    #[serde(flatten)]
    pub workspace: Workspace,
    /// What it goes on from.
    pub workspace_reset: ResetView,
    /// The calls that are undone, the last one first.
    pub undone: Vec<Step>,
    /// The checkpoint of what it was before; null: that of a step.
    pub left_snapshot_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_is_undone_unless_told_otherwise() {
        let undo = |text: &str| serde_json::from_str::<WorkspaceUndoRequest>(text).unwrap();
        assert_eq!(undo(r#"{"workspace": "fix"}"#).steps, 1);
        for steps in [0, 25] {
            assert!(
                undo(&format!(r#"{{"workspace": "fix", "steps": {steps}}}"#)).check().is_err(),
                "{steps}"
            );
        }
    }
}
