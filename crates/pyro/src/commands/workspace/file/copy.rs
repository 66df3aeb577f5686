//! `pyro workspace file copy`.

use clap::Args;
use pyro_api::{
    operation::CopyFile,
    workspace::{files::FileCopyRequest, identity::WorkspaceRef, path::WorkspacePath},
};

use super::{guest_path, tell_change};
use crate::{
    commands::client,
    output::{Failure, Status},
    settings::Settings,
};

/// Copy a file or a directory
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The path
    #[arg(value_parser = guest_path())]
    from: WorkspacePath,
    /// Path of the copy; directories above are made
    #[arg(value_parser = guest_path())]
    to: WorkspacePath,
    /// Copy a directory with all that it holds
    #[arg(short, long)]
    recursive: bool,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = FileCopyRequest {
        workspace: arguments.workspace,
        from: arguments.from,
        to: arguments.to,
        overwrite: arguments.overwrite,
        recursive: arguments.recursive,
    };
    request.check()?;
    let change = client(settings).call::<CopyFile>(&request).await?;
    tell_change("copy", &change, arguments.json)
}
