//! `pyro run`: one command in a fresh machine.
//!
//! Output goes through as it comes. Standard input is passed on unless it is a terminal (then only with
//! `--interactive`) or `--no-stdin` is given. The first SIGINT, SIGTERM or SIGHUP ends the guest command and
//! machine and waits for that; the second ends this program at once, and the daemon, which sees it go, does the same
//! clean-up. So does a closed standard output. When the daemon itself is lost, another one is started to do it.

use std::{
    collections::BTreeMap, ffi::OsString, io::IsTerminal as _, os::unix::ffi::OsStringExt as _,
    time::Duration,
};

use bytes::Bytes;
use clap::{Args, builder::TypedValueParser as _};
use pyro_api::{
    ClientError, ErrorBody, ErrorCode, Exchange, Output,
    client::Input,
    operation::Run,
    run::{self, Collected, CommandLine, RunEvent, RunReport, RunRequest, RunResult},
    text::ByteString,
};
use rustix::event::{PollFd, PollFlags};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
};

use super::{client, progress::Indicator, signals::Signals};
use crate::{
    daemon::DaemonStarter,
    output::{self, Failure, Status, stdout_failure},
    settings::Settings,
};

/// How long a new daemon may take to end what a lost one left behind, before the loss is told without it.
const PATIENCE_FOR_REPLACEMENT: Duration = Duration::from_secs(20);

/// How much of each stream `--json` keeps.
const MOST_COLLECTED_BYTES: usize = 16 * 1024 * 1024;

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
    /// The command; the same as after --
    #[arg(value_name = "ARG", hide = true)]
    words: Vec<OsString>,
    /// The command
    #[arg(last = true, value_name = "ARG")]
    command: Vec<OsString>,
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
    #[arg(long, value_name = "NAME=VALUE", value_parser = clap::builder::OsStringValueParser::new().try_map(parse_variable), action = clap::ArgAction::Append)]
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

fn parse_variable(text: OsString) -> Result<(String, ByteString), String> {
    let bytes = text.into_vec();
    let split = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
    let at = split.ok_or("write it as NAME=VALUE")?;
    let name = std::str::from_utf8(&bytes[..at]).map_err(|_| "the name is not UTF-8")?;
    Ok((name.to_owned(), ByteString(bytes[at + 1..].to_vec())))
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self, stdin: bool) -> Result<RunRequest, ErrorBody> {
        let ((words, []) | ([], words)) = (self.words.as_slice(), self.command.as_slice()) else {
            return Err(ErrorBody::new(ErrorCode::Usage, "arguments both before and after --")
                .with_hint("write the whole command after --"));
        };
        let words = words.iter().cloned().map(OsString::into_vec).collect();
        let command = CommandLine::from_arguments(words).ok_or_else(run::missing_command)?;
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

    fn passes_stdin(&self) -> bool {
        !self.no_stdin && (self.interactive || !std::io::stdin().is_terminal())
    }
}

pub(crate) async fn perform(arguments: Arguments, settings: Settings) -> Result<Status, Failure> {
    let request = arguments.to_request(arguments.passes_stdin())?;
    if arguments.json {
        return perform_json(&request, &settings, false).await;
    }
    let report =
        Attempt::begin(&request, &settings, !arguments.quiet).await?.follow(&mut Sink::PassOn).await?;
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
    let report = Attempt::begin(request, settings, shows_phases).await?.follow(&mut sink).await?;
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

/// Where the guest's output goes.
enum Sink<'a> {
    /// To our own standard output and error, as it comes.
    PassOn,
    /// Into the result.
    Collect { stdout: &'a mut Collected, stderr: &'a mut Collected },
}

/// A run as this program sees it.
struct Attempt {
    exchange: Exchange<Run>,
    starter: DaemonStarter,
    signals: Signals,
    shows_phases: bool,
    environment: String,
    indicator: Indicator,
    /// What the first signal, or the closed output, has made of it.
    interrupted: Option<Interruption>,
}

/// Why a run ends early.
#[derive(Clone, Copy)]
enum Interruption {
    Signal(Status),
    OutputClosed,
}

impl Attempt {
    async fn begin(request: &RunRequest, settings: &Settings, shows_phases: bool) -> Result<Self, Failure> {
        request.check()?;
        let mut signals = Signals::watch()?;
        let client = client(settings);
        let starter = DaemonStarter::new(settings.clone());
        let asked = tokio::select! {
            asked = client.stream::<Run>(request) => asked,
            status = signals.next() => return Err(Failure::Interrupted(status)),
        };
        let exchange = match asked {
            Ok(exchange) => exchange,
            Err(error) => return Err(settled(error, starter, &mut signals).await),
        };
        if request.stdin {
            tokio::spawn(pass_stdin(exchange.input()));
        }
        let indicator = Indicator::new("run", &request.environment, shows_phases);
        let environment = request.environment.clone();
        Ok(Self { exchange, starter, signals, shows_phases, environment, indicator, interrupted: None })
    }

