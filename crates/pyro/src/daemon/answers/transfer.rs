//! Whole files and trees between host, caller and workspace.

use std::{
    future::Future,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use pyro_api::{
    ErrorBody, ErrorCode,
    frame::Kind,
    run::EXECUTION_MODE,
    text::ByteString,
    workspace::{
        export::{ExportFormat, WorkspaceExportRequest, WorkspaceExported},
        files::FileWritten,
        path::{WorkspacePath, absolute},
        progress::{WorkEvent, WorkProgress},
        sync::{
            PullView, PushView, SyncChange, SyncConflict, SyncPullRequest, SyncPulled, SyncPushRequest,
            SyncPushed,
        },
        transfer::{FileDownloadRequest, FileDownloaded, FileUploadRequest},
        view::SeedMode,
    },
};
use pyro_workspace::{
    Error, Host,
    files::{
        Change, ExportForm, ExportRequest, ExportTo, PullRequest, PushRequest, Read, TransferProgress, Write,
    },
    workspaces,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    entries::{artifact_type, change_status, failed, mode, open},
    lifecycle::{host_path, seed_source},
};
use crate::daemon::handler::{StreamOutput, Streams};

/// Pieces of a file that may wait for a slow client.
const PIECES_AHEAD: usize = 4;

pub(in crate::daemon) async fn file_download(
    host: &Host,
    request: FileDownloadRequest,
    streams: Streams,
) -> Result<FileDownloaded, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let read = Read { path: path.clone(), ..Read::default() };
    let (pieces, sent) = mpsc::channel(PIECES_AHEAD);
    let reading = async {
        let done = files.read_to(read, &pieces).await;
        drop(pieces);
        done
    };
    let (done, size_bytes) = attended(reading, send(sent, &streams.output), &streams.cancel).await?;
    Ok(FileDownloaded {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        size_bytes,
        mode: mode(done.entry.map_or(0, |file| file.mode)),
        execution_mode: EXECUTION_MODE.to_owned(),
    })
}

pub(in crate::daemon) async fn file_upload(
    host: &Host,
    request: FileUploadRequest,
    streams: Streams,
) -> Result<FileWritten, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let write = Write {
        path: path.clone(),
        mode: request.mode.map(|mode| mode.0),
        create_only: request.create_only,
        ..Write::default()
    };
    let Streams { output, mut stdin, cancel } = streams;
    let (pieces, mut taken) = mpsc::channel(1);
    let received = AtomicU64::new(0);
    let (report, told) = reporter();
    let passing = async {
        while let Some(piece) = stdin.recv().await {
            let piece: Bytes = piece;
            let bytes =
                received.fetch_add(piece.len() as u64, Ordering::Relaxed).saturating_add(piece.len() as u64);
            report(TransferProgress { bytes });
            // A guest that takes no more has said why.
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        drop((pieces, report));
    };
    // A client that has gone has not sent all.
    let is_whole = || {
        let received = received.load(Ordering::Relaxed);
        !cancel.is_cancelled() && request.size_bytes.is_none_or(|announced| announced == received)
    };
    let writing = files.write_from(write, &mut taken, is_whole);
    let telling = async { tokio::join!(passing, tell("upload", request.size_bytes, told, &output)) };
    let writing = async {
        tokio::pin!(telling);
        let mut writing = std::pin::pin!(writing);
        // The input need not be at its end when the guest refuses it.
        tokio::select! {
            biased;
            written = &mut writing => written,
            _ = &mut telling => writing.await,
        }
    };
    let (written, ()) = Box::pin(attended(writing, async {}, &cancel)).await?;
    let file = written.entry.unwrap_or_default();
    Ok(FileWritten {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        size_bytes: file.size_bytes,
        bytes_written: written.written_bytes,
        execution_mode: EXECUTION_MODE.to_owned(),
        created: written.created,
        mode: mode(file.mode),
    })
}

pub(in crate::daemon) async fn sync_push(
    host: &Host,
    request: SyncPushRequest,
    streams: Streams,
) -> Result<SyncPushed, ErrorBody> {
    request.check()?;
    let destination = request.dest.relative()?;
    let source = seed_source(request.source_path, request.exclude, request.git).await?;
    let files = open(host, request.workspace.as_str()).await?;
    let push = PushRequest {
        source: source.clone(),
        destination: destination.clone(),
        delete: request.delete,
        dry_run: request.dry_run,
    };
    let (report, told) = reporter();
    let pushing = files.push(push, report);
    let (outcome, ()) = attended(pushing, tell("push", None, told, &streams.output), &streams.cancel).await?;
    let pushed = outcome.pushed;
    let received = pushed.received.unwrap_or_default();
    Ok(SyncPushed {
        workspace_id: files.workspace().to_string(),
        execution_mode: EXECUTION_MODE.to_owned(),
        workspace_sync: PushView {
            mode: match source.mode() {
                workspaces::SeedMode::Empty => SeedMode::Empty,
                workspaces::SeedMode::Directory => SeedMode::Directory,
                workspaces::SeedMode::TarArchive => SeedMode::TarArchive,
            },
            source_path: path_bytes(source.path()),
            entry_count: received.entry_count,
            bytes_written: received.content_bytes,
            changed_count: pushed.changed_count,
            deleted_count: pushed.deleted_count,
            changes: pushed.changes.iter().map(|change| sync_change(change, &destination)).collect(),
            destination: absolute(&destination),
            dry_run: request.dry_run,
            notes: outcome.notes,
        },
    })
}

fn sync_change(change: &Change, destination: &[u8]) -> SyncChange {
    let status = change_status(change.status());
    let below = change.path.strip_prefix(destination).and_then(|path| path.strip_prefix(b"/"));
    SyncChange { path: ByteString(below.unwrap_or(&change.path).to_vec()), status }
}

