//! Files of a workspace: looking, reading, writing, moving, deleting.
//!
//! Writes replace a file in one step and keep its mode and owner. No path leaves `/workspace` through a link.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{
    command::{Encoding, WantedEncoding},
    entry::{FileEntry, FileMode},
    identity::WorkspaceRef,
    path::WorkspacePath,
};
use crate::{
    check::{exactly_one, invalid, within},
    error::{ErrorBody, ErrorCode},
    text::{ByteString, from_base64},
};

/// Bytes that one read may ask for.
pub const READ_BYTES: RangeInclusive<u64> = 1..=1 << 20;
/// Bytes of a read when nothing is said.
pub const DEFAULT_READ_BYTES: u64 = 65_536;
/// Longest content of one write in a single request; `workspace_file_upload` takes any length.
pub const MAX_WRITE_BYTES: usize = 1 << 20;
/// Entries of one page of a listing.
pub const ENTRY_LIMITS: RangeInclusive<u64> = 1..=20_000;
/// Entries of a page when nothing is said.
pub const DEFAULT_ENTRY_LIMIT: u64 = 20_000;

/// Lists a directory, or names a single file. Links are shown, never followed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileListRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// What.
    #[serde(default)]
    pub path: WorkspacePath,
    /// Also what is in directories below.
    #[serde(default)]
    pub recursive: bool,
    /// At most so many entries, within [`ENTRY_LIMITS`].
    #[serde(default = "default_entry_limit")]
    #[cfg_attr(feature = "schema", schemars(range(min = *ENTRY_LIMITS.start(), max = *ENTRY_LIMITS.end())))]
    pub limit: u64,
    /// Only entries after this path, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<WorkspacePath>,
}

pub(super) fn default_entry_limit() -> u64 {
    DEFAULT_ENTRY_LIMIT
}

impl FileListRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("limit", self.limit, &ENTRY_LIMITS)?;
        self.path.check()?;
        self.after.as_ref().map_or(Ok(()), WorkspacePath::check_below)
    }
}

/// What is in a directory.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileList {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// As it was asked.
    pub recursive: bool,
    /// In order of their paths; a directory stands before what is in it.
    pub entries: Vec<FileEntry>,
    /// How it was done.
    pub execution_mode: String,
    /// Whether there is more.
    pub truncated: bool,
    /// There is more: ask for it with this as `after`.
    pub next_after: Option<ByteString>,
    /// What could not be looked at, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Looks at one path. A link is not followed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileStatRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// What.
    pub path: WorkspacePath,
    /// Whether a file's SHA-256 is wanted.
    #[serde(default)]
    pub sha256: bool,
}

/// One path.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileStat {
    /// Whose.
    pub workspace_id: String,
    /// What is there.
    #[serde(flatten)]
    pub entry: FileEntry,
}

/// Reads a file, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileReadRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
    /// At most so many bytes, within [`READ_BYTES`].
    #[serde(default = "default_read_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *READ_BYTES.start(), max = *READ_BYTES.end())))]
    pub max_bytes: u64,
    /// First byte, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// First line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_line: Option<u64>,
    /// Last line, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_line: Option<u64>,
    /// How the bytes shall stand in JSON.
    #[serde(default = "default_encoding")]
    pub encoding: WantedEncoding,
}

pub(super) fn default_read_bytes() -> u64 {
    DEFAULT_READ_BYTES
}

pub(super) fn default_encoding() -> WantedEncoding {
    WantedEncoding::Utf8
}

impl FileReadRequest {
    /// A request with the defaults.
    pub fn new(workspace: WorkspaceRef, path: WorkspacePath) -> Self {
        Self {
            workspace,
            path,
            max_bytes: DEFAULT_READ_BYTES,
            offset: None,
            first_line: None,
            last_line: None,
            encoding: WantedEncoding::Utf8,
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("max_bytes", self.max_bytes, &READ_BYTES)?;
        self.path.check()?;
        let by_line = self.first_line.is_some() || self.last_line.is_some();
        if by_line && self.offset.is_some() {
            return Err(invalid(
                "bytes and lines exclude each other: give offset, or first_line and last_line",
            ));
        }
        check_lines(self.first_line.unwrap_or(1), self.last_line.unwrap_or(u64::MAX), false)
    }
}

fn check_lines(first: u64, last: u64, may_insert: bool) -> Result<(), ErrorBody> {
    let least_last = if may_insert { first.saturating_sub(1) } else { first };
    if first == 0 || last < least_last {
        return Err(invalid("lines are counted from 1, and the last is not before the first"));
    }
    Ok(())
}

/// A file, or a part of one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileRead {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// As it was asked.
    pub max_bytes: u64,
    /// The bytes, as text with replacement characters where they are no UTF-8, unless asked otherwise.
    pub content: String,
    /// How they stand in `content`.
    pub encoding: Encoding,
    /// The exact bytes, only where `content` has replacement characters for some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Whether `max_bytes` cut off what was asked for.
    pub truncated: bool,
    /// How it was done.
    pub execution_mode: String,
    /// Place of the first byte; null when lines were asked for.
    pub offset: Option<u64>,
    /// How many bytes `content` stands for.
    pub bytes_read: u64,
    /// Number of the first line, when lines were asked for.
    pub first_line: Option<u64>,
    /// Lines in the whole file, when lines were asked for and its end was reached.
    pub total_lines: Option<u64>,
    /// Permission bits.
    pub mode: FileMode,
}

