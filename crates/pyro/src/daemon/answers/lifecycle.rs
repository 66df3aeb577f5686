//! Workspaces as a whole: create, find, change, stop, start, delete.

use std::{os::unix::ffi::OsStringExt, path::PathBuf, time::Duration};

use pyro_api::{
    ErrorBody, ErrorCode,
    gc::{GcRequest, GcResult},
    text::ByteString,
    workspace::{
        create::WorkspaceCreateRequest,
        lifecycle::{WorkspaceDeleteRequest, WorkspaceDeleted, WorkspaceUpdateRequest},
        list::{WorkspaceList, WorkspaceListRequest},
        progress::{WorkEvent, WorkProgress},
        view::Workspace,
        wait::{WorkspaceRevision, WorkspaceWaitRequest},
    },
};
use pyro_workspace::{
    Host,
    files::SeedSource,
    workspaces::{CreateEvent, CreateIo, CreateRequest, WorkspaceFilter, WorkspaceUpdate, WorkspaceView},
};
use tokio::sync::mpsc;

use super::{
    convert, labels,
    page::{self, Place},
};
use crate::daemon::{
    convert::error_body,
    handler::{StreamOutput, Streams},
};

/// Sizes of pages when none is asked for: all of them.
const WHOLE_LIST: u64 = u64::MAX;

pub(in crate::daemon) async fn create(
    host: &Host,
    request: WorkspaceCreateRequest,
    streams: Streams,
) -> Result<Workspace, ErrorBody> {
    request.check()?;
    let Streams { output, stdin: _, cancel } = streams;
    let (events, told) = mpsc::channel(64);
    let creating = host.workspaces().create(create_request(request).await?, CreateIo { events, cancel });
    let (created, ()) = tokio::join!(creating, tell(told, &output));
    let view = created.map_err(|error| {
        let body = error_body(&error);
        tracing::warn!(code = %body.code, %error, "a workspace was not made");
        body
    })?;
    full(host, view).await
}

async fn create_request(request: WorkspaceCreateRequest) -> Result<CreateRequest, ErrorBody> {
    let defaults = CreateRequest::new(request.environment);
    let seed = match request.seed_path {
        Some(path) => Some(seed_source(path, request.exclude, request.seed_git).await?),
        None => None,
    };
    Ok(CreateRequest {
        name: request.name.map(String::from),
        labels: labels(request.labels),
        vcpus: u8::try_from(request.vcpu_count).unwrap_or(u8::MAX),
        mem_mib: request.mem_mib,
        disk_mib: request.disk_mib.unwrap_or(defaults.disk_mib),
        ttl: ttl(request.ttl_seconds),
        idle_sleep: ttl(request.idle_sleep_seconds),
        auto_checkpoint: request.auto_checkpoint,
        seed,
        allow_host_compat: request.allow_host_compat,
        ..defaults
    })
}

/// A directory or an archive of the host, as it is found now.
pub(super) async fn seed_source(
    path: ByteString,
    exclude: Vec<String>,
    tracked_by_git: bool,
) -> Result<SeedSource, ErrorBody> {
    let path = host_path(path);
    let about = tokio::fs::metadata(&path).await.map_err(|error| {
        ErrorBody::new(ErrorCode::SeedFailed, format!("cannot read {}: {error}", path.display()))
    })?;
    let is_archive = || {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|ending| name.ends_with(ending))
    };
    if about.is_dir() {
        return Ok(SeedSource::Directory { path, exclude, tracked_by_git });
    }
    if about.is_file() && is_archive() {
        if tracked_by_git || !exclude.is_empty() {
            let text = format!("{} is an archive: it is taken whole", path.display());
            return Err(ErrorBody::new(ErrorCode::InvalidRequest, text)
                .with_hint("leave things out when the archive is made, or name a directory"));
        }
        return Ok(SeedSource::Archive { path });
    }
    let text =
        format!("{} is neither a directory nor a .tar, .tar.gz, .tgz or .tar.zst file", path.display());
    Err(ErrorBody::new(ErrorCode::SeedFailed, text))
}

/// A path of the host that was checked to be absolute.
pub(super) fn host_path(path: ByteString) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(path.0))
}

