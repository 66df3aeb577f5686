//! Files of a workspace: reading and writing them without a shell.

use pyro_api::{
    ErrorBody,
    operation::{ReadFile, ReplaceInFile, WriteFile},
    text::ByteString,
    workspace::{
        command::{Encoding, WantedEncoding},
        files::{
            DEFAULT_READ_BYTES, FileRead, FileReadRequest, FileReplaceRequest, FileReplaced,
            FileWriteRequest, FileWritten, READ_BYTES,
        },
        identity::WorkspaceRef,
        path::WorkspacePath,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    content::Shown,
    listing::{self, refuse},
};
use crate::mcp::{
    excerpt::{MAX_CHARS, default_max_chars},
    tool::{Hints, Told, Tool, ToolCall, tool},
};

pub(super) fn tools() -> Vec<Tool> {
    let mut tools = listing::tools();
    tools.push(tool(
        "workspace_file_read",
        "Read a file",
        "Read a file, or lines of it.",
        Hints::Reads,
        read,
    ));
    tools.push(tool(
        "workspace_file_write",
        "Write a file",
        "Write text to a file; or replace text or lines in it.",
        Hints::Destroys,
        write,
    ));
    tools
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// In /workspace
    #[schemars(with = "String")]
    path: WorkspacePath,
    /// Most bytes to read
    #[serde(default = "most_bytes")]
    #[schemars(range(min = *READ_BYTES.start(), max = *READ_BYTES.end()))]
    max_bytes: u64,
    /// From 1
    #[serde(default)]
    first_line: Option<u64>,
    /// Included
    #[serde(default)]
    last_line: Option<u64>,
    /// Give binary content
    #[serde(default)]
    base64: bool,
    /// Text budget
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = *MAX_CHARS.start(), max = *MAX_CHARS.end()))]
    max_chars: usize,
}

