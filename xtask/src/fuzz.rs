//! `fuzz`: runs the targets of `fuzz/`, one after the other, each for some seconds.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{arguments::Arguments, checkout, step};

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let seconds = arguments.option("--seconds")?.unwrap_or_else(|| "60".to_owned());
    let seconds: u32 = seconds.parse().context("`--seconds` is not a number")?;
    let mut targets = arguments.names()?;
    if !checkout::cargo().args(["fuzz", "--version"]).output().is_ok_and(|output| output.status.success()) {
        bail!("cargo-fuzz is not installed; run\n\n    cargo install --locked cargo-fuzz\n");
    }
    if targets.is_empty() {
        let listed = step::output("list the fuzz targets", fuzz().arg("list"))?;
        targets = String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect();
    }
    ensure!(!targets.is_empty(), "there are no fuzz targets");
    for target in targets {
        let mut run = fuzz();
        run.args(["run", &target, "--", &format!("-max_total_time={seconds}")]);
        step::run(&format!("fuzz {target} for {seconds} s"), &mut run)?;
    }
    Ok(())
}

/// `cargo fuzz` with the ordinary compiler, which has the sanitizers too but keeps them for nightly.
fn fuzz() -> Command {
    let mut cargo = checkout::cargo();
    cargo.arg("fuzz").env("RUSTC_BOOTSTRAP", "1");
    cargo
}
