//! What a workspace does for those that are forked from it: it gives the state that they begin from.

use std::sync::Arc;

use tracing::warn;

use super::{
    super::{
        id::SnapshotId,
        snapshots::{SnapshotKind, SnapshotRecord},
    },
    Driver,
};
use crate::error::{Error, chain};

impl Driver {
    /// The snapshot of that name, for workspaces that are to begin from it; whole, if it can be.
    pub(super) async fn fork_point(&mut self, reference: &str) -> Result<Arc<SnapshotRecord>, Error> {
        self.finish_sealing().await;
        let found = self.find_snapshot(reference)?;
        self.touch().await;
        self.snapshots.fork_begins();
        Ok(found)
    }

    /// Whoever was forked has the files that it needs: a snapshot made for that alone goes.
    pub(super) async fn forked(&mut self, id: &SnapshotId) {
        let is_passing =
            self.snapshots.shelf.get(id).is_some_and(|snapshot| snapshot.kind == SnapshotKind::Fork);
        if !is_passing {
            self.snapshots.fork_ends();
            self.sweep_if_due().await;
            return;
        }
        if let Err(error) = self.discard(id).await {
            warn!(workspace = %self.record.id, snapshot = %id, error = %chain(&error), "a snapshot that nobody needs stays for now");
        }
        self.sweep_if_due().await;
    }
}
