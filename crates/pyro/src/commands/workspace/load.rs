//! `pyro workspace load`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::LoadWorkspace,
    workspace::{
        archive::WorkspaceLoadRequest,
        identity::{LabelKey, LabelValue, WorkspaceName},
    },
};

use super::{follow, host_path, label, view::details};
use crate::{
    commands::stream::Sink,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Make a stopped workspace of a file that `workspace save` made; all of it is checked before anything is written
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file, on this host
    #[arg(value_name = "FILE")]
    input_path: PathBuf,
    /// Name to find it by, instead of the one that it was saved with
    #[arg(long, value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Label to find it by, beside those that it was saved with; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label::parse)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the id
    #[arg(long, conflicts_with = "json")]
    id_only: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<WorkspaceLoadRequest, ErrorBody> {
        let request = WorkspaceLoadRequest {
            input_path: host_path::existing(&self.input_path)?,
            name: self.name.clone(),
            labels: self.label.iter().cloned().collect(),
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    let workspace = follow::<LoadWorkspace>(&request, settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&workspace)?;
    } else if arguments.id_only {
        output::line(&workspace.workspace_id)?;
    } else {
        output::line(details(&workspace))?;
    }
    Ok(0)
}
