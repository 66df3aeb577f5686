//! `pyro workspace sleep`.

use clap::Args;
use pyro_api::{
    operation::SleepWorkspace,
    workspace::{identity::WorkspaceRef, snapshot::WorkspaceSleepRequest},
};

use super::view::details;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Save the machine of a workspace and free its memory, until the workspace is used
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceSleepRequest { workspace: arguments.workspace };
    let workspace = client(settings).call::<SleepWorkspace>(&request).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
