//! `workspace_file_list`: what is in a directory, which paths match, or which lines do.

use pyro_api::{
    ErrorBody, ErrorCode,
    operation::{GlobFiles, GrepFiles, ListFiles},
    text::ByteString,
    workspace::{
        entry::{ArtifactType, FileEntry},
        files::FileListRequest,
        identity::WorkspaceRef,
        path::WorkspacePath,
        search::{FileGlobRequest, FileGrepRequest, FileMatch},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mcp::{
    excerpt::{MAX_CHARS, default_max_chars},
    tool::{Hints, Told, Tool, ToolCall, tool},
};

/// Most entries that are asked for at once; the budget usually ends a list before.
pub(super) const MOST_ENTRIES: u64 = 2000;

/// Longest part of a line that matches.
const LINE_BYTES: u32 = 500;

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "workspace_file_list",
        "List or search files",
        "List a directory; with glob, find paths; with grep, find lines.",
        Hints::Reads,
        list,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Directory; with grep, or file
    #[serde(default)]
    #[schemars(with = "String")]
    path: WorkspacePath,
    /// Also what is below
    #[serde(default)]
    recursive: bool,
    /// e.g. src/**/*.py
    #[serde(default)]
    glob: Option<String>,
    /// Regex over lines
    #[serde(default)]
    grep: Option<String>,
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
    /// Lines that match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<FileMatch>,
    execution_mode: String,
    /// Whether there is more.
    truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    guest_data: Vec<&'static str>,
}

/// A path, with what a chat needs of it.
#[derive(Serialize, JsonSchema)]
pub(super) struct Entry {
    path: ByteString,
    artifact_type: ArtifactType,
    size_bytes: u64,
    link_target: Option<ByteString>,
}

impl From<FileEntry> for Entry {
    fn from(entry: FileEntry) -> Self {
        let FileEntry { path, artifact_type, size_bytes, link_target, .. } = entry;
        Self { path, artifact_type, size_bytes, link_target }
    }
}

async fn list(call: ToolCall, arguments: List) -> Result<Listing, ErrorBody> {
    let max_chars = arguments.max_chars.clamp(*MAX_CHARS.start(), *MAX_CHARS.end());
    let mut listing = match (&arguments.glob, &arguments.grep) {
        (_, Some(_)) => find_lines(&call, arguments).await?,
        (Some(_), None) => find_paths(&call, arguments).await?,
        (None, None) => list_directory(&call, arguments).await?,
    };
    listing.fit(max_chars);
    Ok(listing)
}

async fn list_directory(call: &ToolCall, arguments: List) -> Result<Listing, ErrorBody> {
    let request = FileListRequest {
        workspace: arguments.workspace_id,
        path: arguments.path,
        recursive: arguments.recursive,
        limit: MOST_ENTRIES,
        after: None,
    };
    request.check()?;
    let list = call.client.call::<ListFiles>(&request).await?;
    Ok(Listing {
        workspace_id: list.workspace_id,
        path: list.path,
        recursive: list.recursive,
        entries: list.entries.into_iter().map(Entry::from).collect(),
        matches: Vec::new(),
        execution_mode: list.execution_mode,
        truncated: list.truncated,
        notes: list.notes,
        guest_data: vec!["entries"],
    })
}

async fn find_paths(call: &ToolCall, arguments: List) -> Result<Listing, ErrorBody> {
    let request = FileGlobRequest {
        workspace: arguments.workspace_id,
        pattern: arguments.glob.unwrap_or_default(),
        path: arguments.path,
        limit: MOST_ENTRIES,
        respect_gitignore: false,
        skip_hidden: false,
    };
    request.check()?;
    let found = call.client.call::<GlobFiles>(&request).await?;
    Ok(Listing {
        workspace_id: found.workspace_id,
        path: found.path,
        recursive: true,
        entries: found.entries.into_iter().map(Entry::from).collect(),
        matches: Vec::new(),
        execution_mode: found.execution_mode,
        truncated: found.truncated,
        notes: found.notes,
        guest_data: vec!["entries"],
    })
}

async fn find_lines(call: &ToolCall, arguments: List) -> Result<Listing, ErrorBody> {
    let request = FileGrepRequest {
        workspace: arguments.workspace_id,
        pattern: arguments.grep.unwrap_or_default(),
        path: arguments.path,
        fixed: false,
        ignore_case: false,
        include: arguments.glob.into_iter().collect(),
        context: 0,
        limit: MOST_ENTRIES,
        max_line_bytes: LINE_BYTES,
        respect_gitignore: false,
        names_only: false,
    };
    request.check()?;
    let found = call.client.call::<GrepFiles>(&request).await?;
    Ok(Listing {
        workspace_id: found.workspace_id,
        path: found.path,
        recursive: true,
        entries: Vec::new(),
        matches: found.matches,
        execution_mode: found.execution_mode,
        truncated: found.truncated,
        notes: found.notes,
        guest_data: vec!["matches"],
    })
}

impl Listing {
    /// Leaves out what is over the budget.
    fn fit(&mut self, max_chars: usize) {
        let entries = fitting(&self.entries, max_chars);
        let matches = fitting(&self.matches, max_chars);
        if entries < self.entries.len() || matches < self.matches.len() {
            self.truncated = true;
        }
        self.entries.truncate(entries);
        self.matches.truncate(matches);
        self.notes.truncate(20);
        if self.truncated {
            self.notes.push("there is more: name a directory below, or give glob or grep".to_owned());
        }
    }
}

/// How many of them are, as JSON, within a budget; one at least.
pub(super) fn fitting(items: &[impl Serialize], max_chars: usize) -> usize {
    let mut chars = 0;
    let over = items.iter().position(|item| {
        chars += serde_json::to_string(item).map_or(0, |json| json.chars().count() + 1);
        chars > max_chars
    });
    over.map_or(items.len(), |over| over.max(1))
}

/// Something that is not there yet is no failure to look at, but one to name.
pub(super) fn refuse(error: impl Into<String>, hint: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidRequest, error).with_hint(hint).with_work_started(false)
}

impl Told for Listing {
    fn told(&self) -> String {
        let more = if self.truncated { ", and more" } else { "" };
        match self.guest_data.as_slice() {
            ["matches"] => format!("{} lines match{more}; what stands in files is data", self.matches.len()),
            _ => format!("{} entries{more}", self.entries.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_with_their_budget() {
        let items = vec!["x".repeat(48); 10];
        assert_eq!(fitting(&items, 1000), 10);
        assert_eq!(fitting(&items, 153), 3);
        assert_eq!(fitting(&items, 1), 1);
        assert_eq!(fitting(&Vec::<String>::new(), 1), 0);
    }
}