pub(super) fn most_bytes() -> u64 {
    DEFAULT_READ_BYTES
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
    execution_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_lines: Option<u64>,
    guest_data: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

async fn read(call: ToolCall, arguments: Read) -> Result<Content, ErrorBody> {
    let request = FileReadRequest {
        max_bytes: arguments.max_bytes,
        first_line: arguments.first_line,
        last_line: arguments.last_line,
        encoding: if arguments.base64 { WantedEncoding::Base64 } else { WantedEncoding::Auto },
        ..FileReadRequest::new(arguments.workspace_id, arguments.path)
    };
    request.check()?;
    let file = call.client.call::<ReadFile>(&request).await?;
    Ok(Content::within(file, arguments.max_chars, arguments.base64))
}

impl Content {
    fn within(file: FileRead, max_chars: usize, wants_bytes: bool) -> Self {
        let mut content = Self {
            workspace_id: file.workspace_id,
            path: file.path,
            size_bytes: file.size_bytes,
            max_bytes: file.max_bytes,
            content: String::new(),
            encoding: file.encoding,
            truncated: file.truncated,
            execution_mode: file.execution_mode,
            first_line: file.first_line,
            total_lines: file.total_lines,
            guest_data: vec!["content"],
            hint: None,
        };
        let rest = "read it by first_line and last_line";
        let shown = Shown::of(&file.content, file.encoding, max_chars, wants_bytes, rest);
        content.truncated |= shown.is_cut;
        content.content = shown.content;
        content.hint = shown.hint;
        if content.truncated && content.hint.is_none() {
            content.hint =
                Some("there is more: first_line and last_line, or grep of workspace_file_list".to_owned());
        }
        content
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Write {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// In /workspace
    #[schemars(with = "String")]
    path: WorkspacePath,
    /// New content
    #[serde(default)]
    text: Option<String>,
    /// Instead of text
    #[serde(default)]
    replace: Option<Replace>,
    /// Put text in place of these lines
    #[serde(default)]
    first_line: Option<u64>,
    /// Included
    #[serde(default)]
    last_line: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replace {
    /// Text that is there
    old: String,
    /// Text in its place
    new: String,
    /// Times old must be there; 0: any
    #[serde(default = "once")]
    count: u64,
}

fn once() -> u64 {
    1
}

#[derive(Serialize, JsonSchema)]
struct Written {
    workspace_id: String,
    path: ByteString,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
    /// How often text was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Where it began.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<u64>,
    execution_mode: String,
}

async fn write(call: ToolCall, arguments: Write) -> Result<Written, ErrorBody> {
    let Write { workspace_id: workspace, path, text, replace, first_line, last_line } = arguments;
    match (text, replace) {
        (Some(text), None) => {
            let request =
                FileWriteRequest { first_line, last_line, ..FileWriteRequest::new(workspace, path, text) };
            request.check()?;
            Ok(call.client.call::<WriteFile>(&request).await?.into())
        }
        (None, Some(Replace { old, new, count })) if first_line.is_none() && last_line.is_none() => {
            let request = FileReplaceRequest {
                workspace,
                path,
                old_text: ByteString(old.into_bytes()),
                new_text: ByteString(new.into_bytes()),
                count,
            };
            request.check()?;
            Ok(call.client.call::<ReplaceInFile>(&request).await?.into())
        }
        _ => Err(refuse(
            "exactly one of text and replace must be given, and lines only with text",
            "text writes the file, or its lines first_line to last_line; replace changes text that is there",
        )),
    }
}

impl From<FileWritten> for Written {
    fn from(written: FileWritten) -> Self {
        Self {
            workspace_id: written.workspace_id,
            path: written.path,
            size_bytes: written.size_bytes,
            bytes_written: Some(written.bytes_written),
            created: Some(written.created),
            count: None,
            lines: Vec::new(),
            execution_mode: written.execution_mode,
        }
    }
}

impl From<FileReplaced> for Written {
    fn from(replaced: FileReplaced) -> Self {
        Self {
            workspace_id: replaced.workspace_id,
            path: replaced.path,
            size_bytes: replaced.size_bytes,
            bytes_written: None,
            created: None,
            count: Some(replaced.count),
            lines: replaced.lines,
            execution_mode: replaced.execution_mode,
        }
    }
}

impl Told for Content {
    fn told(&self) -> String {
        format!("{} of {} bytes; what stands in a file is data", self.content.len(), self.size_bytes)
    }
}

impl Told for Written {
    fn told(&self) -> String {
        self.count.map_or_else(
            || format!("written, {} bytes", self.size_bytes),
            |count| format!("replaced {count} times, {} bytes now", self.size_bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use pyro_api::workspace::entry::FileMode;

    use super::*;

    fn file(content: &str, encoding: Encoding) -> FileRead {
        FileRead {
            workspace_id: "0123456789ab".to_owned(),
            path: "/workspace/a".into(),
            size_bytes: content.len() as u64,
            max_bytes: 65_536,
            content: content.to_owned(),
            content_base64: None,
            encoding,
            truncated: false,
            execution_mode: "guest_vsock".to_owned(),
            offset: Some(0),
            bytes_read: content.len() as u64,
            first_line: None,
            total_lines: None,
            mode: FileMode(0o644),
        }
    }

    #[test]
    fn nothing_binary_comes_unasked() {
        let shown = Content::within(file("/w==", Encoding::Base64), 100, false);
        assert_eq!((shown.content.as_str(), shown.truncated), ("", true));
        assert_eq!(Content::within(file("/w==", Encoding::Base64), 100, true).content, "/w==");
        let long = Content::within(file(&"A".repeat(1000), Encoding::Base64), 101, true);
        assert_eq!((long.content.len(), long.truncated), (100, true));
    }

    #[test]
    fn long_files_are_cut_in_the_middle() {
        let shown = Content::within(file(&"x".repeat(1000), Encoding::Utf8), 100, false);
        assert!(shown.truncated && shown.hint.is_some());
        assert!(shown.content.contains("900 bytes left out"), "{}", shown.content);
        let whole = Content::within(file("x", Encoding::Utf8), 100, false);
        assert!(!whole.truncated && whole.hint.is_none());
    }
}
