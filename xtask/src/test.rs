//! `test`: every test there is, on the host and in guests.
//!
//! Unit and loopback tests run as whoever started this. The guest-backed suite (package `pyro-e2e`) runs under an
//! unprivileged account and, with `--as-root`, a second time as root, without what is the same for both; from copies that any
//! account can read. It is told by variables where things are:
//!
//! - `PYRO_TEST_PYRO`, `PYRO_TEST_GUEST`: the programs under test;
//! - `PYRO_TEST_HOME`: a directory kept from run to run, for the environments that all tests share.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    account::Account,
    arguments::Arguments,
    build::{Built, Programs},
    checkout, mcp, prepare, sdk, smoke,
    stage::Stage,
    step,
    tally::Tally,
};

/// The guest-backed suite, which cargo does not run by itself.
const SUITE: &str = "e2e";

/// Modules of the suite in which it makes no difference who runs the daemon: they are about what is asked and answered, and about what
/// happens inside of a guest. Root has users of its own for machines, other rights on the host's files and on memory, and no user
/// namespace; whatever touches those runs as root too.
const SAME_FOR_ROOT: &[&str] = &[
    "arguments::",
    "bytes::",
    "chat_hosts::",
    "comparisons::",
    "exit_status::",
    // Nobody hides anything from root.
    "full_saves::",
    "json::",
    "large_seeds::",
    "loaded_guests::",
    "lost_machines::",
    "many_snapshots::",
    "mcp",
    "package_managers::",
    "reference_faults::",
    "refusals::",
    "timelines::",
    "use_cases::",
    "workspace_activity::",
    "workspace_changes::",
    "workspace_contents::",
    "workspace_files::",
    "workspace_history::",
    "workspace_lists::",
    "workspace_summary::",
];

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let programs = Programs::named(&mut arguments)?;
    let named = arguments.option("--account")?;
    let as_root = arguments.flag("--as-root");
    let filters = arguments.names()?;

    // Before anything is installed or built: a refusal must leave no trace.
    let account = Account::ordinary(named.as_deref())?;
    let current = Account::current()?;
    ensure!(!as_root || current.is_root(), "`--as-root` needs root");
    prepare::prepare_for(&account)?;
    let built = programs.build()?;

    let mut summary = Summary::default();
    summary.part("unit and loopback tests", || unit_tests(&built, &filters))?;
    let suite = suite_binaries()?;
    summary.part(&format!("guest-backed suite as `{}`", account.name), || {
        guest_backed(&account, &built, &suite, &filters)
    })?;
    if as_root {
        summary.part("guest-backed suite as root", || {
            let skipped = SAME_FOR_ROOT.iter().flat_map(|module| ["--skip", module]).map(str::to_owned);
            let chosen: Vec<String> = filters.iter().cloned().chain(skipped).collect();
            guest_backed(&current, &built, &suite, &chosen)
        })?;
    }
    // What was counted is told also when one of them has nothing to count.
    for parts in [sdk::test, mcp::test, smoke::test] as [Parts; 3] {
        let begin = Instant::now();
        if let Err(error) = parts(&mut summary, &account, &built, &filters) {
            summary.broke(&error, begin.elapsed());
        }
    }
    summary.conclude(filters.is_empty())
}

/// Parts of all tests, of a kind that can also be asked for alone.
pub(crate) type Parts = fn(&mut Summary, &Account, &Built, &[String]) -> Result<()>;

/// Entry of the tasks that run one kind of parts.
pub(crate) fn run_alone(mut arguments: Arguments, parts: Parts) -> Result<()> {
    let programs = Programs::named(&mut arguments)?;
    let named = arguments.option("--account")?;
    let filters = arguments.names()?;
    let account = Account::ordinary(named.as_deref())?;
    prepare::prepare_for(&account)?;
    let built = programs.build()?;
    let mut summary = Summary::default();
    parts(&mut summary, &account, &built, &filters)?;
    summary.conclude(filters.is_empty())
}

/// Everything that cargo can run by itself.
fn unit_tests(built: &Built, filters: &[String]) -> Result<Tally> {
    let mut cargo = checkout::cargo();
    cargo.args(["test", "--locked", "--workspace", "--no-fail-fast", "--"]).args(filters);
    cargo.env("PYRO_TEST_PYRO", &built.pyro).env("PYRO_TEST_GUEST", &built.guest);
    Tally::of(&mut cargo)
}

