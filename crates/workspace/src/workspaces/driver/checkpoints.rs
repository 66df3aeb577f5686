//! Steps of a workspace, with a checkpoint before each, and back through them.
//!
//! ```text
//!   ○ ── step 1 ── ○ ── step 2 ── ○ ── step 3 ── now          undo 2:
//!                                  └ a checkpoint
//!   ○ ── step 1 ── ○ ── step 2 ── ○ ── step 3 ── ○            what was left is a checkpoint too
//!                  now
//! ```
//!
//! The next step takes the place of one that changed nothing. The numbers of the steps behind a state are part of it: each
//! snapshot has them, and who goes back to it has those again.

use std::sync::Arc;

use tracing::warn;

use super::{
    super::{
        id::SnapshotId,
        snapshots::{MOST_STEPS, SnapshotKind, SnapshotRecord, Step, capture::Wanted},
        state::Wish,
    },
    Driver,
    reset::Resumed,
};
use crate::{
    error::{Error, chain},
    task,
};

/// A workspace went back.
#[derive(Clone, Debug)]
pub struct Undone {
    /// To where.
    pub resumed: Resumed,
    /// Before which steps, the last one first.
    pub steps: Vec<Step>,
    /// Where it was, to go back to; none: that is the checkpoint of another step.
    pub left: Option<SnapshotId>,
}

impl Driver {
    /// Notes a call that may change something, with a checkpoint before it; nothing happens in a workspace without them. On an
    /// error the call must not be made.
    pub(super) async fn checkpoint(&mut self, call: &str) -> Result<(), Error> {
        if !self.record.auto_checkpoint {
            return Ok(());
        }
        self.wake_and_admit("take a checkpoint of it", Wish::Use).await?;
        let step = Step::now(self.record.lineage.next_step, call);
        // Whoever asks uses it.
        if let Some(unchanged) = self.unchanged_since(1) {
            return self.share_checkpoint(&unchanged, step).await;
        }
        let taken = self.take_checkpoint(Wanted::before(step), 1).await?;
        self.mark_unchanged_since(&taken);
        self.drop_old_checkpoints().await;
        Ok(())
    }

    /// Goes back before so many of the steps that are behind the state. On an error it is as it was.
    pub(super) async fn undo(&mut self, count: usize) -> Result<Undone, Error> {
        self.wake_and_admit("undo something in it", Wish::Reset).await?;
        let (checkpoint, steps) = self.back(count)?;
        let left = match self.unchanged_since(0) {
            Some(_) => None,
            None => {
                let wanted = Wanted::unnamed(SnapshotKind::Checkpoint);
                Some(self.take_checkpoint(wanted, 0).await?.id.clone())
            }
        };
        let resumed = self.reset(checkpoint.id.as_str(), None).await?;
        self.drop_old_checkpoints().await;
        Ok(Undone { resumed, steps, left })
    }

    /// Takes one while so many use the workspace, of whom it is known.
    async fn take_checkpoint(&mut self, wanted: Wanted, uses: usize) -> Result<Arc<SnapshotRecord>, Error> {
        // What is not sealed yet takes more room than it will, and the next one waits for it anyway.
        self.finish_sealing().await;
        self.admit_room().await?;
        self.close_layers(uses).await?;
        self.capture(wanted).await
    }

    /// Where so many steps back is, and which steps those are, the last one first.
    fn back(&self, count: usize) -> Result<(Arc<SnapshotRecord>, Vec<Step>), Error> {
        let records = self.snapshots.shelf.records();
        let found = |number: &u64| {
            records.iter().find_map(|record| {
                let step = record.before.iter().find(|step| step.number == *number)?;
                Some((Arc::clone(record), step.clone()))
            })
        };
        // A daemon that was killed before it had the checkpoint of a step did not make that. Of one whose record cannot be
        // read, nobody knows how far back it is.
        let steps = self.record.lineage.steps.iter().rev();
        let behind: Vec<_> = match self.snapshots.shelf.has_unreadable() {
            true => steps.map_while(found).collect(),
            false => steps.filter_map(found).collect(),
        };
        let nothing = || Error::NothingToUndo {
            workspace: self.record.id.clone(),
            steps: count,
            kept: behind.len(),
            is_automatic: self.record.auto_checkpoint,
        };
        let undone = behind.get(..count).filter(|undone| !undone.is_empty()).ok_or_else(nothing)?;
        let (checkpoint, _) = undone.last().ok_or_else(nothing)?;
        Ok((Arc::clone(checkpoint), undone.iter().map(|(_, step)| step.clone()).collect()))
    }

    /// The state is now that of this snapshot.
    pub(super) fn mark_unchanged_since(&mut self, snapshot: &SnapshotRecord) {
        let revision = *self.commands.changes().subscribe().borrow();
        self.snapshots.unchanged = Some((snapshot.id.clone(), revision));
    }

    /// The snapshot since which nothing can have changed while so many use the workspace; one that stays as long as its steps do.
    fn unchanged_since(&self, uses: usize) -> Option<Arc<SnapshotRecord>> {
        let (id, then) = self.snapshots.unchanged.as_ref()?;
        let now = *self.commands.changes().subscribe().borrow();
        // Another one may be about to change something.
        let is_still = self.uses.count() <= uses && self.commands.running() == 0;
        if !is_still || (now.commands, now.files) != (then.commands, then.files) {
            return None;
        }
        let stays = |kind| matches!(kind, SnapshotKind::Checkpoint | SnapshotKind::Baseline);
        self.snapshots.shelf.get(id).filter(|snapshot| stays(snapshot.kind))
    }

    /// The step before this one changed nothing: this one takes its place, unless it was undone.
    async fn share_checkpoint(&mut self, checkpoint: &SnapshotRecord, step: Step) -> Result<(), Error> {
        // It is written down whole when it is sealed.
        self.finish_sealing().await;
        let Some(checkpoint) = self.snapshots.shelf.get(&checkpoint.id) else { return Ok(()) };
        let (mut record, mut shared) = (self.record.clone(), SnapshotRecord::clone(&checkpoint));
        let last = shared.before.last().map(|last| last.number);
        if last.is_some() && last == record.lineage.steps.last().copied() {
            shared.before.pop();
            record.lineage.steps.pop();
        }
        record.lineage.step(step.number);
        shared.before.push(step);
        let surplus = shared.before.len().saturating_sub(MOST_STEPS);
        shared.before.drain(..surplus);
        self.store.update_workspace(&record).await?;
        self.record = record;
        let files = self.snapshots.shelf.files().clone();
        let shared = task::blocking(move || files.write(&shared).map(|()| shared)).await?;
        self.snapshots.shelf.put(shared);
        self.show();
        Ok(())
    }

    /// Forgets the oldest checkpoints over what is kept.
    async fn drop_old_checkpoints(&mut self) {
        let records = self.snapshots.shelf.records().iter();
        let mut checkpoints: Vec<_> =
            records.filter(|record| record.kind == SnapshotKind::Checkpoint).cloned().collect();
        checkpoints.sort_by_key(|record| record.created_at);
        let surplus = checkpoints.len().saturating_sub(MOST_STEPS);
        for old in checkpoints.iter().take(surplus) {
            // Its turn comes with the next one.
            if self.snapshots.is_sealing(&old.id) {
                continue;
            }
            if let Err(error) = self.discard(&old.id).await {
                warn!(snapshot = %old.id, error = %chain(&error), "an old checkpoint stays for now");
            }
        }
        self.sweep_if_due().await;
    }
}
