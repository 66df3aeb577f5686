//! `pyro workspace file write`.

use std::{fs::File, io::Cursor, path::PathBuf};

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
    /// Replace only these lines, counted from 1; 5:4 inserts before line 5. A newline that is missing before the next line
    /// is added
    #[arg(long, value_name = "FIRST:LAST", value_parser = LineRange::parse)]
    lines: Option<LineRange>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// Opens what holds the content.
    fn open(&self) -> Result<Source, ErrorBody> {
        match (&self.text, &self.text_file) {
            (Some(text), _) => Ok(Source { beginning: text.as_bytes().to_vec(), rest: None }),
            (None, Some(path)) => {
                let file = File::open(path).map_err(|error| host_path::unreadable(path, &error))?;
                let beginning = input::beginning(&file, MAX_WRITE_BYTES)
                    .map_err(|error| host_path::unreadable(path, &error))?;
                Ok(Source { beginning, rest: Some(Rest::File(file)) })
            }
            (None, None) => {
                Ok(Source { beginning: input::of_stdin(MAX_WRITE_BYTES)?, rest: Some(Rest::Stdin) })
            }
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

    /// Whether only a part of a file is written. That does not go as a stream.
    fn writes_a_part(&self) -> bool {
        self.append || self.lines.is_some()
    }
}

/// Content that has been read as far as one request can take it, and one byte more if there is more.
struct Source {
    beginning: Vec<u8>,
    rest: Option<Rest>,
}

/// Where the content goes on. What was read of a pipe is gone from it, so the same file is read on, never opened again.
enum Rest {
    File(File),
    Stdin,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let Source { beginning, rest } = arguments.open()?;
    let written = match rest {
        Some(rest) if beginning.len() > MAX_WRITE_BYTES && !arguments.writes_a_part() => {
            let request = FileUploadRequest {
                workspace: arguments.workspace,
                path: arguments.path,
                mode: arguments.mode,
                create_only: arguments.create_only,
                size_bytes: None,
            };
            request.check()?;
            let beginning = Cursor::new(beginning);
            match rest {
                Rest::File(file) => {
                    upload(&request, beginning.chain(tokio::fs::File::from_std(file)), settings).await?
                }
                Rest::Stdin => upload(&request, beginning.chain(tokio::io::stdin()), settings).await?,
            }
        }
        _ => client(settings).call::<WriteFile>(&arguments.to_request(beginning)?).await?,
    };
    tell_written(&written, arguments.json)
}
