//! Snapshots: a workspace as it was at one moment, to go back to or to begin others from.
//!
//! ```text
//!               capture             seal
//!   a workspace ───────▶ captured ───────▶ kept ──delete──▶ gone (what others share stays)
//!                                           │
//!                                           ├─ reset: the workspace goes on from it
//!                                           ├─ fork: new workspaces begin from it
//!                                           └─ wake: what slept goes on from it
//! ```
//!
//! A [checkpoint](Step) is one that is taken by itself before a call; an undo goes on from it as a reset does.
//!
//! What a snapshot has of a disk are layers that nobody writes to any more; of a memory, what it became since the template. Both
//! are files that are never changed and shared by hard links, so a snapshot stores what changed since its parent, and deleting
//! one takes nothing from the others. A snapshot also holds a disk that boots by itself: where its memory does not fit any more
//! or is damaged, that is what is gone on from, and the result says so and why.

pub(super) mod capture;
mod lineage;
pub(super) mod memory;
mod record;
pub(super) mod restore;
pub(super) mod seal;
pub(super) mod shelf;
mod step;

pub use self::lineage::{Lineage, Parent};
pub use self::record::{
    BASELINE, MemoryContent, MemoryStage, SNAPSHOT_COMMENT_CHARS, SNAPSHOT_NAME_CHARS, SavedMemory,
    SnapshotKind, SnapshotRecord,
};
pub(super) use self::record::{comment, snapshot_name};
pub(super) use self::step::MOST_STEPS;
pub use self::step::Step;
