//! `pyro workspace status`.

use clap::Args;
use pyro_api::{
    operation::GetWorkspaceStatus,
    workspace::{identity::WorkspaceRef, lifecycle::WorkspaceStatusRequest},
};

use super::view::details;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Say everything about a workspace; that is no use of it and does not extend its life
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = WorkspaceStatusRequest { workspace: arguments.workspace };
    let workspace = client(settings).call::<GetWorkspaceStatus>(&request).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
