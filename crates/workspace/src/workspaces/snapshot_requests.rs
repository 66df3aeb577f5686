//! What others ask of the snapshots of a workspace.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    WorkspaceId, Workspaces,
    disk::WorkspaceDisk,
    driver::{Request, Resumed},
    naming,
    snapshots::{SnapshotKind, SnapshotRecord, capture::Wanted, comment, snapshot_name},
    view::WorkspaceView,
};
use crate::{error::Error, task};

/// A snapshot to take.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SnapshotRequest {
    /// Its name, which no other of the workspace has.
    pub name: String,
    /// Why it is taken.
    pub comment: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A snapshot as it is now.
#[derive(Clone, Debug)]
pub struct SnapshotView {
    /// What is written down about it.
    pub record: Arc<SnapshotRecord>,
    /// What its parent is called; none: it has none, or that is gone.
    pub parent_name: Option<String>,
    /// What it alone takes on the host, bytes, as far as that can be told.
    pub own_bytes: u64,
    /// Whether the workspace goes on from it.
    pub is_current: bool,
}

impl Workspaces {
    /// Takes a snapshot of a workspace; returns when it is whole.
    pub async fn take_snapshot(
        &self,
        reference: &str,
        request: SnapshotRequest,
    ) -> Result<(WorkspaceId, SnapshotView), Error> {
        let wanted = Wanted {
            kind: SnapshotKind::Named,
            name: Some(snapshot_name(&request.name)?),
            comment: request.comment.as_deref().map(comment).transpose()?.filter(|text| !text.is_empty()),
            labels: naming::labels(&request.labels)?,
            step: None,
        };
        let id = self.resolve(reference)?;
        let taken = self.ask(&id, |answer| Request::Snapshot(wanted, answer)).await?;
        let view = self.snapshot_views(&id, vec![taken]).await?.pop();
        view.map(|view| (id, view)).ok_or_else(|| Error::Task("a snapshot without a view".to_owned()))
    }

    /// The snapshots of a workspace: the baseline first, then the newest ones.
    pub async fn snapshots(&self, reference: &str) -> Result<(WorkspaceId, Vec<SnapshotView>), Error> {
        let id = self.resolve(reference)?;
        let seen = self.shared.registry.seen(&id)?;
        let mut records: Vec<_> =
            seen.snapshots.iter().filter(|record| record.kind.is_listed()).cloned().collect();
        records.sort_by(|a, b| {
            let of_baseline = |record: &SnapshotRecord| record.kind != SnapshotKind::Baseline;
            (of_baseline(a), b.created_at, &a.name).cmp(&(of_baseline(b), a.created_at, &b.name))
        });
        let views = self.snapshot_views(&id, records).await?;
        Ok((id, views))
    }

    /// One snapshot of a workspace, by its name or its id.
    pub async fn snapshot(
        &self,
        reference: &str,
        snapshot: &str,
    ) -> Result<(WorkspaceId, SnapshotView), Error> {
        let id = self.resolve(reference)?;
        let found = self.shared.registry.seen(&id)?.find_snapshot(snapshot)?;
        let view = self.snapshot_views(&id, vec![found]).await?.pop();
        view.map(|view| (id, view)).ok_or_else(|| Error::Task("a snapshot without a view".to_owned()))
    }

    /// Removes a snapshot, not the baseline. What other snapshots need of it stays.
    pub async fn delete_snapshot(
        &self,
        reference: &str,
        snapshot: &str,
    ) -> Result<(WorkspaceId, Arc<SnapshotRecord>), Error> {
        let id = self.resolve(reference)?;
        let name = snapshot.to_owned();
        let deleted = self.ask(&id, |answer| Request::DeleteSnapshot(name, answer)).await?;
        Ok((id, deleted))
    }

    /// Has a workspace go on from a snapshot. On an error it is as it was.
    pub async fn reset(&self, reference: &str, snapshot: &str) -> Result<(WorkspaceView, Resumed), Error> {
        let id = self.resolve(reference)?;
        let snapshot = snapshot.to_owned();
        // Known to be there before it waits for its turn.
        self.shared.registry.seen(&id)?.find_snapshot(&snapshot)?;
        let turn = Some(self.shared.resources.turn_to_start().await?);
        let resumed = self.ask(&id, |answer| Request::Reset { snapshot, turn, answer }).await?;
        Ok((self.view_of(&id).await?, resumed))
    }

    /// Saves the machine of a workspace and ends it until it is used.
    pub async fn sleep(&self, reference: &str) -> Result<WorkspaceView, Error> {
        let id = self.resolve(reference)?;
        self.ask(&id, Request::Sleep).await?;
        self.view_of(&id).await
    }

    async fn snapshot_views(
        &self,
        id: &WorkspaceId,
        records: Vec<Arc<SnapshotRecord>>,
    ) -> Result<Vec<SnapshotView>, Error> {
        let seen = self.shared.registry.seen(id)?;
        let disk = WorkspaceDisk::of(&self.shared.resources.layout, id);
        task::blocking(move || {
            let name = |id| {
                let parent = seen.snapshots.iter().find(|record| record.id == id && record.kind.is_shown());
                parent.map(|parent| parent.shown_name().to_owned())
            };
            let view = |record: Arc<SnapshotRecord>| SnapshotView {
                parent_name: record.parent.clone().and_then(name),
                own_bytes: disk.snapshot_bytes(&record),
                is_current: seen.record.lineage.at.as_ref() == Some(&record.id),
                record,
            };
            Ok(records.into_iter().map(view).collect())
        })
        .await
    }
}