/// Builds the suite and says where its program is. The whole workspace is named as for the unit tests: another choice of
/// packages has other features, and would build every dependency again.
fn suite_binaries() -> Result<Vec<PathBuf>> {
    let mut cargo = checkout::cargo();
    cargo.args(["test", "--locked", "--workspace", "--no-run", "--test", SUITE]);
    cargo.arg("--message-format=json-render-diagnostics");
    let output = step::output("build the guest-backed suite", &mut cargo)?;
    let mut binaries = Vec::new();
    for line in String::from_utf8_lossy(&output).lines() {
        let message: Value = serde_json::from_str(line).context("read what cargo built")?;
        if message["profile"]["test"] == true
            && let Some(path) = message["executable"].as_str()
        {
            binaries.push(PathBuf::from(path));
        }
    }
    ensure!(!binaries.is_empty(), "the suite {SUITE} has no test program");
    Ok(binaries)
}

/// Runs the suite as `account`, from copies.
fn guest_backed(account: &Account, built: &Built, suite: &[PathBuf], filters: &[String]) -> Result<Tally> {
    let stage = Stage::new()?;
    let pyro = stage.add(&built.pyro)?;
    let guest = stage.add(&built.guest)?;
    let mut tally = Tally::default();
    for binary in suite {
        let mut command = account.test_command(&stage.add(binary)?)?;
        command.args(filters);
        command.env("PYRO_TEST_PYRO", &pyro).env("PYRO_TEST_GUEST", &guest);
        command.env("PYRO_TEST_HOME", account.test_home());
        tally.add(Tally::of(&mut command)?);
    }
    Ok(tally)
}

/// What ran, part by part.
#[derive(Debug, Default)]
pub(crate) struct Summary(Vec<(String, Tally, Duration)>);

impl Summary {
    /// Runs a part and keeps what it counted.
    pub(crate) fn part(&mut self, name: &str, run: impl FnOnce() -> Result<Tally>) -> Result<()> {
        eprintln!("==> {name}");
        let begin = Instant::now();
        let tally = run().with_context(|| name.to_owned())?;
        self.0.push((name.to_owned(), tally, begin.elapsed()));
        Ok(())
    }

    /// A part did not come to its end: that counts as one failure.
    fn broke(&mut self, error: &anyhow::Error, took: Duration) {
        eprintln!("{error:?}");
        self.0.push((format!("{error} (did not end)"), Tally { failed: 1, ..Tally::default() }, took));
    }

    /// Prints the table and the closing line. `whole`: no filter was given, so a part without a test is a fault. With one,
    /// nothing at all is.
    pub(crate) fn conclude(&self, whole: bool) -> Result<()> {
        println!();
        let mut total = Tally::default();
        for (name, tally, took) in &self.0 {
            let Tally { passed, failed, skipped } = tally;
            println!("{name}: {passed} passed, {failed} failed, {skipped} skipped in {} s", took.as_secs());
            total.add(*tally);
        }
        println!("{} skipped", total.skipped);
        println!("{} passed, {} failed", total.passed, total.failed);
        if total.failed > 0 {
            bail!("{} tests failed", total.failed);
        }
        if total.skipped > 0 {
            bail!("{} tests were skipped; every test must run", total.skipped);
        }
        match self.0.iter().find(|(_, tally, _)| *tally == Tally::default()) {
            Some((name, ..)) if whole => bail!("{name}: no test ran"),
            _ if total == Tally::default() => bail!("no test has such a name"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(parts: &[Tally]) -> Summary {
        Summary(parts.iter().map(|tally| ("part".to_owned(), *tally, Duration::ZERO)).collect())
    }

    #[test]
    fn failed_skipped_and_empty_parts_fail_the_task() {
        let good = Tally { passed: 1, ..Tally::default() };
        assert!(summary(&[good]).conclude(true).is_ok());
        assert!(summary(&[good, Tally { failed: 1, ..good }]).conclude(true).is_err());
        assert!(summary(&[good, Tally { skipped: 1, ..good }]).conclude(true).is_err());
        assert!(summary(&[good, Tally::default()]).conclude(true).is_err());
        assert!(
            summary(&[good, Tally::default()]).conclude(false).is_ok(),
            "a filter may leave a part empty"
        );
        assert!(summary(&[Tally::default()]).conclude(false).is_err(), "but not everything");
        let mut broken = summary(&[good]);
        broken.broke(&anyhow::anyhow!("no such tool"), Duration::ZERO);
        assert!(broken.conclude(true).unwrap_err().to_string().contains("1 tests failed"));
    }
}
