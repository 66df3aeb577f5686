//! Following a command as long as a client waits, and not longer: past its deadline the command runs on, and the answer
//! says under which job.
//!
//! A client that wants the call no more has its command killed; one that has gone has not. A daemon that is lost takes
//! nothing along: a command goes on without its caller, and the next daemon knows it. A client that gave up, or lost its
//! server, asks again: with an idempotency key its command runs once, ever, and without one the daemon has the call attach
//! to an identical command that still runs. So nothing has to be remembered here.

use std::time::Duration;

use pyro_api::{
    Call, Client, ClientError, ErrorBody, ErrorCode, Exchange, Output,
    error::Work,
    operation::{ExecInWorkspace, KillJob, WaitForJob},
    workspace::{
        command::CommandRef,
        exec::{ExecEvent, ExecReport, WorkspaceExecRequest},
        identity::WorkspaceRef,
        job::{JobKillRequest, JobSignal, JobWaitRequest},
    },
};
use tokio::time::Instant;

use super::{excerpt::HeadAndTail, progress, tool::ToolCall};

/// How long a command that was told to end may take to do so.
const PATIENCE_FOR_END: Duration = Duration::from_secs(5);

/// A command with what it has written.
#[derive(Debug)]
pub(super) struct Followed {
    /// How it ended, or that it runs on.
    pub(super) report: ExecReport,
    pub(super) stdout: HeadAndTail,
    pub(super) stderr: HeadAndTail,
}

/// Runs a command until it ends or patience does.
pub(super) async fn exec(
    call: &ToolCall,
    request: &WorkspaceExecRequest,
    max_chars: usize,
) -> Result<Followed, ErrorBody> {
    let request = WorkspaceExecRequest { attach: request.idempotency_key.is_none(), ..request.clone() };
    let mut following = Following::new(call, &request.workspace, max_chars);
    following.runs_once = request.idempotency_key.is_some();
    let exchange = call.client.stream::<ExecInWorkspace>(&request).await;
    let mut exchange = exchange.map_err(|error| following.lost(error))?;
    let report = following.until_patience_ends(&mut exchange).await?;
    Ok(following.into_followed(report))
}

/// Waits for a command that runs on, until it ends or patience does. Its output comes from the beginning.
pub(super) async fn wait(
    call: &ToolCall,
    workspace: &WorkspaceRef,
    job: CommandRef,
    max_chars: usize,
) -> Result<Followed, ErrorBody> {
    wait_until(call, workspace, job, max_chars, call.deadline).await
}

/// Ends a command and all that it started, and says how it ended.
pub(super) async fn kill(
    call: &ToolCall,
    workspace: &WorkspaceRef,
    job: CommandRef,
    max_chars: usize,
) -> Result<Followed, ErrorBody> {
    send_kill(&call.client, workspace, job).await?;
    let deadline = call.deadline.min(Instant::now() + PATIENCE_FOR_END);
    wait_until(call, workspace, job, max_chars, deadline).await
}

async fn wait_until(
    call: &ToolCall,
    workspace: &WorkspaceRef,
    job: CommandRef,
    max_chars: usize,
    deadline: Instant,
) -> Result<Followed, ErrorBody> {
    let mut following = Following::new(call, workspace, max_chars);
    following.job = Some(job);
    following.deadline = deadline;
    // Whoever only waits does not end the command by going away.
    following.kills_when_cancelled = false;
    let request = JobWaitRequest {
        workspace: workspace.clone(),
        job,
        timeout_seconds: None,
        follow: true,
        stdout_from: 0,
        stderr_from: 0,
    };
    let exchange = call.client.stream::<WaitForJob>(&request).await;
    let mut exchange = exchange.map_err(|error| following.lost(error))?;
    let report = following.until_patience_ends(&mut exchange).await?;
    Ok(following.into_followed(report))
}

async fn send_kill(client: &Client, workspace: &WorkspaceRef, job: CommandRef) -> Result<(), ErrorBody> {
    let kill = JobKillRequest { workspace: workspace.clone(), job, signal: JobSignal::Kill };
    client.call::<KillJob>(&kill).await?;
    Ok(())
}

/// A command being followed.
struct Following<'c> {
    call: &'c ToolCall,
    workspace: WorkspaceRef,
    deadline: Instant,
    kills_when_cancelled: bool,
    /// However often it is asked for.
    runs_once: bool,
    job: Option<CommandRef>,
    /// Whether an earlier call began the command that this one asked for.
    attached: bool,
    stdout: HeadAndTail,
    stderr: HeadAndTail,
}

impl<'c> Following<'c> {
    fn new(call: &'c ToolCall, workspace: &WorkspaceRef, max_chars: usize) -> Self {
        Self {
            call,
            workspace: workspace.clone(),
            deadline: call.deadline,
            kills_when_cancelled: true,
            runs_once: false,
            job: None,
            attached: false,
            stdout: HeadAndTail::new(max_chars),
            stderr: HeadAndTail::new(max_chars),
        }
    }

