//! Files of a workspace: looking, reading, writing, moving, deleting.

use bytes::Bytes;
use pyro_api::{
    ErrorBody,
    run::EXECUTION_MODE,
    text::{ByteString, to_base64},
    workspace::{
        command::{Encoding, WantedEncoding},
        files::{
            FileChanged, FileCopyRequest, FileDeleteRequest, FileList, FileListRequest, FileMkdirRequest,
            FileMoveRequest, FileRead, FileReadRequest, FileReplaceRequest, FileReplaced, FileStat,
            FileStatRequest, FileWriteRequest, FileWritten,
        },
        path::{WorkspacePath, absolute},
    },
};
use pyro_workspace::{
    Host,
    files::{Delete, Entry, List, MakeDirectory, PathRef, Read, Replace, Transfer, Write},
};

use super::entries::{entry, failed, fit, in_json, mode, open};

pub(in crate::daemon) async fn file_list(
    host: &Host,
    request: FileListRequest,
) -> Result<FileList, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let list = List {
        path: path.clone(),
        recursive: request.recursive,
        limit: request.limit,
        with_stamps: false,
        after: request.after.as_ref().map_or(Ok(Vec::new()), WorkspacePath::relative)?,
    };
    let listing = files.list(list).await.map_err(|error| failed(&error))?;
    let mut entries = listing.entries;
    let is_cut = fit(&mut entries, |entry| in_json(&entry.path) + in_json(&entry.link_target));
    let truncated = is_cut || listing.listed.truncated;
    let next_after = entries.last().filter(|_| truncated).map(|last| absolute(&last.path));
    Ok(FileList {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        recursive: request.recursive,
        entries: entries.into_iter().map(entry).collect(),
        execution_mode: EXECUTION_MODE.to_owned(),
        truncated,
        next_after,
        notes: listing.listed.notes,
    })
}

pub(in crate::daemon) async fn file_stat(
    host: &Host,
    request: FileStatRequest,
) -> Result<FileStat, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let stat = PathRef { path: request.path.relative()?, with_sha256: request.sha256 };
    let found = files.stat(stat).await.map_err(|error| failed(&error))?;
    Ok(FileStat { workspace_id: files.workspace().to_string(), entry: entry(found) })
}

pub(in crate::daemon) async fn file_read(
    host: &Host,
    request: FileReadRequest,
) -> Result<FileRead, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let by_line = request.first_line.is_some() || request.last_line.is_some();
    let first_line = by_line.then(|| request.first_line.unwrap_or(1));
    let offset = (!by_line).then(|| request.offset.unwrap_or(0));
    let read = Read {
        path: path.clone(),
        offset: offset.unwrap_or(0),
        max_bytes: request.max_bytes,
        first_line: first_line.unwrap_or(0),
        last_line: request.last_line.unwrap_or(0),
    };
    let read = files.read(read).await.map_err(|error| failed(&error))?;
    let truncated = read.done.truncated;
    let Text { content, encoding, content_base64, bytes_read } =
        text(&read.bytes, request.encoding, truncated);
    let file = read.done.entry.unwrap_or_default();
    Ok(FileRead {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        size_bytes: file.size_bytes,
        max_bytes: request.max_bytes,
        content,
        encoding,
        content_base64,
        truncated,
        execution_mode: EXECUTION_MODE.to_owned(),
        offset,
        bytes_read,
        first_line,
        total_lines: read.done.total_lines,
        mode: mode(file.mode),
    })
}

/// Bytes as they stand in JSON.
pub(super) struct Text {
    pub(super) content: String,
    pub(super) encoding: Encoding,
    /// The bytes once more, where `content` has not all of them.
    pub(super) content_base64: Option<String>,
    /// For how many of the bytes it stands.
    pub(super) bytes_read: u64,
}

/// A character that the bound cut in two is left for the next read, which begins with it.
pub(super) fn text(bytes: &[u8], wanted: WantedEncoding, is_cut: bool) -> Text {
    let whole = match std::str::from_utf8(bytes) {
        Ok(_) => Some(bytes.len()),
        Err(error) => {
            let is_only_cut = is_cut && error.error_len().is_none() && error.valid_up_to() > 0;
            is_only_cut.then(|| error.valid_up_to())
        }
    };
    let as_text = |bytes: &[u8]| Text {
        content: String::from_utf8_lossy(bytes).into_owned(),
        encoding: Encoding::Utf8,
        content_base64: None,
        bytes_read: bytes.len() as u64,
    };
    match (wanted, whole) {
        (WantedEncoding::Auto | WantedEncoding::Utf8, Some(whole)) => as_text(&bytes[..whole]),
        (WantedEncoding::Utf8, None) => Text { content_base64: Some(to_base64(bytes)), ..as_text(bytes) },
        (WantedEncoding::Auto, None) | (WantedEncoding::Base64, _) => {
            Text { content: to_base64(bytes), encoding: Encoding::Base64, ..as_text(bytes) }
        }
    }
}

