//! `pyro workspace file delete`.

use clap::Args;
use pyro_api::{
    operation::DeleteFile,
    workspace::{files::FileDeleteRequest, identity::WorkspaceRef, path::WorkspacePath},
};

use super::{guest_path, tell_change};
use crate::{
    commands::client,
    output::{Failure, Status},
    settings::Settings,
};

/// Delete a file, a link or a directory
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The path
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// Delete a directory with all that it holds
    #[arg(short, long)]
    recursive: bool,
    /// It is fine if nothing is there
    #[arg(long)]
    missing_ok: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = FileDeleteRequest {
        workspace: arguments.workspace,
        path: arguments.path,
        recursive: arguments.recursive,
        missing_ok: arguments.missing_ok,
    };
    request.check()?;
    let change = client(settings).call::<DeleteFile>(&request).await?;
    tell_change("delete", &change, arguments.json)
}
