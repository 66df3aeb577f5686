//! `pyro workspace file upload`.

use std::path::{Path, PathBuf};

use clap::Args;
use pyro_api::{
    ErrorBody, ErrorCode,
    operation::UploadFile,
    workspace::{
        entry::FileMode, files::FileWritten, identity::WorkspaceRef, path::WorkspacePath,
        transfer::FileUploadRequest,
    },
};
use tokio::io::AsyncRead;

use super::{guest_path, tell_written};
use crate::{
    commands::{
        client,
        progress::Indicator,
        signals::Signals,
        stream::{Sink, Streaming},
        workspace::host_path,
    },
    output::{Failure, Status},
    settings::Settings,
};

/// Write a file of any length, in one step
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// File of this host; - for standard input
    source: PathBuf,
    /// The file in the workspace; directories above it are made
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// Permission bits [default: those of the file that is there, or 0644]
    #[arg(long, value_name = "MODE")]
    mode: Option<FileMode>,
    /// Fail if something is there
    #[arg(long)]
    create_only: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self, size_bytes: Option<u64>) -> Result<FileUploadRequest, ErrorBody> {
        let request = FileUploadRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            mode: self.mode,
            create_only: self.create_only,
            size_bytes,
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    if arguments.source == Path::new("-") {
        let written = upload(&arguments.to_request(None)?, tokio::io::stdin(), settings).await?;
        return tell_written(&written, arguments.json);
    }
    let unreadable = |error: std::io::Error| host_path::unreadable(&arguments.source, &error);
    let file = std::fs::File::open(&arguments.source).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        let error = format!("{} is a directory", arguments.source.display());
        return Err(ErrorBody::new(ErrorCode::FileFailed, error)
            .with_hint("`pyro workspace sync push` takes directories")
            .into());
    }
    let request = arguments.to_request(metadata.is_file().then_some(metadata.len()))?;
    let written = upload(&request, tokio::fs::File::from_std(file), settings).await?;
    tell_written(&written, arguments.json)
}

/// Sends all of the source. If it cannot be read to its end, nothing is written.
pub(super) async fn upload(
    request: &FileUploadRequest,
    source: impl AsyncRead + Send + Unpin + 'static,
    settings: &Settings,
) -> Result<FileWritten, Failure> {
    let mut signals = Signals::watch()?;
    let mut work = Streaming::<UploadFile>::begin(&client(settings), request, &mut signals).await?;
    let mut broken = work.pass_whole(source);
    let followed = work.follow(&mut Sink::Drop, &mut Indicator::bar_only()).await;
    let interruption = work.interruption();
    followed.map_err(|ended| match (interruption, broken.try_recv()) {
        (Some(interruption), _) => interruption.into(),
        (None, Ok(kind)) => {
            let error = format!("cannot read the content to its end: {kind}");
            ErrorBody::new(ErrorCode::FileFailed, error).into()
        }
        (None, Err(_)) => ended.into(),
    })
}
