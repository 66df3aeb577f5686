//! `pyro workspace file read`.

use clap::Args;
use pyro_api::{
    operation::{DownloadFile, ReadFile},
    workspace::{
        command::WantedEncoding,
        files::{DEFAULT_READ_BYTES, FileRead, FileReadRequest},
        identity::WorkspaceRef,
        path::WorkspacePath,
        transfer::FileDownloadRequest,
    },
};

use super::{guest_path, line_range::LineRange};
use crate::{
    commands::{
        client,
        stream::Sink,
        workspace::{content, follow, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Read a file, or a part of it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The file
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// At most so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_READ_BYTES, conflicts_with = "raw")]
    max_bytes: u64,
    /// First byte, from 0
    #[arg(long, value_name = "BYTE", conflicts_with_all = ["lines", "raw"])]
    offset: Option<u64>,
    /// Only these lines, counted from 1
    #[arg(long, value_name = "FIRST:LAST", value_parser = LineRange::parse, conflicts_with = "raw")]
    lines: Option<LineRange>,
    /// How the content stands in JSON: utf-8, with the exact bytes beside it where it is none, auto or base64
    #[arg(long, value_name = "ENCODING", default_value = "utf-8", value_parser = parse_encoding)]
    encoding: WantedEncoding,
    /// Print only the content, as it is
    #[arg(long, conflicts_with = "json")]
    content_only: bool,
    /// Print all of the file, of any length, as it is
    #[arg(long, conflicts_with_all = ["json", "content_only"])]
    raw: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads the name of an encoding.
pub(in crate::commands::workspace) fn parse_encoding(text: &str) -> Result<WantedEncoding, String> {
    WantedEncoding::from_token(text).ok_or_else(|| "it is auto, utf-8 or base64".to_owned())
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> FileReadRequest {
        FileReadRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            max_bytes: self.max_bytes,
            offset: self.offset,
            first_line: self.lines.map(|lines| lines.first),
            last_line: self.lines.and_then(|lines| lines.last),
            encoding: self.encoding,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    if arguments.raw {
        let request = FileDownloadRequest { workspace: arguments.workspace, path: arguments.path };
        request.check()?;
        follow::<DownloadFile>(&request, settings, &mut Sink::PassOn).await?;
        return Ok(0);
    }
    let request = arguments.to_request();
    request.check()?;
    let read = client(settings).call::<ReadFile>(&request).await?;
    if arguments.json {
        output::json(&read)?;
        return Ok(0);
    }
    let bytes = content::exact(&read.content, read.encoding, read.content_base64.as_deref())?;
    content::print(&bytes, (!arguments.content_only).then(|| summary(&read)))?;
    Ok(0)
}

fn summary(read: &FileRead) -> String {
    format!(
        "[workspace-file-read] workspace_id={} path={} size_bytes={} max_bytes={} truncated={} execution_mode={}",
        read.workspace_id,
        shown(&read.path),
        read.size_bytes,
        read.max_bytes,
        read.truncated,
        read.execution_mode
    )
}
