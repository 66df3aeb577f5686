//! `pyro workspace file mkdir`.

use clap::Args;
use pyro_api::{
    operation::MakeDirectory,
    workspace::{entry::FileMode, files::FileMkdirRequest, identity::WorkspaceRef, path::WorkspacePath},
};

use super::{guest_path, tell_change};
use crate::{
    commands::client,
    output::{Failure, Status},
    settings::Settings,
};

/// Make a directory and those above it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The directory
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// Permission bits [default: 0755]
    #[arg(long, value_name = "MODE")]
    mode: Option<FileMode>,
    /// Fail if it is there
    #[arg(long)]
    create_only: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = FileMkdirRequest {
        workspace: arguments.workspace,
        path: arguments.path,
        mode: arguments.mode,
        create_only: arguments.create_only,
    };
    request.check()?;
    let change = client(settings).call::<MakeDirectory>(&request).await?;
    tell_change("mkdir", &change, arguments.json)
}
