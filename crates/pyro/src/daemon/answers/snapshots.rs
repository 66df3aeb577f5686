//! Snapshots of workspaces, and what goes on from them: reset, fork, sleep.

use pyro_api::{
    ErrorBody,
    run::EXECUTION_MODE,
    workspace::{
        WORKSPACE_PATH,
        snapshot::{
            ResetView, Resumed, Snapshot, SnapshotCreateRequest, SnapshotDeleteRequest, SnapshotDeleted,
            SnapshotInspectRequest, SnapshotKind, SnapshotList, SnapshotResult, WorkspaceForkRequest,
            WorkspaceForked, WorkspaceReset, WorkspaceResetRequest,
        },
        view::Workspace,
    },
};
use pyro_workspace::{
    Host, StartKind,
    workspaces::{
        ForkRequest, Resumed as GoneOn, SeedRecord, SnapshotKind as Kind, SnapshotRequest, SnapshotView,
        WorkspaceId,
    },
};

use super::{labels, lifecycle::full, seconds};
use crate::daemon::{convert::error_body, handler::Streams};

pub(in crate::daemon) async fn create(
    host: &Host,
    request: SnapshotCreateRequest,
) -> Result<SnapshotResult, ErrorBody> {
    request.check()?;
    let wanted = SnapshotRequest {
        name: request.snapshot_name.into(),
        comment: request.comment,
        labels: labels(request.labels),
    };
    let taken = host.workspaces().take_snapshot(request.workspace.as_str(), wanted).await;
    let (id, view) = taken.map_err(|error| error_body(&error))?;
    result(host, &id, &view).await
}

pub(in crate::daemon) async fn list(host: &Host, reference: &str) -> Result<SnapshotList, ErrorBody> {
    let listed = host.workspaces().snapshots(reference).await;
    let (id, views) = listed.map_err(|error| error_body(&error))?;
    let seed = seed(host, &id).await?;
    let snapshots: Vec<Snapshot> = views.iter().map(|view| snapshot(&id, view, &seed)).collect();
    Ok(SnapshotList { workspace_id: id.to_string(), count: snapshots.len() as u64, snapshots })
}

pub(in crate::daemon) async fn inspect(
    host: &Host,
    request: SnapshotInspectRequest,
) -> Result<SnapshotResult, ErrorBody> {
    let found = host.workspaces().snapshot(request.workspace.as_str(), request.snapshot_name.as_str()).await;
    let (id, view) = found.map_err(|error| error_body(&error))?;
    result(host, &id, &view).await
}

pub(in crate::daemon) async fn delete(
    host: &Host,
    request: SnapshotDeleteRequest,
) -> Result<SnapshotDeleted, ErrorBody> {
    let workspaces = host.workspaces();
    let deleted =
        workspaces.delete_snapshot(request.workspace.as_str(), request.snapshot_name.as_str()).await;
    let (id, record) = deleted.map_err(|error| error_body(&error))?;
    Ok(SnapshotDeleted {
        workspace_id: id.to_string(),
        snapshot_name: record.shown_name().to_owned(),
        deleted: true,
    })
}

pub(in crate::daemon) async fn reset(
    host: &Host,
    request: WorkspaceResetRequest,
) -> Result<WorkspaceReset, ErrorBody> {
    let workspaces = host.workspaces();
    let reset = workspaces.reset(request.workspace.as_str(), request.snapshot.as_str()).await;
    let (view, resumed) = reset.map_err(|error| error_body(&error))?;
    let workspace_reset = reset_view(&view.record.seed, resumed);
    Ok(WorkspaceReset { workspace: full(host, view).await?, workspace_reset })
}

/// What a workspace with this seed goes on from.
pub(super) fn reset_view(seed: &SeedRecord, resumed: GoneOn) -> ResetView {
    let record = &resumed.snapshot;
    let is_baseline = record.kind == Kind::Baseline;
    ResetView {
        snapshot_name: record.shown_name().to_owned(),
        kind: kind(record.kind),
        destination: WORKSPACE_PATH.to_owned(),
        entry_count: is_baseline.then_some(seed.entry_count),
        bytes_written: bytes_written(is_baseline, seed, record.memory.as_ref().map_or(0, |m| m.stored_bytes)),
        resumed: how(resumed.start),
        boot_reason: resumed.because,
    }
}

