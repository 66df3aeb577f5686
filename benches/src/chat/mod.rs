//! What chats and programs call: the server of tools, on one connection that lasts, and the Python package. Floors are
//! taken in the same run: the command line, the daemon's own API, and the slowest of several calls alone.

mod api;
mod python;
mod server;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use api::Api;
use pyro_api::operation::{Call, GetWorkspaceStatus};
use serde_json::{Value, json};
use server::{Sent, Server};

use crate::{
    cli::Pyro,
    measure::RUN_TRUE,
    report::Report,
    statistics::{Samples, milliseconds},
};

/// The workspace that all calls are about.
const WORKSPACE: &str = "chat";
/// A warm run of what the tool `vm_run` makes of `true`.
const RUN_SHELL_TRUE: [&str; 7] = ["run", "--quiet", "debian:12", "--", "/bin/sh", "-lc", "true"];
/// So many calls at once.
const AT_ONCE: u32 = 8;
/// What is asked is whether calls wait for each other, not what a guest's processor does. Emulated, that takes up to half a
/// second for the start and end of each command, so commands sleep for much longer than all of these take together.
const SLEEP_SECONDS: u32 = 10;
/// How often one call is made alone.
const TIMES_ALONE: u32 = 3;
/// Stands for the 30 s of the aim: a server is not the busier the longer a command sleeps.
const LONG_SLEEP_SECONDS: u32 = 5;
/// How long nothing is asked after an answer.
const BETWEEN_PINGS: Duration = Duration::from_millis(50);
/// Calls that cost a few milliseconds are made this many times as often as those that cost a machine.
const CHEAP_TIMES: usize = 20;

/// Everything about the server and the package.
pub(crate) fn all(
    pyro: &Pyro,
    scratch: &Path,
    sdk: &Path,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let allowed = scratch.join("allowed");
    fs::create_dir(&allowed)?;
    pyro.timed(&["workspace", "create", "debian:12", "--name", WORKSPACE, "--vcpu-count", "2"])?;
    initialize(pyro, &allowed, rounds, report)?;
    let mut server = Server::start(pyro, &allowed)?;
    call_overhead(pyro, &mut server, rounds * CHEAP_TIMES, report)?;
    run(pyro, &mut server, rounds, report)?;
    parallel(&mut server, report)?;
    pings(&mut server, report)?;
    server.end()?;
    pyro.timed(&["workspace", "delete", WORKSPACE, "--force"])?;
    python::costs(pyro, sdk, report)
}

/// From nothing to a server that has said who it is.
fn initialize(pyro: &Pyro, allowed: &Path, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let begin = Instant::now();
        let server = Server::start(pyro, allowed)?;
        samples.push(begin.elapsed());
        server.end()?;
    }
    report.add(
        "mcp_initialize_ms",
        samples.median(),
        "ms",
        format!(
            "start of `pyro mcp serve` until `initialize` is answered, the daemon up; median of {rounds}"
        ),
    );
    Ok(())
}

/// A tool that only reads, against the operation of the daemon that it asks.
fn call_overhead(pyro: &Pyro, server: &mut Server, times: usize, report: &mut Report) -> anyhow::Result<()> {
    let api = Api::of(pyro)?;
    let question = json!({ "workspace_id": WORKSPACE });
    let body = question.to_string();
    let (mut calls, mut asked) = (Samples::default(), Samples::default());
    for _ in 0..times {
        let begin = Instant::now();
        api.ask(GetWorkspaceStatus::OPERATION, &body)?;
        asked.push(begin.elapsed());
        let begin = Instant::now();
        server.call("workspace_status", &question)?;
        calls.push(begin.elapsed());
    }
    report.add(
        "mcp_call_overhead_ms",
        calls.median() - asked.median(),
        "ms",
        format!(
            "the tool `workspace_status`, less the same operation as bytes over the daemon's socket, which takes {:.2} ms; \
             medians of {times}, taken in turn",
            asked.median()
        ),
    );
    Ok(())
}