/// A time to live as the contract counts it.
pub(super) fn ttl(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

async fn tell(mut events: mpsc::Receiver<CreateEvent>, output: &StreamOutput) {
    while let Some(event) = events.recv().await {
        let progress = match event {
            CreateEvent::Pulling { phase, fraction } => {
                WorkProgress { step: phase, fraction, ..WorkProgress::default() }
            }
            CreateEvent::Starting(id) => {
                WorkProgress { step: "start".to_owned(), detail: id.to_string(), ..WorkProgress::default() }
            }
            CreateEvent::Seeding(moved) => {
                WorkProgress { step: "seed".to_owned(), bytes: moved.bytes, ..WorkProgress::default() }
            }
        };
        // Dropping the channel tells the library that nobody waits any more.
        if output.event(&WorkEvent::Progress(progress)).await.is_err() {
            return;
        }
    }
}

pub(in crate::daemon) async fn list(
    host: &Host,
    request: WorkspaceListRequest,
) -> Result<WorkspaceList, ErrorBody> {
    request.check()?;
    let filter = WorkspaceFilter {
        name: request.name.map(String::from),
        labels: labels(request.labels),
        state: request.state.map(|state| state.token().to_owned()),
        one_shot: false,
    };
    let views = host.workspaces().list(&filter).await.map_err(|error| error_body(&error))?;
    let ended = request.cursor.as_deref().map(Place::from_cursor).transpose()?;
    let limit = usize::try_from(request.limit.unwrap_or(WHOLE_LIST)).unwrap_or(usize::MAX);
    let (page, next_cursor) = page::behind(ended.as_ref(), views, limit, |view| Place::of(&view.record));
    let workspaces: Vec<_> = page.into_iter().map(convert::list_item).collect();
    Ok(WorkspaceList { count: workspaces.len() as u64, workspaces, next_cursor })
}

pub(in crate::daemon) async fn status(host: &Host, reference: &str) -> Result<Workspace, ErrorBody> {
    let view = host.workspaces().view(reference).await.map_err(|error| error_body(&error))?;
    full(host, view).await
}

pub(in crate::daemon) async fn wait(
    host: &Host,
    request: WorkspaceWaitRequest,
    streams: Streams,
) -> Result<WorkspaceRevision, ErrorBody> {
    let WorkspaceWaitRequest { workspace, after, timeout_seconds } = request;
    let timeout = async {
        match timeout_seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let workspaces = host.workspaces();
    let waited = tokio::select! {
        changed = workspaces.changed(workspace.as_str(), after) => changed,
        () = streams.cancel.cancelled() => Err(pyro_workspace::Error::Cancelled),
        () = timeout => workspaces.changed(workspace.as_str(), None).await,
    };
    let (id, revision) = waited.map_err(|error| error_body(&error))?;
    Ok(WorkspaceRevision {
        workspace_id: id.to_string(),
        revision: revision.last,
        commands_revision: revision.commands,
        files_revision: revision.files,
        changed: after.is_some_and(|after| after != revision.last),
    })
}

pub(in crate::daemon) async fn update(
    host: &Host,
    request: WorkspaceUpdateRequest,
) -> Result<Workspace, ErrorBody> {
    request.check()?;
    let update = WorkspaceUpdate {
        name: request.name.map(String::from),
        clear_name: request.clear_name,
        labels: labels(request.labels),
        clear_labels: request.clear_labels.into_iter().map(String::from).collect(),
        ttl: request.ttl_seconds.map(ttl),
        idle_sleep: request.idle_sleep_seconds.map(ttl),
        auto_checkpoint: request.auto_checkpoint,
    };
    let updated = host.workspaces().update(request.workspace.as_str(), update).await;
    full(host, updated.map_err(|error| error_body(&error))?).await
}

pub(in crate::daemon) async fn start(host: &Host, reference: &str) -> Result<Workspace, ErrorBody> {
    let view = host.workspaces().start(reference).await.map_err(|error| error_body(&error))?;
    full(host, view).await
}

pub(in crate::daemon) async fn stop(host: &Host, reference: &str) -> Result<Workspace, ErrorBody> {
    let view = host.workspaces().stop(reference).await.map_err(|error| error_body(&error))?;
    full(host, view).await
}

pub(in crate::daemon) async fn delete(
    host: &Host,
    request: WorkspaceDeleteRequest,
) -> Result<WorkspaceDeleted, ErrorBody> {
    let deleted = host.workspaces().delete(request.workspace.as_str(), request.force).await;
    let id = deleted.map_err(|error| error_body(&error))?;
    Ok(WorkspaceDeleted { workspace_id: id.to_string(), deleted: true, reason: "explicit_delete".to_owned() })
}

pub(in crate::daemon) async fn collect_garbage(
    host: &Host,
    request: GcRequest,
) -> Result<GcResult, ErrorBody> {
    let collected = host.workspaces().collect_garbage(request.dry_run).await;
    let items: Vec<_> = collected.map_err(|error| error_body(&error))?.iter().map(convert::garbage).collect();
    Ok(GcResult {
        dry_run: request.dry_run,
        count: items.iter().filter(|item| item.failure.is_none()).count() as u64,
        bytes_freed: items.iter().filter(|item| item.failure.is_none()).map(|item| item.size_bytes).sum(),
        items,
    })
}

/// A view with what only the index knows.
pub(super) async fn full(host: &Host, view: WorkspaceView) -> Result<Workspace, ErrorBody> {
    let last = host.workspaces().last_command(&view.record.id).await.map_err(|error| error_body(&error))?;
    Ok(convert::workspace(view, last.as_ref()))
}