    fn into_followed(self, report: ExecReport) -> Followed {
        let report = ExecReport { attached: self.attached, ..report };
        Followed { report, stdout: self.stdout, stderr: self.stderr }
    }

    async fn until_patience_ends<C>(&mut self, exchange: &mut Exchange<C>) -> Result<ExecReport, ErrorBody>
    where
        C: Call<Event = ExecEvent, Result = ExecReport>,
    {
        let mut told = tokio::time::interval_at(Instant::now() + progress::INTERVAL, progress::INTERVAL);
        let begun = Instant::now();
        let deadline = self.deadline;
        loop {
            tokio::select! {
                report = self.next(exchange) => {
                    if let Some(report) = report? {
                        return Ok(report);
                    }
                }
                now = told.tick() => {
                    let bytes = self.stdout.total_bytes() + self.stderr.total_bytes();
                    let seconds = now.duration_since(begun).as_secs();
                    self.call.progress.tell(format!("running for {seconds} s, {bytes} bytes of output")).await;
                }
                () = tokio::time::sleep_until(deadline), if self.job.is_some() => return self.runs_on().await,
            }
        }
    }

    /// What comes next; the report if it is the end. May be dropped while waiting.
    async fn next<C>(&mut self, exchange: &mut Exchange<C>) -> Result<Option<ExecReport>, ErrorBody>
    where
        C: Call<Event = ExecEvent, Result = ExecReport>,
    {
        let next = tokio::select! {
            next = exchange.next() => next,
            () = self.call.cancel.cancelled() => return Err(self.cancelled(exchange).await),
        };
        match next.map_err(|error| self.lost(error))? {
            Output::Stdout(bytes) => self.stdout.push(&bytes),
            Output::Stderr(bytes) => self.stderr.push(&bytes),
            Output::Event(ExecEvent::Started { sequence, attached, .. }) => {
                self.job = Some(CommandRef(sequence));
                self.attached = attached;
            }
            Output::Result(report) => return Ok(Some(report)),
        }
        Ok(None)
    }

    /// How a command is that is not waited for any longer.
    async fn runs_on(&self) -> Result<ExecReport, ErrorBody> {
        let Some(job) = self.job else {
            return Err(ErrorBody::new(ErrorCode::Internal, "a command without a job"));
        };
        let request = JobWaitRequest {
            workspace: self.workspace.clone(),
            job,
            timeout_seconds: Some(0),
            follow: false,
            stdout_from: 0,
            stderr_from: 0,
        };
        let mut exchange = self.call.client.stream::<WaitForJob>(&request).await?;
        loop {
            if let Output::Result(report) = exchange.next().await? {
                return Ok(report);
            }
        }
    }

    /// Ends the command for a client that wants it no more, also one that is only just being begun.
    async fn cancelled<C>(&mut self, exchange: &mut Exchange<C>) -> ErrorBody
    where
        C: Call<Event = ExecEvent, Result = ExecReport>,
    {
        // A client that has gone may come back and ask again.
        if self.kills_when_cancelled && !self.call.gone.is_cancelled() {
            let beginning = tokio::time::timeout(PATIENCE_FOR_END, self.wait_for_job(exchange));
            // The client does not listen any more; the history says how the command ended.
            if let Ok(Some(job)) = beginning.await {
                let _killed = send_kill(&self.call.client, &self.workspace, job).await;
            }
        }
        ErrorBody::new(ErrorCode::Cancelled, "the client cancelled the call")
    }

    /// The job that the command is or becomes; none if it ends or fails before.
    async fn wait_for_job<C>(&self, exchange: &mut Exchange<C>) -> Option<CommandRef>
    where
        C: Call<Event = ExecEvent, Result = ExecReport>,
    {
        let mut job = self.job;
        while job.is_none() {
            match exchange.next().await.ok()? {
                Output::Event(ExecEvent::Started { sequence, .. }) => job = Some(CommandRef(sequence)),
                Output::Result(_) => return None,
                Output::Stdout(_) | Output::Stderr(_) => {}
            }
        }
        job
    }

    fn lost(&self, error: ClientError) -> ErrorBody {
        let is_lost = matches!(error, ClientError::Lost { .. });
        let body = ErrorBody::from(error);
        match self.job {
            Some(job) if is_lost => {
                let mut body = body
                    .with_hint(format!(
                        "the command goes on and was not run twice; call again with job_id {job} to wait for it"
                    ))
                    .with_work(Work::Running, Some(job.to_string()));
                // To wait again does no harm.
                body.retryable = true;
                body
            }
            None if is_lost && self.runs_once => {
                let mut body = body
                    .with_hint("call again with the same arguments: the command runs once")
                    .with_work(Work::Unknown, None);
                body.retryable = true;
                body
            }
            None if is_lost => body
                .with_hint("the command may have run: look at the logs before you call again")
                .with_work(Work::Unknown, None),
            _ => body,
        }
    }
}