pub(in crate::daemon) async fn file_write(
    host: &Host,
    request: FileWriteRequest,
) -> Result<FileWritten, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let content = Bytes::from(request.content()?);
    let write = Write {
        path: path.clone(),
        mode: request.mode.map(|mode| mode.0),
        create_only: request.create_only,
        first_line: request.first_line.unwrap_or(0),
        last_line: request.last_line.unwrap_or(0),
        max_bytes: content.len() as u64,
        append: request.append,
    };
    let written = files.write(write, content).await.map_err(|error| failed(&error))?;
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

pub(in crate::daemon) async fn file_replace(
    host: &Host,
    request: FileReplaceRequest,
) -> Result<FileReplaced, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let replace = Replace {
        path: path.clone(),
        old: request.old_text.0,
        new: request.new_text.0,
        count: request.count,
    };
    let replaced = files.replace(replace).await.map_err(|error| failed(&error))?;
    Ok(FileReplaced {
        workspace_id: files.workspace().to_string(),
        path: absolute(&path),
        count: replaced.count,
        lines: replaced.lines,
        size_bytes: replaced.entry.map_or(0, |file: Entry| file.size_bytes),
        execution_mode: EXECUTION_MODE.to_owned(),
    })
}

pub(in crate::daemon) async fn file_mkdir(
    host: &Host,
    request: FileMkdirRequest,
) -> Result<FileChanged, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let make = MakeDirectory {
        path: path.clone(),
        mode: request.mode.map(|mode| mode.0),
        must_create: request.create_only,
    };
    let changed = files.make_directory(make).await.map_err(|error| failed(&error))?;
    Ok(FileChanged { changed, ..changed_path(files.workspace().to_string(), &path) })
}

pub(in crate::daemon) async fn file_move(
    host: &Host,
    request: FileMoveRequest,
) -> Result<FileChanged, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let (from, to) = (request.from.relative()?, request.to.relative()?);
    let transfer =
        Transfer { from: from.clone(), to: to.clone(), overwrite: request.overwrite, recursive: true };
    files.rename(transfer).await.map_err(|error| failed(&error))?;
    Ok(FileChanged { from: Some(absolute(&from)), ..changed_path(files.workspace().to_string(), &to) })
}

pub(in crate::daemon) async fn file_copy(
    host: &Host,
    request: FileCopyRequest,
) -> Result<FileChanged, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let (from, to) = (request.from.relative()?, request.to.relative()?);
    let FileCopyRequest { overwrite, recursive, .. } = request;
    let transfer = Transfer { from: from.clone(), to: to.clone(), overwrite, recursive };
    let copied = files.copy(transfer).await.map_err(|error| failed(&error))?;
    Ok(FileChanged {
        from: Some(absolute(&from)),
        entry_count: Some(copied.entry_count),
        bytes_written: Some(copied.content_bytes),
        ..changed_path(files.workspace().to_string(), &to)
    })
}

pub(in crate::daemon) async fn file_delete(
    host: &Host,
    request: FileDeleteRequest,
) -> Result<FileChanged, ErrorBody> {
    request.check()?;
    let files = open(host, request.workspace.as_str()).await?;
    let path = request.path.relative()?;
    let FileDeleteRequest { recursive, missing_ok, .. } = request;
    let delete = Delete { path: path.clone(), recursive, missing_ok };
    let changed = files.delete(delete).await.map_err(|error| failed(&error))?;
    Ok(FileChanged { changed, ..changed_path(files.workspace().to_string(), &path) })
}

fn changed_path(workspace_id: String, path: &[u8]) -> FileChanged {
    let path: ByteString = absolute(path);
    FileChanged {
        workspace_id,
        path,
        from: None,
        changed: true,
        entry_count: None,
        bytes_written: None,
        execution_mode: EXECUTION_MODE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8], wanted: WantedEncoding, is_cut: bool) -> (String, Encoding, u64) {
        let Text { content, encoding, content_base64, bytes_read } = text(bytes, wanted, is_cut);
        let is_exact = content_base64.is_none() || content_base64 == Some(to_base64(bytes));
        assert!(is_exact && content_base64.is_some() == content.contains('\u{fffd}'), "{bytes:?}");
        (content, encoding, bytes_read)
    }

    #[test]
    fn bytes_become_text_where_they_are_text() {
        use {Encoding as Is, WantedEncoding as Want};
        let snowman = "a☃".as_bytes();
        for (bytes, wanted, is_cut, content, encoding, count) in [
            (snowman, Want::Auto, false, "a☃", Is::Utf8, 4),
            (&snowman[..3], Want::Auto, true, "a", Is::Utf8, 1),
            (&snowman[..3], Want::Auto, false, "YeKY", Is::Base64, 3),
            (&snowman[2..], Want::Auto, true, "mIM=", Is::Base64, 2),
            (b"\xff", Want::Utf8, false, "\u{fffd}", Is::Utf8, 1),
            (b"\xffa", Want::Auto, true, "/2E=", Is::Base64, 2),
            (b"a", Want::Base64, false, "YQ==", Is::Base64, 1),
            (b"", Want::Auto, false, "", Is::Utf8, 0),
        ] {
            assert_eq!(told(bytes, wanted, is_cut), (content.to_owned(), encoding, count), "{bytes:?}");
        }
    }
}
