//! `pyro workspace update`.

use clap::Args;
use pyro_api::{
    operation::UpdateWorkspace,
    workspace::{
        identity::{LabelKey, LabelValue, WorkspaceName, WorkspaceRef},
        lifecycle::WorkspaceUpdateRequest,
    },
};

use super::{label, view::details};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Change the name, the labels or the lifetime of a workspace
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Its new name
    #[arg(long, value_name = "NAME", conflicts_with = "clear_name")]
    name: Option<WorkspaceName>,
    /// Take its name away
    #[arg(long)]
    clear_name: bool,
    /// Label to add, or to give another value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label::parse)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Label to take away; may be repeated
    #[arg(long, value_name = "KEY")]
    clear_label: Vec<LabelKey>,
    /// Stop the machine after so long without use, from now on; 0 for never
    #[arg(long, value_name = "SECONDS")]
    ttl_seconds: Option<u64>,
    /// Save the machine after so long without use, until it is used again; 0 for never
    #[arg(long, value_name = "SECONDS")]
    idle_sleep_seconds: Option<u64>,
    /// Whether to take a checkpoint before each command, patch and write
    #[arg(long, value_name = "ON|OFF", value_parser = switch)]
    auto_checkpoint: Option<bool>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> WorkspaceUpdateRequest {
        WorkspaceUpdateRequest {
            workspace: self.workspace.clone(),
            name: self.name.clone(),
            clear_name: self.clear_name,
            labels: self.label.iter().cloned().collect(),
            clear_labels: self.clear_label.clone(),
            ttl_seconds: self.ttl_seconds,
            idle_sleep_seconds: self.idle_sleep_seconds,
            auto_checkpoint: self.auto_checkpoint,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let workspace = client(settings).call::<UpdateWorkspace>(&request).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
