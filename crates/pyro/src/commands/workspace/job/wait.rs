//! `pyro workspace job wait`.

use clap::Args;
use pyro_api::{
    operation::WaitForJob,
    run::Collected,
    workspace::{command::CommandRef, exec::ExecResult, identity::WorkspaceRef, job::JobWaitRequest},
};

use crate::{
    commands::{
        client,
        run::MOST_COLLECTED_BYTES,
        signals::Signals,
        stream::{Sink, Streaming},
        workspace::reattach::{Silent, exit_status, summary},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Wait until a command ends, with its output; a signal ends the waiting and not the command
///
/// The exit status is the command's; 1 if it still runs after --timeout-seconds.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Job id, e.g. c7, or number of the command
    job: CommandRef,
    /// Wait at most so long; the command goes on
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<u64>,
    /// Do not show its output
    #[arg(long)]
    no_output: bool,
    /// Print no summary on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Print the result, with the output in it, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> JobWaitRequest {
        JobWaitRequest {
            workspace: self.workspace.clone(),
            job: self.job,
            timeout_seconds: self.timeout_seconds,
            follow: !self.no_output,
            stdout_from: 0,
            stderr_from: 0,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let mut stdout = Collected::up_to(MOST_COLLECTED_BYTES);
    let mut stderr = Collected::up_to(MOST_COLLECTED_BYTES);
    let mut sink = match arguments.json {
        true => Sink::Collect { stdout: &mut stdout, stderr: &mut stderr },
        false => Sink::PassOn,
    };
    let mut signals = Signals::watch()?;
    let client = client(settings);
    let request = arguments.to_request();
    let mut waiting = Streaming::<WaitForJob>::begin(&client, &request, &mut signals).await?;
    let followed = waiting.follow(&mut sink, &mut Silent).await;
    let interruption = waiting.interruption();
    let report =
        followed.map_err(|ended| interruption.map_or_else(|| Failure::from(ended), Failure::from))?;
    let status = exit_status(&report);
    if arguments.json {
        output::json(&ExecResult::new(report, &stdout, &stderr))?;
    } else if !arguments.quiet {
        output::note(summary("workspace-job-wait", &report));
    }
    Ok(status)
}
