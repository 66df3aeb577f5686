//! `pyro workspace job logs`.

use clap::Args;
use pyro_api::{
    operation::GetJobLogs,
    workspace::{
        command::{CommandRef, DEFAULT_OUTPUT_BYTES},
        identity::WorkspaceRef,
        job::JobLogsRequest,
    },
};

use crate::{
    commands::{client, workspace::logs},
    output::{self, Failure, Status},
    settings::Settings,
};

/// Show the end of a command's output
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Job id, e.g. c7, or number of the command
    job: CommandRef,
    /// At most so much of each output
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_OUTPUT_BYTES)]
    max_bytes: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request =
        JobLogsRequest { workspace: arguments.workspace, job: arguments.job, max_bytes: arguments.max_bytes };
    request.check()?;
    let job = client(settings).call::<GetJobLogs>(&request).await?;
    if arguments.json {
        output::json(&job)?;
    } else {
        logs::show(&job.entry)?;
    }
    Ok(0)
}
