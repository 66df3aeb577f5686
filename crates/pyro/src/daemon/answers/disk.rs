//! The disk of a workspace whose machine does not run.

use pyro_api::{
    ErrorBody,
    text::ByteString,
    workspace::{
        disk::{
            DiskExportRequest, DiskExported, DiskFormat, DiskList, DiskListRequest, DiskRead, DiskReadRequest,
        },
        entry::{ArtifactType, FileEntry},
        path::GuestPath,
    },
};
use pyro_workspace::{
    Host,
    workspaces::{DiskEntry, DiskExport, DiskForm, DiskKind, DiskMetadata, StoppedDisk},
};

use super::{
    entries::{failed, fit, in_json, mode},
    files::{Text, text},
    lifecycle::host_path,
    transfer::{attended, reporter, tell},
};
use crate::daemon::handler::Streams;

async fn open(host: &Host, reference: &str) -> Result<StoppedDisk, ErrorBody> {
    host.workspaces().disk(reference).await.map_err(|error| failed(&error))
}

pub(in crate::daemon) async fn list(host: &Host, request: DiskListRequest) -> Result<DiskList, ErrorBody> {
    request.check()?;
    let disk = open(host, request.workspace.as_str()).await?;
    let path = request.path.absolute()?;
    let after = request.after.as_ref().map(GuestPath::absolute).transpose()?;
    let listing = disk.list(path.clone(), request.recursive, after, request.limit).await;
    let listing = listing.map_err(|error| failed(&error))?;
    let mut entries = listing.entries;
    let is_cut = fit(&mut entries, |entry| {
        in_json(&entry.path) + entry.link_target.as_ref().map_or(0, |target| in_json(target))
    });
    let truncated = is_cut || listing.truncated;
    let next_after = entries.last().filter(|_| truncated).map(|last| ByteString(last.path.clone()));
    Ok(DiskList {
        workspace_id: disk.workspace().to_string(),
        path: ByteString(path),
        recursive: request.recursive,
        entries: entries.into_iter().map(entry).collect(),
        truncated,
        next_after,
    })
}

pub(in crate::daemon) async fn read(host: &Host, request: DiskReadRequest) -> Result<DiskRead, ErrorBody> {
    request.check()?;
    let disk = open(host, request.workspace.as_str()).await?;
    let path = request.path.absolute()?;
    let content = disk.read(path.clone(), request.offset, request.max_bytes).await;
    let content = content.map_err(|error| failed(&error))?;
    let size_bytes = content.metadata.size_bytes;
    let truncated = request.offset.saturating_add(content.bytes.len() as u64) < size_bytes;
    let Text { content: shown, encoding, content_base64, bytes_read } =
        text(&content.bytes, request.encoding, truncated);
    Ok(DiskRead {
        workspace_id: disk.workspace().to_string(),
        path: ByteString(path),
        size_bytes,
        max_bytes: request.max_bytes,
        content: shown,
        encoding,
        content_base64,
        truncated,
        offset: request.offset,
        bytes_read,
        mode: mode(u32::from(content.metadata.mode)),
    })
}

pub(in crate::daemon) async fn export(
    host: &Host,
    request: DiskExportRequest,
    streams: Streams,
) -> Result<DiskExported, ErrorBody> {
    request.check()?;
    let disk = open(host, request.workspace.as_str()).await?;
    let (report, told) = reporter();
    let form = if request.merged { DiskForm::Tree } else { DiskForm::Raw };
    let export = DiskExport { form, path: host_path(request.output_path.clone()), force: request.force };
    let exporting = disk.export(export, report);
    let (exported, ()) =
        attended(exporting, tell("export", None, told, &streams.output), &streams.cancel).await?;
    Ok(DiskExported {
        workspace_id: disk.workspace().to_string(),
        output_path: request.output_path,
        disk_format: if request.merged { DiskFormat::Tar } else { DiskFormat::Ext4 },
        bytes_written: exported.length_bytes,
        allocated_bytes: exported.allocated_bytes,
    })
}

fn entry(entry: DiskEntry) -> FileEntry {
    let DiskMetadata { kind, mode: bits, uid, gid, size_bytes, mtime_s, mtime_ns, .. } = entry.metadata;
    FileEntry {
        path: ByteString(entry.path),
        artifact_type: artifact_type(kind),
        size_bytes: if matches!(kind, DiskKind::File | DiskKind::Symlink) { size_bytes } else { 0 },
        link_target: entry.link_target.map(ByteString),
        mode: mode(u32::from(bits)),
        uid,
        gid,
        modified_at: seconds(mtime_s, mtime_ns),
        sha256: None,
    }
}

fn artifact_type(kind: DiskKind) -> ArtifactType {
    match kind {
        DiskKind::File => ArtifactType::File,
        DiskKind::Directory => ArtifactType::Directory,
        DiskKind::Symlink => ArtifactType::Symlink,
        DiskKind::CharacterDevice | DiskKind::BlockDevice | DiskKind::Fifo | DiskKind::Socket => {
            ArtifactType::Special
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the contract's times are seconds with fractions")]
fn seconds(whole: i64, nanoseconds: u32) -> f64 {
    whole as f64 + f64::from(nanoseconds) / 1e9
}
