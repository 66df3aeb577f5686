//! `pyro workspace list`.

use clap::Args;
use pyro_api::{
    operation::ListWorkspaces,
    workspace::{
        identity::{LabelKey, LabelValue, WorkspaceName},
        list::WorkspaceListRequest,
        view::WorkspaceState,
    },
};

use super::{label, view::list_line};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// List workspaces, the one that was used last first
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    name: Option<WorkspaceName>,
    /// Only those with this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label::parse)]
    label: Vec<(LabelKey, LabelValue)>,
    /// Only those in this state: created, started or stopped
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Option<WorkspaceState>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_state(text: &str) -> Result<WorkspaceState, String> {
    WorkspaceState::from_token(text).ok_or_else(|| "it is created, started or stopped".to_owned())
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> WorkspaceListRequest {
        WorkspaceListRequest {
            name: self.name.clone(),
            labels: self.label.iter().cloned().collect(),
            state: self.state,
            limit: self.limit,
            cursor: self.cursor.clone(),
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let list = client(settings).call::<ListWorkspaces>(&request).await?;
    if arguments.json {
        output::json(&list)?;
        return Ok(0);
    }
    for item in &list.workspaces {
        output::line(list_line(item))?;
    }
    if let Some(cursor) = &list.next_cursor {
        output::note(format!("[workspace-list] there are more: --cursor {cursor}"));
    }
    Ok(0)
}
