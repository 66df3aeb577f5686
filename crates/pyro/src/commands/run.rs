//! `pyro run`: one command in a fresh machine.
//!
//! Output goes through as it comes. Standard input is passed on unless it is a terminal (then only with
//! `--interactive`) or `--no-stdin` is given. The first SIGINT, SIGTERM or SIGHUP ends the guest command and
//! machine and waits for that; the second ends this program at once, and the daemon, which sees it go, does the same
//! clean-up. So does a closed standard output. When the daemon itself is lost, another one is started to do it.

use std::{collections::BTreeMap, ffi::OsString, os::unix::ffi::OsStringExt as _, time::Duration};

use clap::Args;
use pyro_api::{
    ClientError, ErrorBody,
    operation::Run,
    run::{self, Collected, RunEvent, RunReport, RunRequest, RunResult},
    text::ByteString,
};

use super::{
    client,
    guest_command::{GuestCommand, variable_parser},
    progress::Indicator,
    signals::Signals,
    stream::{Ended, Sink, Streaming, Watcher, passes_stdin},
};
use crate::{
    daemon::DaemonStarter,
    output::{self, Failure, Status},
    settings::Settings,
};

/// How long a new daemon may take to end what a lost one left behind, before the loss is told without it.
const PATIENCE_FOR_REPLACEMENT: Duration = Duration::from_secs(20);

/// How much of each stream `--json` keeps.
pub(super) const MOST_COLLECTED_BYTES: usize = 16 * 1024 * 1024;

/// Run a command in a fresh virtual machine, which is gone afterwards
///
/// Several ARGs are a program and its arguments. A single ARG with white space in it is a shell line, run by
/// `/bin/sh -lc`. The exit status is the command's: 128+n when signal n ended it, 124 when the timeout did, 127
/// when there is no such program, 126 when it cannot be executed, 125 when there is no such --cwd or --user. Failures
/// of pyro itself exit with 1, usage errors with 2, and a line that begins with `[error]` on standard error tells them
/// apart from the command's own.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What the machine starts from, e.g. debian:12 (see `pyro env list`)
    environment: String,
    #[command(flatten)]
    command: GuestCommand,
    /// Virtual processors, 1 to 8
    #[arg(long, value_name = "N", default_value_t = run::DEFAULT_VCPU_COUNT)]
    vcpu_count: u32,
    /// Memory in MiB, 256 to 32768
    #[arg(long, value_name = "MIB", default_value_t = run::DEFAULT_MEM_MIB)]
    mem_mib: u32,
    /// Kill the command, and all that it started, after so long
    #[arg(long, value_name = "SECONDS", default_value_t = run::DEFAULT_TIMEOUT_SECONDS)]
    timeout_seconds: u64,
    /// The machine ends by itself after so long, never before the timeout; 0 for no such bound
    #[arg(long, value_name = "SECONDS", default_value_t = run::DEFAULT_TTL_SECONDS)]
    ttl_seconds: u64,
    /// Give the machine a network (not yet supported: refused)
    #[arg(long)]
    network: bool,
    /// Accepted for compatibility; nothing ever runs on the host
    #[arg(long)]
    allow_host_compat: bool,
    /// Working directory of the command, absolute [default: /workspace]
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// Set an environment variable for the command; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable_parser(), action = clap::ArgAction::Append)]
    env: Vec<(String, ByteString)>,
    /// Account of the command, by name or number
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Pass standard input on even if it is a terminal
    #[arg(short, long, conflicts_with = "no_stdin")]
    interactive: bool,
    /// Give the command an empty standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// Print no `[run]` lines on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Print the result, with the output in it, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self, stdin: bool) -> Result<RunRequest, ErrorBody> {
        let command = self.command.to_command_line()?;
        Ok(RunRequest {
            vcpu_count: self.vcpu_count,
            mem_mib: self.mem_mib,
            timeout_seconds: self.timeout_seconds,
            ttl_seconds: self.ttl_seconds,
            network: self.network,
            allow_host_compat: self.allow_host_compat,
            cwd: self.cwd.clone().map(|cwd| ByteString(cwd.into_vec())),
            env: self.env.iter().cloned().collect::<BTreeMap<_, _>>(),
            user: self.user.clone(),
            stdin,
            ..RunRequest::new(self.environment.clone(), command)
        })
    }
}

pub(crate) async fn perform(arguments: Arguments, settings: Settings) -> Result<Status, Failure> {
    let request = arguments.to_request(passes_stdin(arguments.interactive, arguments.no_stdin))?;
    if arguments.json {
        return perform_json(&request, &settings, false).await;
    }
    let report = follow(&request, &settings, !arguments.quiet, &mut Sink::PassOn).await?;
    Ok(summarize(&report, arguments.quiet))
}

