//! `pyro workspace job list`.

use clap::Args;
use pyro_api::{
    operation::ListJobs,
    workspace::{identity::WorkspaceRef, job::JobListRequest},
};

use crate::{
    commands::{client, workspace::logs::header},
    output::{self, Failure, Status},
    settings::Settings,
};

/// List the commands that run, and the detached ones that have ended
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Only those that run
    #[arg(long)]
    running: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = JobListRequest { workspace: arguments.workspace, running: arguments.running };
    let list = client(settings).call::<ListJobs>(&request).await?;
    if arguments.json {
        output::json(&list)?;
        return Ok(0);
    }
    for job in &list.jobs {
        output::line(format!("{} {}", header(job), output::printable(&job.command)))?;
    }
    Ok(0)
}
