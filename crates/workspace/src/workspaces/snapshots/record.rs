//! What is written down about a snapshot.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        disk::FrozenLayer,
        id::{LayerId, SnapshotId},
    },
    step::Step,
};
use crate::{commands::CommandRecord, error::Error};

/// Longest name of a snapshot, characters.
pub const SNAPSHOT_NAME_CHARS: usize = 64;
/// Longest comment on a snapshot, characters.
pub const SNAPSHOT_COMMENT_CHARS: usize = 1000;
/// The name of the snapshot that every workspace begins with.
pub const BASELINE: &str = "baseline";

/// A workspace as it was at one moment. Nothing of it ever changes, but for how its memory is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Its id.
    pub id: SnapshotId,
    /// What people know it by.
    pub name: Option<String>,
    /// What it is for.
    pub kind: SnapshotKind,
    /// The snapshot that the workspace came from, or had come by, when this one was taken. It may be gone.
    pub parent: Option<SnapshotId>,
    /// When it was taken.
    pub created_at: SystemTime,
    /// Why, in somebody's words.
    pub comment: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The layers of its disk over the base, the lowest first.
    pub disk: Vec<FrozenLayer>,
    /// Virtual size of its disk.
    pub disk_bytes: u64,
    /// Its memory; none: the workspace had no machine, or its memory could not be read.
    pub memory: Option<SavedMemory>,
    /// Commands that ran in it.
    pub commands: Vec<CommandRecord>,
    /// The sequence of the next command after it.
    pub next_sequence: u64,
    /// How long the machine stood still for it.
    pub paused: Option<Duration>,
    /// Whether nothing was being done with files from outside, so that none is half changed in its memory.
    #[serde(default)]
    pub at_rest: bool,
    /// Numbers of the steps that the workspace had behind it.
    #[serde(default)]
    pub steps: Vec<u64>,
    /// The calls before which the workspace was like this: that of a checkpoint, and more where one changed nothing.
    #[serde(default)]
    pub before: Vec<Step>,
}

/// What a snapshot is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotKind {
    /// What a workspace began with; it lasts as long as the workspace.
    Baseline,
    /// Somebody asked for it.
    Named,
    /// Was taken by itself, before a call that may have changed something; the oldest ones go.
    Checkpoint,
    /// What relatives are started from; it goes when they have.
    Fork,
    /// What a workspace that sleeps wakes up from; it goes when it has.
    Sleep,
}

impl SnapshotKind {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Named => "named",
            Self::Checkpoint => "checkpoint",
            Self::Fork => "fork",
            Self::Sleep => "sleep",
        }
    }

    /// Whether people know it, by its name or by its id.
    pub fn is_shown(self) -> bool {
        self.is_listed() || self == Self::Checkpoint
    }

    /// Whether it is in the list of snapshots; checkpoints are in the timeline.
    pub fn is_listed(self) -> bool {
        matches!(self, Self::Baseline | Self::Named)
    }
}

/// Memory and devices of a machine at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedMemory {
    /// Digest of everything a machine must have for the memory to fit: engine, processor, size, environment.
    pub fits: String,
    /// The engine's name and version, for people.
    pub engine: String,
    /// What the memory is: base and deltas to it, the last of them this snapshot's own.
    pub content: MemoryContent,
    /// How far its files have come.
    pub stage: MemoryStage,
    /// Pages of 4 KiB in its own delta.
    pub pages: u64,
    /// What its own files take, bytes.
    pub stored_bytes: u64,
}

/// What a memory is made of.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct MemoryContent {
    /// Whether it began as the template's memory, which the workspace keeps; otherwise as zeros, as a booted machine's.
    pub from_template: bool,
    /// What it became since, each over the ones before.
    pub deltas: Vec<LayerId>,
}

/// How far the files of a memory have come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum MemoryStage {
    /// They are as the engine wrote them, a delta to `since`.
    Plain {
        /// What the captured machine was started from.
        since: MemoryContent,
    },
    /// They are thinned, compressed and encrypted.
    Sealed,
}

impl SavedMemory {
    /// Its own delta, by which its files are named.
    pub(in super::super) fn own(&self) -> Result<&LayerId, Error> {
        let own = self.content.deltas.last();
        own.ok_or_else(|| Error::Task("a captured memory without a delta".to_owned()))
    }
}

impl SnapshotRecord {
    /// The name that people use.
    pub fn shown_name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.id.as_str())
    }

    /// Whether somebody may remove it.
    pub fn is_deletable(&self) -> bool {
        self.kind == SnapshotKind::Named
    }
}

/// A name as it is kept: trimmed; begins with a letter or a digit, goes on with these, `.`, `_` and `-`.
pub(in super::super) fn snapshot_name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    let is_right = name.len() <= SNAPSHOT_NAME_CHARS
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if is_right {
        return Ok(name.to_owned());
    }
    let reason = format!(
        "{name:?} is no name: it has 1 to {SNAPSHOT_NAME_CHARS} of A-Z, a-z, 0-9, `.`, `_` and `-`, a letter or digit first"
    );
    Err(Error::Invalid { field: "snapshot_name", reason })
}

/// A comment as it is kept.
pub(in super::super) fn comment(text: &str) -> Result<String, Error> {
    let text = text.trim();
    let refuse = |reason: String| Err(Error::Invalid { field: "comment", reason });
    if text.chars().count() > SNAPSHOT_COMMENT_CHARS {
        return refuse(format!("it has more than {SNAPSHOT_COMMENT_CHARS} characters"));
    }
    if text.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n')) {
        return refuse("it contains a control character".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_that_begins_with_a_letter_or_a_digit() {
        for good in ["a", "pre-review", "v1.2_x", " trimmed ", &"x".repeat(64)] {
            assert_eq!(snapshot_name(good).unwrap(), good.trim());
        }
        for bad in ["", " ", ".a", "-a", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(snapshot_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_comment_is_text_of_some_lines() {
        assert_eq!(comment(" before\tthe\nupgrade ").unwrap(), "before\tthe\nupgrade");
        assert!(comment("a\u{7}").is_err());
        assert!(comment(&"x".repeat(1001)).is_err());
    }
}