/// Runs and prints the result, with the output in it, as JSON.
pub(crate) async fn perform_json(
    request: &RunRequest,
    settings: &Settings,
    shows_phases: bool,
) -> Result<Status, Failure> {
    let (mut stdout, mut stderr) =
        (Collected::up_to(MOST_COLLECTED_BYTES), Collected::up_to(MOST_COLLECTED_BYTES));
    let mut sink = Sink::Collect { stdout: &mut stdout, stderr: &mut stderr };
    let report = follow(request, settings, shows_phases, &mut sink).await?;
    let status = exit_status(&report);
    output::json(&RunResult::new(report, &stdout, &stderr))?;
    Ok(status)
}

fn summarize(report: &RunReport, quiet: bool) -> Status {
    if !quiet {
        output::note(format!(
            "[run] environment={} execution_mode={} exit_code={} duration_ms={} isolation={} start={}",
            report.environment,
            report.execution_mode,
            report.exit_code,
            report.duration_ms,
            report.isolation,
            report.start
        ));
    }
    exit_status(report)
}

fn exit_status(report: &RunReport) -> Status {
    u8::try_from(report.exit_code & 0xff).unwrap_or(1)
}

/// Asks for a run and follows it to its end.
async fn follow(
    request: &RunRequest,
    settings: &Settings,
    shows_phases: bool,
    sink: &mut Sink<'_>,
) -> Result<RunReport, Failure> {
    request.check()?;
    let mut signals = Signals::watch()?;
    let starter = DaemonStarter::new(settings.clone());
    let mut phases = Phases::new(&request.environment, shows_phases);
    let mut run = match Streaming::<Run>::begin(&client(settings), request, &mut signals).await {
        Ok(run) => run,
        Err(Ended::Client(error)) => return Err(settled(error, starter, &mut signals).await),
        Err(Ended::Here(failure)) => return Err(failure),
    };
    if request.stdin {
        run.pass_stdin();
    }
    let ended = match run.follow(sink, &mut phases).await {
        Ok(report) => return Ok(report),
        Err(ended) => ended,
    };
    let interruption = run.interruption();
    match ended {
        Ended::Here(failure) => Err(failure),
        Ended::Client(error) => {
            let failure = settled(error, starter, &mut signals).await;
            Err(interruption.map_or(failure, Failure::from))
        }
    }
}

/// Shows the phases of a run.
struct Phases {
    shown: bool,
    environment: String,
    indicator: Indicator,
}

impl Phases {
    fn new(environment: &str, shown: bool) -> Self {
        let indicator = Indicator::new("run", environment, shown);
        Self { shown, environment: environment.to_owned(), indicator }
    }
}

impl Watcher<RunEvent> for Phases {
    fn event(&mut self, event: RunEvent) {
        match event {
            RunEvent::Progress(progress) => self.indicator.show(&progress),
            RunEvent::Phase { phase, vm_id } => {
                self.indicator.finish();
                if self.shown {
                    let what = vm_id.as_ref().map_or_else(
                        || format!("environment={}", self.environment),
                        |vm_id| format!("vm_id={vm_id}"),
                    );
                    output::note(format!("[run] phase={phase} {what}"));
                }
            }
        }
    }

    fn clear(&mut self) {
        self.indicator.finish();
    }
}

/// The failure that an error of the daemon's is. If the daemon was lost, a new one first ends the machine that it may
/// have left behind, unless that takes too long or a signal ends this program before.
async fn settled(error: ClientError, starter: DaemonStarter, signals: &mut Signals) -> Failure {
    if !matches!(error, ClientError::Lost { .. }) {
        return error.into();
    }
    let body = ErrorBody::from(error);
    let replaced = tokio::select! {
        replaced = tokio::time::timeout(PATIENCE_FOR_REPLACEMENT, starter.replace_lost()) => replaced,
        status = signals.next() => return Failure::Interrupted(status),
    };
    Failure::Told(match replaced {
        Ok(Ok(())) => ErrorBody { error: format!("{}; the machine was ended", body.error), ..body }.with_hint(
            "nothing outlives a one-shot machine: run the command again; the log daemon.log in the data directory may say what happened",
        ),
        // The loss is what is to be told; what follows from it is only added.
        Ok(Err(error)) => with_machine_left(body, &error.error),
        Err(_) => with_machine_left(body, "it was not ready in time"),
    })
}

fn with_machine_left(body: ErrorBody, reason: &str) -> ErrorBody {
    let hint =
        format!("no new daemon could be started ({reason}); the next one ends what is left of the machine");
    body.with_hint(hint)
}
