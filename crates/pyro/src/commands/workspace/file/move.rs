//! `pyro workspace file move`.

use clap::Args;
use pyro_api::{
    operation::MoveFile,
    workspace::{files::FileMoveRequest, identity::WorkspaceRef, path::WorkspacePath},
};

use super::{guest_path, tell_change};
use crate::{
    commands::client,
    output::{Failure, Status},
    settings::Settings,
};

/// Move a file or a directory, in one step
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The path
    #[arg(value_parser = guest_path())]
    from: WorkspacePath,
    /// Its new path; directories above are made
    #[arg(value_parser = guest_path())]
    to: WorkspacePath,
    /// Replace a file that is there
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = FileMoveRequest {
        workspace: arguments.workspace,
        from: arguments.from,
        to: arguments.to,
        overwrite: arguments.overwrite,
    };
    request.check()?;
    let change = client(settings).call::<MoveFile>(&request).await?;
    tell_change("move", &change, arguments.json)
}