/// Writes a file, in one step. Directories above are made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileWriteRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
    /// The content as text; either this or `content_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The content as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Permission bits; those of the file that is there, or 0644, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Fails with `already_exists` if something is there.
    #[serde(default)]
    pub create_only: bool,
    /// Adds to the end of the file, which is made if it is not there.
    #[serde(default)]
    pub append: bool,
    /// Replaces only the lines from here, from 1, to `last_line`. Where lines follow, the content gets a line's end if it has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_line: Option<u64>,
    /// The last line that is replaced; one less than `first_line` inserts before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_line: Option<u64>,
}

impl FileWriteRequest {
    /// A request that writes a whole file.
    pub fn new(workspace: WorkspaceRef, path: WorkspacePath, text: impl Into<String>) -> Self {
        Self {
            workspace,
            path,
            text: Some(text.into()),
            content_base64: None,
            mode: None,
            create_only: false,
            append: false,
            first_line: None,
            last_line: None,
        }
    }

    /// The bytes to write. Fails as [`FileWriteRequest::check`] does.
    pub fn content(&self) -> Result<Vec<u8>, ErrorBody> {
        exactly_one("text and content_base64", &[self.text.is_some(), self.content_base64.is_some()])?;
        let content = match (&self.text, &self.content_base64) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, base64) => base64
                .as_deref()
                .and_then(from_base64)
                .ok_or_else(|| invalid("content_base64 is not base64"))?,
        };
        if content.len() > MAX_WRITE_BYTES {
            let error = format!("content is longer than {MAX_WRITE_BYTES} bytes");
            return Err(ErrorBody::new(ErrorCode::FileTooLarge, error)
                .with_hint("`pyro workspace file upload` takes a file of any length"));
        }
        Ok(content)
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.path.check_below()?;
        self.content()?;
        match (self.first_line, self.last_line) {
            (None, None) => {}
            (Some(first), Some(last)) => check_lines(first, last, true)?,
            _ => return Err(invalid("first_line and last_line are given together")),
        }
        let ways = [self.create_only, self.append, self.first_line.is_some()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(invalid("create_only, append and a range of lines exclude each other"));
        }
        Ok(())
    }
}

/// A file was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileWritten {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// Size of the file now.
    pub size_bytes: u64,
    /// Bytes that were taken.
    pub bytes_written: u64,
    /// How it was done.
    pub execution_mode: String,
    /// Whether the file was not there before.
    pub created: bool,
    /// Permission bits.
    pub mode: FileMode,
}

/// Replaces text in a file, which must be there exactly so often as expected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileReplaceRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
    /// What must be there.
    pub old_text: ByteString,
    /// What comes in its place; nothing when empty.
    pub new_text: ByteString,
    /// How often it must be there; 0: at least once, and all are replaced.
    #[serde(default = "one")]
    pub count: u64,
}

pub(super) fn one() -> u64 {
    1
}

impl FileReplaceRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.path.check_below()?;
        if self.old_text.0.is_empty() {
            return Err(invalid("old_text is empty"));
        }
        if self.old_text == self.new_text {
            return Err(invalid("old_text and new_text are the same"));
        }
        if self.old_text.0.len() + self.new_text.0.len() > MAX_WRITE_BYTES {
            let error = format!("old_text and new_text are longer than {MAX_WRITE_BYTES} bytes");
            return Err(ErrorBody::new(ErrorCode::FileTooLarge, error));
        }
        Ok(())
    }
}

/// Text was replaced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileReplaced {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// How often.
    pub count: u64,
    /// Lines where the old text began, from 1; at most 1,000.
    pub lines: Vec<u64>,
    /// Size of the file now.
    pub size_bytes: u64,
    /// How it was done.
    pub execution_mode: String,
}

/// Makes a directory and those above it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileMkdirRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
    /// Permission bits; 0755 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Fails with `already_exists` if it is there.
    #[serde(default)]
    pub create_only: bool,
}

/// Moves a file or a directory, in one step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileMoveRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// From.
    pub from: WorkspacePath,
    /// To, the new path itself. Directories above are made.
    pub to: WorkspacePath,
    /// Whether a file that is there is replaced.
    #[serde(default)]
    pub overwrite: bool,
}

/// Copies a file, or a directory with all that it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileCopyRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// From.
    pub from: WorkspacePath,
    /// To, the new path itself. Directories above are made.
    pub to: WorkspacePath,
    /// Whether a file that is there is replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// Whether a directory may be copied.
    #[serde(default)]
    pub recursive: bool,
}

/// Deletes a file, a link or a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileDeleteRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
    /// Whether a directory goes with all that it holds.
    #[serde(default)]
    pub recursive: bool,
    /// Whether it is fine if nothing is there.
    #[serde(default)]
    pub missing_ok: bool,
}

macro_rules! checks_below {
    ($($request:ident [$($path:ident),+];)+) => {
        $(impl $request {
            /// Everything about the request that can be judged without a host.
            pub fn check(&self) -> Result<(), ErrorBody> {
                $(self.$path.check_below()?;)+
                Ok(())
            }
        })+
    };
}

checks_below! {
    FileMkdirRequest [path];
    FileMoveRequest [from, to];
    FileCopyRequest [from, to];
    FileDeleteRequest [path];
}

impl FileStatRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.path.check()
    }
}

/// Something was made, moved, copied or deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileChanged {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest; of a move or a copy, the new one.
    pub path: ByteString,
    /// Of a move or a copy, the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ByteString>,
    /// Whether anything was to be done.
    pub changed: bool,
    /// Of a copy, entries made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_count: Option<u64>,
    /// Of a copy, bytes of regular files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_written: Option<u64>,
    /// How it was done.
    pub execution_mode: String,
}

#[cfg(test)]
mod tests;
