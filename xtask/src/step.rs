//! One command of a task: announced, timed, and fatal when it fails.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Runs a command whose output the person sees; its failure ends the task.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<Duration> {
    eprintln!("==> {what}");
    let begin = Instant::now();
    let status = command.status().with_context(|| format!("{what}: start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    Ok(begin.elapsed())
}

/// Runs a command and returns what it printed on stdout.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("{what}: start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{what}: {}", output.status);
    }
    Ok(output.stdout)
}
