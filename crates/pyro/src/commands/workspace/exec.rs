//! `pyro workspace exec`: a command in a workspace, at most once.
//!
//! Output goes through as it comes, and standard input as in `pyro run`. Every call has an idempotency key, its own if the
//! caller gives none, so a daemon that is lost on the way costs nothing: the next one is asked for the same command.
//! The first signal ends the command and waits for that; the second ends this program at once.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use clap::Args;
use pyro_api::{
    Client, ClientError, ErrorBody,
    operation::ExecInWorkspace,
    run::Collected,
    text::ByteString,
    workspace::{
        command::CommandRef,
        exec::{ExecEvent, ExecReport, ExecResult, WorkspaceExecRequest},
        identity::WorkspaceRef,
    },
};

use super::reattach::{self, MOST_DAEMONS, Place};
use crate::{
    commands::{
        client,
        guest_command::{GuestCommand, variable_parser},
        run::MOST_COLLECTED_BYTES,
        signals::Signals,
        stream::{Ended, Sink, Streaming, Watcher, passes_stdin},
    },
    output::{self, Failure, Status},
    random,
    settings::Settings,
};

/// Run a command in a workspace, at most once
///
/// Several ARGs are a program and its arguments. A single ARG with white space in it is a shell line, run by
/// `/bin/sh -lc`. The exit status is the command's, as for `pyro run`. A line that begins with `[error]` on standard error
/// tells failures of pyro itself apart from the command's own.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    #[command(flatten)]
    command: GuestCommand,
    /// Kill the command, and all that it started, after so long; 0 for never [default: 30, with --detach 0]
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<u64>,
    /// Working directory, absolute or below /workspace [default: /workspace]
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// Set an environment variable for the command; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable_parser(), action = clap::ArgAction::Append)]
    env: Vec<(String, ByteString)>,
    /// Account of the command, by name or number
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Give the command a secret as an environment variable (not yet supported: refused); may be repeated
    #[arg(long, value_name = "SECRET[=ENV]", value_parser = parse_secret_env)]
    secret_env: Vec<(String, String)>,
    /// Name of this one call: a second one with the same name and command runs nothing and gives the same result
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Follow an identical command that runs now, if there is one, instead of running another
    #[arg(long, conflicts_with_all = ["idempotency_key", "interactive"])]
    attach: bool,
    /// Print the job's id as soon as the command runs, which goes on without us
    #[arg(long, conflicts_with = "interactive")]
    detach: bool,
    /// Pass standard input on even if it is a terminal
    #[arg(short, long, conflicts_with = "no_stdin")]
    interactive: bool,
    /// Give the command an empty standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// Print no summary on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Print the result, with the output in it, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_secret_env(text: &str) -> Result<(String, String), String> {
    let (secret, variable) = text.split_once('=').unwrap_or((text, text));
    if secret.is_empty() || variable.is_empty() {
        return Err("write it as SECRET or SECRET=ENV".to_owned());
    }
    Ok((secret.to_owned(), variable.to_owned()))
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self, stdin: bool) -> Result<WorkspaceExecRequest, ErrorBody> {
        let request = WorkspaceExecRequest {
            cwd: self.cwd.clone().map(|cwd| ByteString(cwd.into_vec())),
            env: self.env.iter().cloned().collect(),
            user: self.user.clone(),
            stdin: stdin && !self.detach && !self.attach,
            timeout_seconds: self.timeout_seconds,
            idempotency_key: self.idempotency_key.clone(),
            attach: self.attach,
            detach: self.detach,
            secret_env: self.secret_env.iter().cloned().collect(),
            ..WorkspaceExecRequest::new(self.workspace.clone(), self.command.to_command_line()?)
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let mut request = arguments.to_request(passes_stdin(arguments.interactive, arguments.no_stdin))?;
    if request.idempotency_key.is_none() && !request.attach {
        request.idempotency_key = Some(random::word()?);
    }
    let client = client(settings);
    if arguments.json || arguments.detach {
        let mut stdout = Collected::up_to(MOST_COLLECTED_BYTES);
        let mut stderr = Collected::up_to(MOST_COLLECTED_BYTES);
        let mut sink = Sink::Collect { stdout: &mut stdout, stderr: &mut stderr };
        let report = exec(&client, &request, &mut sink).await?;
        let status = if arguments.detach { 0 } else { reattach::exit_status(&report) };
        if arguments.json {
            output::json(&ExecResult::new(report, &stdout, &stderr))?;
        } else {
            output::line(&report.job_id)?;
        }
        return Ok(status);
    }
    let report = exec(&client, &request, &mut Sink::PassOn).await?;
    if !arguments.quiet {
        output::note(reattach::summary("workspace-exec", &report));
    }
    Ok(reattach::exit_status(&report))
}

/// Runs it and follows it to its end, whatever becomes of the daemon meanwhile.
async fn exec(
    client: &Client,
    request: &WorkspaceExecRequest,
    sink: &mut Sink<'_>,
) -> Result<ExecReport, Failure> {
    let mut signals = Signals::watch()?;
    let mut daemons = 0;
    loop {
        let mut started = Started::default();
        let mut place = Place::default();
        let ended = match Streaming::<ExecInWorkspace>::begin(client, request, &mut signals).await {
            Ok(mut command) => {
                if request.stdin {
                    command.pass_stdin();
                }
                let followed = command.follow(sink, &mut started).await;
                if let (Some(interruption), Err(_)) = (command.interruption(), &followed) {
                    if let Some(job) = started.job {
                        reattach::end(client, &request.workspace, job).await;
                    }
                    return Err(interruption.into());
                }
                place.advance(command.delivered());
                match followed {
                    Ok(report) => return Ok(report),
                    Err(ended) => ended,
                }
            }
            Err(ended) => ended,
        };
        match (ended, started.job) {
            (Ended::Client(ClientError::Lost { .. }), Some(job)) => {
                return reattach::follow(client, &request.workspace, job, place, &mut signals, sink).await;
            }
            // Input that is gone cannot be sent a second time.
            (Ended::Client(ClientError::Lost { .. }), None) if !request.stdin && daemons < MOST_DAEMONS => {
                daemons += 1;
            }
            (ended, _) => return Err(ended.into()),
        }
    }
}

/// Remembers which job the command is.
#[derive(Default)]
struct Started {
    job: Option<CommandRef>,
}

impl Watcher<ExecEvent> for Started {
    fn event(&mut self, event: ExecEvent) {
        let ExecEvent::Started { sequence, .. } = event;
        self.job = Some(CommandRef(sequence));
    }
}
