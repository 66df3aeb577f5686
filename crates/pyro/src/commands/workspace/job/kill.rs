//! `pyro workspace job kill`.

use clap::Args;
use pyro_api::{
    operation::KillJob,
    workspace::{
        command::CommandRef,
        identity::WorkspaceRef,
        job::{JobKillRequest, JobSignal},
    },
};

use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Send a signal to a command and all that it started
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Job id, e.g. c7, or number of the command
    job: CommandRef,
    /// HUP, INT, TERM or KILL
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = parse_signal)]
    signal: JobSignal,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_signal(text: &str) -> Result<JobSignal, String> {
    let token = text.to_uppercase();
    let token = token.strip_prefix("SIG").unwrap_or(&token);
    JobSignal::from_token(token).ok_or_else(|| "it is HUP, INT, TERM or KILL".to_owned())
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> JobKillRequest {
        JobKillRequest { workspace: self.workspace.clone(), job: self.job, signal: self.signal }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let killed = client(settings).call::<KillJob>(&arguments.to_request()).await?;
    if arguments.json {
        output::json(&killed)?;
    } else {
        output::line(format!(
            "[workspace-job-kill] workspace_id={} job_id={} signal={} signalled={} state={}",
            killed.workspace_id,
            killed.record.job_id,
            killed.sent_signal,
            killed.signalled,
            killed.record.state
        ))?;
    }
    Ok(0)
}
