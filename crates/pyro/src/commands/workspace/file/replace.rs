//! `pyro workspace file replace`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

use clap::{ArgGroup, Args};
use pyro_api::{
    ErrorBody,
    operation::ReplaceInFile,
    text::ByteString,
    workspace::{
        files::{FileReplaceRequest, MAX_WRITE_BYTES},
        identity::WorkspaceRef,
        path::WorkspacePath,
    },
};

use super::{guest_path, input};
use crate::{
    commands::{client, workspace::view::shown},
    output::{self, Failure, Status},
    settings::Settings,
};

/// Replace text in a file, if it is there exactly so often as expected
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("before").required(true).args(["old", "old_file"]))]
#[command(group = ArgGroup::new("after").required(true).args(["new", "new_file"]))]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The file
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// Text that must be there
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    old: Option<OsString>,
    /// File of this host that holds that text
    #[arg(long, value_name = "PATH")]
    old_file: Option<PathBuf>,
    /// Text that comes in its place
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    new: Option<OsString>,
    /// File of this host that holds that text
    #[arg(long, value_name = "PATH")]
    new_file: Option<PathBuf>,
    /// How often the text must be there; 0: at least once, and all are replaced
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<FileReplaceRequest, ErrorBody> {
        let request = FileReplaceRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            old_text: text(self.old.as_ref(), self.old_file.as_ref())?,
            new_text: text(self.new.as_ref(), self.new_file.as_ref())?,
            count: self.count,
        };
        request.check()?;
        Ok(request)
    }
}

fn text(text: Option<&OsString>, file: Option<&PathBuf>) -> Result<ByteString, ErrorBody> {
    match (text, file) {
        (None, Some(path)) => input::of_file(path, MAX_WRITE_BYTES).map(ByteString),
        (text, _) => Ok(ByteString(text.cloned().unwrap_or_default().into_vec())),
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let replaced = client(settings).call::<ReplaceInFile>(&arguments.to_request()?).await?;
    if arguments.json {
        output::json(&replaced)?;
        return Ok(0);
    }
    let lines: Vec<String> = replaced.lines.iter().map(u64::to_string).collect();
    output::line(format!(
        "[workspace-file-replace] workspace_id={} path={} count={} lines={} size_bytes={} execution_mode={}",
        replaced.workspace_id,
        shown(&replaced.path),
        replaced.count,
        lines.join(","),
        replaced.size_bytes,
        replaced.execution_mode,
    ))?;
    Ok(0)
}
