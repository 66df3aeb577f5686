//! Where the state of a workspace comes from.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{record::MemoryContent, step::MOST_STEPS};
use crate::workspaces::{
    frozen_file::FrozenFile,
    id::{SnapshotId, WorkspaceId},
};

/// Where the state of a workspace comes from, as far as it was saved.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Lineage {
    /// The workspace that it was forked from.
    pub parent: Option<Parent>,
    /// The newest snapshot that its state descends from.
    pub at: Option<SnapshotId>,
    /// What its machine's memory began as; none: that is not known, and no snapshot can have it.
    pub origin: Option<MemoryContent>,
    /// How the template's memory looked that is kept for its snapshots.
    pub template_memory: Option<FrozenFile>,
    /// How often it was reset.
    pub reset_count: u64,
    /// When it was reset last.
    pub last_reset_at: Option<SystemTime>,
    /// Numbers of the steps that the state has behind it, the last one last; no more than are kept.
    #[serde(default)]
    pub steps: Vec<u64>,
    /// The number of the next step.
    #[serde(default)]
    pub next_step: u64,
    /// It was reset to this snapshot, and its commands are still those of before.
    pub unsettled: Option<SnapshotId>,
}

impl Lineage {
    /// A step is made.
    pub(in super::super) fn step(&mut self, number: u64) {
        self.steps.push(number);
        self.next_step = number + 1;
        let kept = self.steps.len().min(MOST_STEPS);
        self.steps.drain(..self.steps.len() - kept);
    }
}

/// The workspace that another one was forked from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// Which.
    pub workspace: WorkspaceId,
    /// From which of its snapshots; none: from how it was then.
    pub snapshot: Option<String>,
}