/// The tool for one command, against the command line. The tool takes a line for a login shell, and where machines are
/// emulated its start is most of the difference; so a third figure has the command line start that shell too.
fn run(pyro: &Pyro, server: &mut Server, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (mut tools, mut commands, mut shells) = (Samples::default(), Samples::default(), Samples::default());
    run_true(server)?;
    for _ in 0..rounds {
        commands.push(pyro.timed(&RUN_TRUE)?.0);
        let begin = Instant::now();
        run_true(server)?;
        tools.push(begin.elapsed());
        shells.push(pyro.timed(&RUN_SHELL_TRUE)?.0);
    }
    report.add(
        "mcp_run_ms",
        tools.median(),
        "ms",
        format!("the tool `vm_run` with `true` over a warm connection; median of {rounds}"),
    );
    report.add(
        "mcp_run_over_cli",
        tools.median() / commands.median(),
        "ratio",
        format!(
            "`mcp_run_ms` / a warm `pyro run debian:12 -- true` ({:.0} ms), taken in turn",
            commands.median()
        ),
    );
    report.add(
        "mcp_run_over_cli_shell",
        tools.median() / shells.median(),
        "ratio",
        format!(
            "the same / `pyro run debian:12 -- /bin/sh -lc true` ({:.0} ms), which is what the tool runs",
            shells.median()
        ),
    );
    Ok(())
}

fn run_true(server: &mut Server) -> anyhow::Result<()> {
    let ran = server.call("vm_run", &json!({ "environment": "debian:12", "command": "true" }))?;
    ensure_success(&ran)
}

/// Several calls at once, against the slowest of them alone.
fn parallel(server: &mut Server, report: &mut Report) -> anyhow::Result<()> {
    let mut alone = Samples::default();
    for _ in 0..TIMES_ALONE {
        alone.push(sleep_at_once(server, 1)?);
    }
    let together = milliseconds(sleep_at_once(server, AT_ONCE)?);
    let slowest = alone.quantile(1.0);
    report.add(
        "mcp_parallel_ms",
        together,
        "ms",
        format!(
            "{AT_ONCE} calls of `workspace_exec` with `sleep {SLEEP_SECONDS}` in one workspace, sent at once on one connection, \
             until all are answered"
        ),
    );
    report.add(
        "mcp_parallel_over_slowest",
        together / slowest,
        "ratio",
        format!("`mcp_parallel_ms` / the slowest of {TIMES_ALONE} such calls alone ({slowest:.0} ms)"),
    );
    Ok(())
}

/// Sends so many calls that sleep, and waits for all.
fn sleep_at_once(server: &mut Server, count: u32) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let sent = (0..count).map(|number| send_sleep(server, SLEEP_SECONDS, number));
    for sent in sent.collect::<anyhow::Result<Vec<_>>>()? {
        ensure_success(&server.finish_call(sent)?)?;
    }
    Ok(begin.elapsed())
}

/// Signs of life while a command runs on the same connection.
fn pings(server: &mut Server, report: &mut Report) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    let running = send_sleep(server, LONG_SLEEP_SECONDS, 0)?;
    while !server.answers_within(running, BETWEEN_PINGS)? {
        let begin = Instant::now();
        server.ping()?;
        samples.push(begin.elapsed());
    }
    ensure_success(&server.finish_call(running)?)?;
    report.add(
        "mcp_ping_during_exec_ms",
        samples.median(),
        "ms",
        format!(
            "`ping`, again {} ms after each answer, while `workspace_exec` of `sleep {LONG_SLEEP_SECONDS}` \
             is under way on the same connection; the median",
            BETWEEN_PINGS.as_millis()
        ),
    );
    report.add("mcp_ping_during_exec_worst_ms", samples.quantile(1.0), "ms", "the slowest of them");
    Ok(())
}

/// Begins a command that sleeps. Its number makes it another one than its like: a call that is the same as one under way
/// would wait for that one's command.
fn send_sleep(server: &mut Server, seconds: u32, number: u32) -> anyhow::Result<Sent> {
    let command = format!("sleep {seconds} # {number}");
    server.send_call("workspace_exec", &json!({ "workspace_id": WORKSPACE, "command": command }))
}

fn ensure_success(ran: &Value) -> anyhow::Result<()> {
    let code = ran["exit_code"].as_i64().with_context(|| format!("no exit code in {ran}"))?;
    ensure!(code == 0, "a command ended with {code}");
    Ok(())
}
