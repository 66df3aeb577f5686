//! `pyro workspace snapshot list`.

use clap::Args;
use pyro_api::{
    operation::ListSnapshots,
    workspace::{identity::WorkspaceRef, snapshot::SnapshotListRequest},
};

use super::line;
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// List the snapshots of a workspace: the baseline first, then the newest ones
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = SnapshotListRequest { workspace: arguments.workspace };
    let list = client(settings).call::<ListSnapshots>(&request).await?;
    if arguments.json {
        output::json(&list)?;
    } else {
        for snapshot in &list.snapshots {
            output::line(line(snapshot))?;
        }
    }
    Ok(0)
}
