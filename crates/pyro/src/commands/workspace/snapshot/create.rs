//! `pyro workspace snapshot create`.

use clap::Args;
use pyro_api::{
    operation::CreateSnapshot,
    workspace::{
        identity::{LabelKey, LabelValue, SnapshotName, WorkspaceRef},
        snapshot::SnapshotCreateRequest,
    },
};

use super::{super::label, line};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Save a workspace as it is now: its memory, all that runs in it, and its disk
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Name of the snapshot
    name: SnapshotName,
    /// Why it is taken
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label::parse)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = SnapshotCreateRequest {
        workspace: arguments.workspace,
        snapshot_name: arguments.name,
        comment: arguments.comment,
        labels: arguments.label.into_iter().collect(),
    };
    request.check()?;
    let result = client(settings).call::<CreateSnapshot>(&request).await?;
    if arguments.json {
        output::json(&result)?;
    } else {
        output::line(line(&result.snapshot))?;
    }
    Ok(0)
}
