//! Following a command that runs on by itself, also when the daemon that was asked first is gone.

use pyro_api::{
    Client, ClientError,
    operation::{KillJob, WaitForJob},
    workspace::{
        command::CommandRef,
        exec::{ExecEvent, ExecReport},
        identity::WorkspaceRef,
        job::{JobKillRequest, JobSignal, JobWaitRequest},
    },
};

use super::view::shown;
use crate::{
    commands::{
        signals::Signals,
        stream::{Ended, Sink, Streaming, Watcher},
    },
    output::{Failure, Status},
};

/// How often a lost daemon is replaced before the loss is told.
pub(super) const MOST_DAEMONS: usize = 3;

/// How much of both outputs has been passed on.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Place {
    stdout: u64,
    stderr: u64,
}

impl Place {
    /// So much more has been passed on.
    pub(super) fn advance(&mut self, (stdout, stderr): (u64, u64)) {
        self.stdout += stdout;
        self.stderr += stderr;
    }
}

/// Nothing is shown beside the output.
pub(super) struct Silent;

impl Watcher<ExecEvent> for Silent {
    fn event(&mut self, _event: ExecEvent) {}
}

/// Follows a command that an earlier daemon began, from that place on. A signal ends the command, as it would have.
pub(super) async fn follow(
    client: &Client,
    workspace: &WorkspaceRef,
    job: CommandRef,
    mut place: Place,
    signals: &mut Signals,
    sink: &mut Sink<'_>,
) -> Result<ExecReport, Failure> {
    let mut daemons = 0;
    loop {
        match wait(client, workspace, job, &mut place, signals, sink).await {
            Ok(report) => return Ok(report),
            Err(Ended::Here(failure)) => {
                end(client, workspace, job).await;
                return Err(failure);
            }
            Err(Ended::Client(ClientError::Lost { .. })) if daemons < MOST_DAEMONS => daemons += 1,
            Err(ended) => return Err(ended.into()),
        }
    }
}

/// Ends a command and all that it started, for somebody who interrupts: its key keeps it alive only for who is lost.
pub(super) async fn end(client: &Client, workspace: &WorkspaceRef, job: CommandRef) {
    let kill = JobKillRequest { workspace: workspace.clone(), job, signal: JobSignal::Kill };
    // Whoever interrupts has had enough; that it could not be sent is for the history.
    let _killed = client.call::<KillJob>(&kill).await;
}

/// Follows a command as long as one daemon lives.
async fn wait(
    client: &Client,
    workspace: &WorkspaceRef,
    job: CommandRef,
    place: &mut Place,
    signals: &mut Signals,
    sink: &mut Sink<'_>,
) -> Result<ExecReport, Ended> {
    let request = JobWaitRequest {
        workspace: workspace.clone(),
        job,
        timeout_seconds: None,
        follow: true,
        stdout_from: place.stdout,
        stderr_from: place.stderr,
    };
    let mut waiting = Streaming::<WaitForJob>::begin(client, &request, signals).await?;
    let followed = waiting.follow(sink, &mut Silent).await;
    place.advance(waiting.delivered());
    let interruption = waiting.interruption();
    followed.map_err(|ended| interruption.map_or(ended, |interruption| Ended::Here(interruption.into())))
}

/// One line on how a command ended.
pub(super) fn summary(verb: &str, report: &ExecReport) -> String {
    let exit_code = report.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    format!(
        "[{verb}] workspace_id={} sequence={} cwd={} execution_mode={} exit_code={exit_code} duration_ms={} state={}",
        report.workspace_id,
        report.sequence,
        shown(&report.cwd),
        report.execution_mode,
        report.duration_ms,
        report.state,
    )
}

/// The command's own exit status; 1 if it has none, as it runs on or nobody knows how it ended.
pub(super) fn exit_status(report: &ExecReport) -> Status {
    report.exit_code.map_or(1, |code| u8::try_from(code & 0xff).unwrap_or(1))
}