pub(in crate::daemon) async fn fork(
    host: &Host,
    request: WorkspaceForkRequest,
    streams: Streams,
) -> Result<WorkspaceForked, ErrorBody> {
    request.check()?;
    let Streams { output: _, stdin: _, cancel } = streams;
    let workspaces = host.workspaces();
    let parent = workspaces.resolve(request.workspace.as_str()).map_err(|error| error_body(&error))?;
    let snapshot_name = request.snapshot.map(String::from);
    let wanted = ForkRequest {
        snapshot: snapshot_name.clone(),
        count: u32::try_from(request.count).unwrap_or(u32::MAX),
        name_prefix: request.name_prefix.map(String::from),
        labels: labels(request.labels),
    };
    let forked = workspaces.fork(parent.as_str(), wanted, cancel).await;
    let forked = forked.map_err(|error| error_body(&error))?;
    let mut made = Vec::new();
    for view in forked.workspaces {
        made.push(full(host, view).await?);
    }
    Ok(WorkspaceForked {
        workspace_id: parent.to_string(),
        snapshot_name,
        count: made.len() as u64,
        resumed: how(forked.start),
        boot_reason: forked.because,
        workspaces: made,
    })
}

pub(in crate::daemon) async fn sleep(host: &Host, reference: &str) -> Result<Workspace, ErrorBody> {
    let view = host.workspaces().sleep(reference).await.map_err(|error| error_body(&error))?;
    full(host, view).await
}

async fn result(host: &Host, id: &WorkspaceId, view: &SnapshotView) -> Result<SnapshotResult, ErrorBody> {
    let seed = seed(host, id).await?;
    Ok(SnapshotResult {
        workspace_id: id.to_string(),
        snapshot: snapshot(id, view, &seed),
        execution_mode: EXECUTION_MODE.to_owned(),
    })
}

async fn seed(host: &Host, id: &WorkspaceId) -> Result<SeedRecord, ErrorBody> {
    let view = host.workspaces().view(id.as_str()).await.map_err(|error| error_body(&error))?;
    Ok(view.record.seed)
}

fn snapshot(id: &WorkspaceId, view: &SnapshotView, seed: &SeedRecord) -> Snapshot {
    let record = &view.record;
    let is_baseline = record.kind == Kind::Baseline;
    Snapshot {
        workspace_id: id.to_string(),
        snapshot_id: record.id.to_string(),
        snapshot_name: record.shown_name().to_owned(),
        kind: kind(record.kind),
        created_at: seconds(record.created_at),
        parent: view.parent_name.clone(),
        comment: record.comment.clone(),
        labels: record.labels.clone(),
        has_memory: record.memory.is_some(),
        running_command_count: record.commands.len() as u64,
        paused_ms: record.paused.map(|paused| paused.as_secs_f64() * 1000.0),
        size_bytes: view.own_bytes,
        current: view.is_current,
        entry_count: is_baseline.then_some(seed.entry_count),
        bytes_written: bytes_written(is_baseline, seed, view.own_bytes),
        deletable: record.is_deletable(),
    }
}

/// Of the baseline the bytes of the seed, as the contract has it; of others what is stored of them.
fn bytes_written(is_baseline: bool, seed: &SeedRecord, stored: u64) -> u64 {
    if is_baseline { seed.content_bytes } else { stored }
}

fn kind(kind: Kind) -> SnapshotKind {
    match kind {
        Kind::Baseline => SnapshotKind::Baseline,
        Kind::Checkpoint => SnapshotKind::Checkpoint,
        Kind::Named | Kind::Fork | Kind::Sleep => SnapshotKind::Named,
    }
}

fn how(start: StartKind) -> Resumed {
    match start {
        StartKind::Restored => Resumed::Memory,
        StartKind::Booted => Resumed::Boot,
    }
}
