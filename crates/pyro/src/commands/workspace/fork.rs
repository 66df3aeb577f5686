//! `pyro workspace fork`.

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::ForkWorkspace,
    workspace::{
        identity::{LabelKey, LabelValue, SnapshotName, WorkspaceName, WorkspaceRef},
        snapshot::WorkspaceForkRequest,
    },
};

use super::{follow, label};
use crate::{
    commands::stream::Sink,
    output::{self, Failure, Status, printable},
    settings::Settings,
};

/// Make workspaces that begin where another one is, with all that runs in it; all of them or none
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// Begin from this snapshot of it, instead of from how it is now
    #[arg(long, value_name = "NAME")]
    snapshot: Option<SnapshotName>,
    /// How many, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// Name them PREFIX-1, PREFIX-2 and so on
    #[arg(long, value_name = "PREFIX")]
    name_prefix: Option<WorkspaceName>,
    /// Label beside those of the parent; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label::parse)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the ids, one on each line
    #[arg(long, conflicts_with = "json")]
    id_only: bool,
}

impl Arguments {
    /// The request that the flags mean.
    fn to_request(&self) -> Result<WorkspaceForkRequest, ErrorBody> {
        let request = WorkspaceForkRequest {
            workspace: self.workspace.clone(),
            snapshot: self.snapshot.clone(),
            count: self.count,
            name_prefix: self.name_prefix.clone(),
            labels: self.label.iter().cloned().collect(),
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    let forked = follow::<ForkWorkspace>(&request, settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&forked)?;
        return Ok(0);
    }
    for workspace in &forked.workspaces {
        if arguments.id_only {
            output::line(&workspace.workspace_id)?;
            continue;
        }
        let name = workspace.name.as_deref().unwrap_or("-");
        let line = format!(
            "[fork] workspace_id={} name={name} parent={} resumed={}",
            workspace.workspace_id, forked.workspace_id, forked.resumed
        );
        output::line(printable(&line))?;
    }
    if let Some(reason) = forked.boot_reason.as_ref().filter(|_| !arguments.id_only) {
        output::line(printable(&format!("Booted because: {reason}")))?;
    }
    Ok(0)
}