    /// Follows the run to its end.
    async fn follow(mut self, sink: &mut Sink<'_>) -> Result<RunReport, Failure> {
        let watches_output = matches!(sink, Sink::PassOn);
        let output_closed = output_closed();
        tokio::pin!(output_closed);
        loop {
            tokio::select! {
                output = self.exchange.next() => match output {
                    Ok(Output::Stdout(bytes)) => self.deliver(sink, &bytes, false).await?,
                    Ok(Output::Stderr(bytes)) => self.deliver(sink, &bytes, true).await?,
                    Ok(Output::Event(event)) => self.show(&event),
                    Ok(Output::Result(report)) => {
                        self.indicator.finish();
                        return self.interrupted.map_or(Ok(report), |interruption| Err(interruption.into()));
                    }
                    Err(error) => {
                        self.indicator.finish();
                        let failure = settled(error, self.starter, &mut self.signals).await;
                        return Err(self.interrupted.map_or(failure, Failure::from));
                    }
                },
                status = self.signals.next() => {
                    if self.interrupted.is_some() {
                        return Err(Failure::Interrupted(status));
                    }
                    self.interrupt(Interruption::Signal(status));
                }
                () = &mut output_closed, if watches_output && self.interrupted.is_none() => {
                    self.interrupt(Interruption::OutputClosed);
                }
            }
        }
    }

    /// Asks for an early end; the daemon answers when everything is cleaned up.
    fn interrupt(&mut self, interruption: Interruption) {
        self.interrupted = Some(interruption);
        let input = self.exchange.input();
        tokio::spawn(async move { input.cancel().await });
    }

    /// Passes output on, or keeps it. What comes after an interruption is dropped.
    async fn deliver(&mut self, sink: &mut Sink<'_>, bytes: &[u8], is_error: bool) -> Result<(), Failure> {
        self.indicator.finish();
        match sink {
            _ if self.interrupted.is_some() => Ok(()),
            Sink::Collect { stdout, stderr } => {
                let collected = if is_error { stderr } else { stdout };
                collected.push(bytes);
                Ok(())
            }
            Sink::PassOn => {
                let interruption = tokio::select! {
                    written = pass_on(bytes, is_error) => match written {
                        Ok(()) => return Ok(()),
                        // Nobody reads our standard error: the command's own business goes on.
                        Err(_) if is_error => return Ok(()),
                        Err(error) => match stdout_failure(&error) {
                            Failure::StdoutClosed => Interruption::OutputClosed,
                            failure => return Err(failure),
                        }
                    },
                    status = self.signals.next() => Interruption::Signal(status),
                };
                self.interrupt(interruption);
                Ok(())
            }
        }
    }

    fn show(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Progress(progress) => self.indicator.show(progress),
            RunEvent::Phase { phase, vm_id } => {
                self.indicator.finish();
                if self.shows_phases {
                    let what = vm_id.as_ref().map_or_else(
                        || format!("environment={}", self.environment),
                        |vm_id| format!("vm_id={vm_id}"),
                    );
                    output::note(format!("[run] phase={phase} {what}"));
                }
            }
        }
    }
}

impl From<Interruption> for Failure {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Signal(status) => Self::Interrupted(status),
            Interruption::OutputClosed => Self::StdoutClosed,
        }
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

async fn pass_on(bytes: &[u8], is_error: bool) -> std::io::Result<()> {
    if is_error {
        let mut stderr = tokio::io::stderr();
        stderr.write_all(bytes).await?;
        stderr.flush().await
    } else {
        let mut stdout = tokio::io::stdout();
        stdout.write_all(bytes).await?;
        stdout.flush().await
    }
}

/// Passes our standard input on until it ends or the daemon wants no more.
async fn pass_stdin(input: Input) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stdin.read(&mut buffer).await {
            Ok(0) | Err(_) => return input.stdin_eof().await,
            Ok(count) => {
                if !input.stdin(Bytes::copy_from_slice(&buffer[..count])).await {
                    return;
                }
            }
        }
    }
}

/// Returns when the reader of our standard output has gone; never for what has no reader, such as a file.
async fn output_closed() {
    let (gone, noticed) = oneshot::channel();
    // A thread of its own that is left behind waiting: a pipe cannot be watched otherwise without taking it over.
    std::thread::spawn(move || {
        let stdout = std::io::stdout();
        // Without events asked for, only errors and hang-ups are reported.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while rustix::event::poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
        // Nobody listens any more when the run is over.
        let _told = gone.send(());
    });
    if noticed.await.is_err() {
        std::future::pending::<()>().await;
    }
}
