//! The timeline of a workspace: calls that may have changed it, and back through them.

use std::{sync::Arc, time::SystemTime};

use super::{
    WorkspaceId, Workspaces,
    disk::WorkspaceDisk,
    driver::{Request, Undone},
    snapshots::{SnapshotKind, SnapshotRecord, Step},
    view::WorkspaceView,
};
use crate::{error::Error, task};

/// What happened in a workspace, as far as it can be gone back through.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Whether a checkpoint is taken before each call that may change something.
    pub is_automatic: bool,
    /// The oldest first.
    pub entries: Vec<TimelineEntry>,
}

/// A state that can be gone back to.
#[derive(Clone, Debug)]
pub struct TimelineEntry {
    /// The call that came next; none: an undo left the workspace like this.
    pub step: Option<Step>,
    /// When it was so.
    pub at: SystemTime,
    /// The snapshot of it.
    pub snapshot: Arc<SnapshotRecord>,
    /// What that alone takes on the host, bytes, as far as that can be told; of one that several entries share, at its first.
    pub own_bytes: u64,
    /// Whether the call is behind the state of now: undone ones are not.
    pub is_behind: bool,
}

impl Workspaces {
    /// What happened in a workspace with checkpoints. That is no use of it.
    pub async fn timeline(&self, reference: &str) -> Result<(WorkspaceId, Timeline), Error> {
        let id = self.resolve(reference)?;
        let seen = self.shared.registry.seen(&id)?;
        let disk = WorkspaceDisk::of(&self.shared.resources.layout, &id);
        let timeline = task::blocking(move || {
            let behind = &seen.record.lineage.steps;
            let own_bytes = |snapshot: &SnapshotRecord| disk.snapshot_bytes(snapshot);
            let mut entries: Vec<_> =
                seen.snapshots.iter().flat_map(|snapshot| entries(snapshot, behind, own_bytes)).collect();
            entries.sort_by_key(|entry| (entry.at, entry.step.as_ref().map(|step| step.number)));
            Ok(Timeline { is_automatic: seen.record.auto_checkpoint, entries })
        });
        Ok((id, timeline.await?))
    }

    /// Goes back before the last `count` calls of a workspace's timeline. On an error it is as it was.
    pub async fn undo(&self, reference: &str, count: usize) -> Result<(WorkspaceView, Undone), Error> {
        let id = self.resolve(reference)?;
        let undone = self.ask(&id, |answer| Request::Undo(count, answer)).await?;
        Ok((self.view_of(&id).await?, undone))
    }

    /// Whether a checkpoint is to be taken before each call that may change something.
    pub(super) fn has_checkpoints(&self, id: &WorkspaceId) -> Result<bool, Error> {
        Ok(self.shared.registry.seen(id)?.record.auto_checkpoint)
    }

    /// To be called before what may change something, in words. On an error it must not be done.
    pub(super) async fn checkpoint(&self, id: &WorkspaceId, call: String) -> Result<(), Error> {
        self.ask(id, |answer| Request::Checkpoint(call, answer)).await
    }
}

/// The entries of one snapshot.
fn entries(
    snapshot: &Arc<SnapshotRecord>,
    behind: &[u64],
    own_bytes: impl Fn(&SnapshotRecord) -> u64,
) -> Vec<TimelineEntry> {
    let entry = |step: Option<&Step>, own_bytes: u64| TimelineEntry {
        at: step.map_or(snapshot.created_at, |step| step.at),
        is_behind: step.is_some_and(|step| behind.contains(&step.number)),
        step: step.cloned(),
        snapshot: Arc::clone(snapshot),
        own_bytes,
    };
    let is_checkpoint = snapshot.kind == SnapshotKind::Checkpoint;
    // What others have is told with them.
    let bytes = if is_checkpoint { own_bytes(snapshot) } else { 0 };
    let mut steps = snapshot.before.iter();
    let first = match steps.next() {
        None if is_checkpoint => entry(None, bytes),
        None => return Vec::new(),
        first => entry(first, bytes),
    };
    [first].into_iter().chain(steps.map(|step| entry(Some(step), 0))).collect()
}
