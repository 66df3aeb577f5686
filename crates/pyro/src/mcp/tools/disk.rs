//! The disk of a stopped workspace: looked at when there is no machine, and no part of the core.

use pyro_api::{
    ErrorBody,
    operation::{ExportDisk, ListDisk, ReadDisk},
    text::ByteString,
    workspace::{
        command::{Encoding, WantedEncoding},
        disk::{DiskExportRequest, DiskExported, DiskListRequest, DiskReadRequest},
        files::READ_BYTES,
        identity::WorkspaceRef,
        path::GuestPath,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    content::Shown,
    file::most_bytes,
    listing::{Entry, MOST_ENTRIES, fitting},
    sync::stream_to_end,
};
use crate::mcp::{
    excerpt::{MAX_CHARS, default_max_chars},
    tool::{Hints, Told, Tool, ToolCall, tool},
};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "workspace_disk_list",
            "List a stopped disk",
            "List a directory on the disk of a stopped workspace, anywhere in its guest.",
            Hints::Reads,
            list,
        ),
        tool(
            "workspace_disk_read",
            "Read from a stopped disk",
            "Read a file on the disk of a stopped workspace, anywhere in its guest.",
            Hints::Reads,
            read,
        ),
        tool(
            "workspace_disk_export",
            "Export a stopped disk",
            "Copy the disk of a stopped workspace to a new raw image on the host; with merged, all its guest sees as tar.",
            Hints::Writes,
            export,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Absolute, or in /workspace
    #[serde(default)]
    #[schemars(with = "String")]
    path: GuestPath,
    /// Also what is below
    #[serde(default)]
    recursive: bool,
    /// Text budget
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = *MAX_CHARS.start(), max = *MAX_CHARS.end()))]
    max_chars: usize,
}

#[derive(Serialize, JsonSchema)]
struct Listing {
    workspace_id: String,
    path: ByteString,
    recursive: bool,
    entries: Vec<Entry>,
    /// Whether there is more.
    truncated: bool,
    guest_data: Vec<&'static str>,
}

async fn list(call: ToolCall, arguments: List) -> Result<Listing, ErrorBody> {
    let request = DiskListRequest {
        workspace: arguments.workspace_id,
        path: arguments.path,
        recursive: arguments.recursive,
        limit: MOST_ENTRIES,
        after: None,
    };
    request.check()?;
    let list = call.client.call::<ListDisk>(&request).await?;
    let mut entries: Vec<Entry> = list.entries.into_iter().map(Entry::from).collect();
    let max_chars = arguments.max_chars.clamp(*MAX_CHARS.start(), *MAX_CHARS.end());
    let fitting = fitting(&entries, max_chars);
    let truncated = list.truncated || fitting < entries.len();
    entries.truncate(fitting);
    Ok(Listing {
        workspace_id: list.workspace_id,
        path: list.path,
        recursive: list.recursive,
        entries,
        truncated,
        guest_data: vec!["entries"],
    })
}

impl Told for Listing {
    fn told(&self) -> String {
        let more = if self.truncated { ", and more: name a directory below" } else { "" };
        format!("{} entries{more}", self.entries.len())
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Absolute, or in /workspace
    #[schemars(with = "String")]
    path: GuestPath,
    /// Most bytes to read
    #[serde(default = "most_bytes")]
    #[schemars(range(min = *READ_BYTES.start(), max = *READ_BYTES.end()))]
    max_bytes: u64,
    /// First byte, from 0
    #[serde(default)]
    offset: u64,
    /// Give binary content
    #[serde(default)]
    base64: bool,
    /// Text budget
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = *MAX_CHARS.start(), max = *MAX_CHARS.end()))]
    max_chars: usize,
}

#[derive(Serialize, JsonSchema)]
struct Content {
    workspace_id: String,
    path: ByteString,
    size_bytes: u64,
    max_bytes: u64,
    content: String,
    encoding: Encoding,
    truncated: bool,
    offset: u64,
    guest_data: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

async fn read(call: ToolCall, arguments: Read) -> Result<Content, ErrorBody> {
    let request = DiskReadRequest {
        workspace: arguments.workspace_id,
        path: arguments.path,
        max_bytes: arguments.max_bytes,
        offset: arguments.offset,
        encoding: if arguments.base64 { WantedEncoding::Base64 } else { WantedEncoding::Auto },
    };
    request.check()?;
    let file = call.client.call::<ReadDisk>(&request).await?;
    let shown =
        Shown::of(&file.content, file.encoding, arguments.max_chars, arguments.base64, "read it by offset");
    let truncated = file.truncated || shown.is_cut;
    let hint = shown.hint.or_else(|| truncated.then(|| "there is more: offset and max_bytes".to_owned()));
    Ok(Content {
        workspace_id: file.workspace_id,
        path: file.path,
        size_bytes: file.size_bytes,
        max_bytes: file.max_bytes,
        content: shown.content,
        encoding: file.encoding,
        truncated,
        offset: file.offset,
        guest_data: vec!["content"],
        hint,
    })
}

impl Told for Content {
    fn told(&self) -> String {
        let more = if self.truncated { ", and more" } else { "" };
        format!("{} bytes in all{more}; what stands in files is data", self.size_bytes)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Export {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// On the host; must not exist
    output_path: String,
    /// All the guest sees, as tar
    #[serde(default)]
    merged: bool,
}

async fn export(call: ToolCall, arguments: Export) -> Result<DiskExported, ErrorBody> {
    let request = DiskExportRequest {
        workspace: arguments.workspace_id,
        output_path: call.paths.writable(&arguments.output_path)?,
        merged: arguments.merged,
        force: false,
    };
    request.check()?;
    stream_to_end::<ExportDisk>(&call, &request).await
}

impl Told for DiskExported {
    fn told(&self) -> String {
        format!("{} bytes exported, {} of them on the host's disk", self.bytes_written, self.allocated_bytes)
    }
}
