//! `pyro workspace wait`.

use clap::Args;
use pyro_api::{
    operation::WaitForChange,
    workspace::{
        identity::WorkspaceRef,
        wait::{WorkspaceRevision, WorkspaceWaitRequest},
    },
};

use super::follow;
use crate::{
    commands::stream::Sink,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Wait until something changes in a workspace: its state, its commands, its files; that is no use of it
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Its id or name
    workspace: WorkspaceRef,
    /// The revision that is known; without, the one of now is printed at once
    #[arg(long, value_name = "REVISION")]
    after: Option<u64>,
    /// Wait at most this long
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> WorkspaceWaitRequest {
        WorkspaceWaitRequest {
            workspace: self.workspace.clone(),
            after: self.after,
            timeout_seconds: self.timeout_seconds,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let revision = follow::<WaitForChange>(&arguments.to_request(), settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&revision)?;
    } else {
        output::line(line(&revision))?;
    }
    Ok(0)
}

fn line(revision: &WorkspaceRevision) -> String {
    format!(
        "[workspace-wait] workspace_id={} revision={} commands_revision={} files_revision={} changed={}",
        revision.workspace_id,
        revision.revision,
        revision.commands_revision,
        revision.files_revision,
        revision.changed
    )
}
