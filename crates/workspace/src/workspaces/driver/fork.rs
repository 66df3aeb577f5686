//! What a workspace does for those that are forked from it: it gives the state that they begin from.

use tracing::warn;

use super::{
    super::{id::SnapshotId, snapshots::SnapshotKind},
    Driver,
};
use crate::error::chain;

impl Driver {
    /// Whoever was forked has the files that it needs: a snapshot made for that alone goes.
    pub(super) async fn forked(&mut self, id: &SnapshotId) {
        let is_passing =
            self.snapshots.shelf.get(id).is_some_and(|snapshot| snapshot.kind == SnapshotKind::Fork);
        if !is_passing {
            return;
        }
        self.finish_sealing().await;
        if let Err(error) = self.discard(id).await {
            warn!(workspace = %self.record.id, snapshot = %id, error = %chain(&error), "a snapshot that nobody needs stays for now");
        }
        self.sweep_if_due();
    }
}
