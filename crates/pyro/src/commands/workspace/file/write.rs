//! `pyro workspace file write`.

use std::{io::Cursor, path::PathBuf};

use clap::{ArgGroup, Args};
use pyro_api::{
    ErrorBody,
    operation::WriteFile,
    text::to_base64,
    workspace::{
        entry::FileMode,
        files::{FileWriteRequest, MAX_WRITE_BYTES},
        identity::WorkspaceRef,
        path::WorkspacePath,
        transfer::FileUploadRequest,
    },
};
use tokio::io::AsyncReadExt as _;

use super::{guest_path, input, line_range::LineRange, tell_written, upload::upload};
use crate::{
    commands::{client, workspace::host_path},
    output::{Failure, Status},
    settings::Settings,
};

/// Write a file, in one step; its mode and owner stay as they are
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("content").required(true).args(["text", "text_file", "stdin"]))]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The file; directories above it are made
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// The content itself
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// File of this host that holds the content
    #[arg(long, value_name = "PATH")]
    text_file: Option<PathBuf>,
    /// Read the content from standard input
    #[arg(long)]
    stdin: bool,
    /// Permission bits [default: those of the file that is there, or 0644]
    #[arg(long, value_name = "MODE")]
    mode: Option<FileMode>,
    /// Fail if something is there
    #[arg(long, conflicts_with_all = ["append", "lines"])]
    create_only: bool,
    /// Add to the end of the file
    #[arg(long, conflicts_with = "lines")]
    append: bool,
    /// Replace only these lines, counted from 1; 5:4 inserts before line 5
    #[arg(long, value_name = "FIRST:LAST", value_parser = LineRange::parse)]
    lines: Option<LineRange>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The beginning of the content, and one byte more than fits into one request if there is more.
    fn content(&self) -> Result<Vec<u8>, ErrorBody> {
        match (&self.text, &self.text_file) {
            (Some(text), _) => Ok(text.as_bytes().to_vec()),
            (None, Some(path)) => input::of_file(path, MAX_WRITE_BYTES),
            (None, None) => input::of_stdin(MAX_WRITE_BYTES),
        }
    }

    /// The request that the flags mean, for that content.
    pub(crate) fn to_request(&self, content: Vec<u8>) -> Result<FileWriteRequest, ErrorBody> {
        let (text, content_base64) = match String::from_utf8(content) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(to_base64(error.as_bytes()))),
        };
        let request = FileWriteRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            text,
            content_base64,
            mode: self.mode,
            create_only: self.create_only,
            append: self.append,
            first_line: self.lines.map(|lines| lines.first),
            last_line: self.lines.map(|lines| lines.last.unwrap_or(u64::MAX)),
        };
        request.check()?;
        Ok(request)
    }

    /// Whether content of that length goes as a stream. Only whole files do.
    fn is_streamed(&self, content_bytes: usize) -> bool {
        content_bytes > MAX_WRITE_BYTES && self.text.is_none() && !self.append && self.lines.is_none()
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let content = arguments.content()?;
    if !arguments.is_streamed(content.len()) {
        let request = arguments.to_request(content)?;
        let written = client(settings).call::<WriteFile>(&request).await?;
        return tell_written(&written, arguments.json);
    }
    let request = FileUploadRequest {
        workspace: arguments.workspace,
        path: arguments.path,
        mode: arguments.mode,
        create_only: arguments.create_only,
        size_bytes: None,
    };
    let written = match &arguments.text_file {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| host_path::unreadable(path, &error))?;
            upload(&request, tokio::fs::File::from_std(file), settings).await?
        }
        // What was read already goes first.
        None => upload(&request, Cursor::new(content).chain(tokio::io::stdin()), settings).await?,
    };
    tell_written(&written, arguments.json)
}