pub(in crate::daemon) async fn sync_pull(
    host: &Host,
    request: SyncPullRequest,
    streams: Streams,
) -> Result<SyncPulled, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let pull = PullRequest {
        target: request.target_path.map(host_path),
        paths: request.paths.iter().map(WorkspacePath::relative).collect::<Result<_, _>>()?,
        exclude: request.exclude,
        dry_run: request.dry_run,
    };
    let (report, told) = reporter();
    let pulling = files.pull(pull, report);
    let (pulled, ()) = attended(pulling, tell("pull", None, told, &streams.output), &streams.cancel).await?;
    let conflicts = pulled.conflicts.into_iter().map(|conflict| SyncConflict {
        path: ByteString(conflict.path),
        guest: change_status(conflict.guest),
        host: change_status(conflict.host),
    });
    let changes = pulled
        .changes
        .into_iter()
        .map(|change| SyncChange { path: ByteString(change.path), status: change_status(change.status) });
    Ok(SyncPulled {
        workspace_id: files.workspace().to_string(),
        execution_mode: EXECUTION_MODE.to_owned(),
        workspace_sync: PullView {
            source_path: absolute(b""),
            destination: path_bytes(&pulled.target),
            entry_count: pulled.changed_count,
            bytes_written: pulled.content_bytes,
            changed_count: pulled.changed_count,
            deleted_count: pulled.deleted_count,
            conflict_count: pulled.conflict_count,
            changes: changes.collect(),
            conflicts: conflicts.collect(),
            dry_run: request.dry_run,
            notes: pulled.notes,
        },
    })
}

pub(in crate::daemon) async fn export(
    host: &Host,
    request: WorkspaceExportRequest,
    streams: Streams,
) -> Result<WorkspaceExported, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let (report, told) = reporter();
    let (pieces, sent) = mpsc::channel(PIECES_AHEAD);
    let to = match request.output_path.clone() {
        Some(path) => {
            drop(pieces);
            ExportTo::Place { path: host_path(path), force: request.force }
        }
        None => ExportTo::Caller(pieces),
    };
    let form = match request.format {
        ExportFormat::Tree => ExportForm::Tree,
        ExportFormat::Tar => ExportForm::Tar,
        ExportFormat::Patch => ExportForm::Patch,
    };
    let exporting = files.export(ExportRequest { path: path.clone(), form, to }, report);
    let telling =
        async { tokio::join!(tell("export", None, told, &streams.output), send(sent, &streams.output)) };
    let (exported, _) = attended(exporting, telling, &streams.cancel).await?;
    Ok(WorkspaceExported {
        workspace_id: files.workspace().to_string(),
        workspace_path: absolute(&path),
        output_path: request.output_path,
        artifact_type: artifact_type(exported.kind),
        format: request.format,
        entry_count: exported.entry_count,
        bytes_written: exported.content_bytes,
        execution_mode: EXECUTION_MODE.to_owned(),
        notes: exported.notes,
    })
}

fn path_bytes(path: &Path) -> ByteString {
    ByteString(path.as_os_str().as_bytes().to_vec())
}

/// Works while the client is told of it, unless the client gives up.
pub(super) async fn attended<T, A>(
    work: impl Future<Output = Result<T, Error>>,
    telling: impl Future<Output = A>,
    cancel: &CancellationToken,
) -> Result<(T, A), ErrorBody> {
    tokio::select! {
        (outcome, told) = async { tokio::join!(work, telling) } => {
            Ok((outcome.map_err(|error| failed(&error))?, told))
        }
        () = cancel.cancelled() => Err(ErrorBody::new(ErrorCode::Cancelled, "cancelled")),
    }
}

/// What is reported at one end, the newest is told at the other: a slow client delays nothing.
pub(super) fn reporter()
-> (impl Fn(TransferProgress) + Send + Sync + 'static, watch::Receiver<TransferProgress>) {
    let (reports, told) = watch::channel(TransferProgress::default());
    let report = move |progress| {
        reports.send_replace(progress);
    };
    (report, told)
}

pub(super) async fn tell(
    step: &str,
    all_bytes: Option<u64>,
    mut told: watch::Receiver<TransferProgress>,
    output: &StreamOutput,
) {
    while told.changed().await.is_ok() {
        let bytes = told.borrow_and_update().bytes;
        let fraction = all_bytes.map(|all_bytes| share(bytes, all_bytes));
        let progress = WorkProgress { step: step.to_owned(), bytes, fraction, ..WorkProgress::default() };
        if output.event(&WorkEvent::Progress(progress)).await.is_err() {
            return;
        }
    }
}

/// Bytes of all, 0 to 1. Nothing of nothing is everything.
#[expect(clippy::cast_precision_loss, reason = "nobody sees the difference")]
pub(super) fn share(bytes: u64, all_bytes: u64) -> f64 {
    if bytes >= all_bytes { 1.0 } else { bytes as f64 / all_bytes as f64 }
}

/// Sends pieces to the client. How many bytes there were.
async fn send(mut pieces: mpsc::Receiver<Bytes>, output: &StreamOutput) -> u64 {
    let mut bytes = 0;
    while let Some(piece) = pieces.recv().await {
        bytes += piece.len() as u64;
        // Dropping the channel tells the library that nobody waits any more.
        if output.bytes(Kind::Stdout, piece).await.is_err() {
            break;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_between_nothing_and_all() {
        let shares = [(0, 8), (2, 8), (8, 8), (9, 8), (0, 0)].map(|(bytes, all)| share(bytes, all));
        assert_eq!(shares, [0.0, 0.25, 1.0, 1.0, 1.0]);
    }
}
