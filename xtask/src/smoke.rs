//! `smoke`: the use cases as their pages have them, through the command line, MCP and the SDK, and the examples of clients.
//!
//! Runs under an unprivileged account from copies, like the guest-backed suite; see `tests/smokes`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    account::Account,
    arguments::Arguments,
    build::{Built, Programs},
    checkout, prepare,
    stage::Stage,
    step,
    tally::Tally,
    test::Summary,
    wheel,
};

/// What of the repository the smokes read.
const PARTS: &[&str] = &["docs/use-cases", "examples", "sdks/python", "tests/smokes"];

/// Lists of packages that they are written with.
const PACKAGES: &[&str] = &["mcp", "examples"];

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let programs = Programs::named(&mut arguments)?;
    let named = arguments.option("--account")?;
    let stories = arguments.names()?;
    let account = Account::ordinary(named.as_deref())?;
    prepare::prepare_for(&account)?;
    let built = programs.build()?;
    let mut summary = Summary::default();
    test(&mut summary, &account, &built, &stories)?;
    // Who names a story that there is not must not read that all is well.
    summary.conclude(true)
}

/// All of them, or those whose name has one of the filters in it.
pub(crate) fn test(
    summary: &mut Summary,
    account: &Account,
    built: &Built,
    filters: &[String],
) -> Result<()> {
    let stage = staged()?;
    let (pyro, guest) = (stage.add(&built.pyro)?, stage.add(&built.guest)?);
    let mut smokes = account.command(Path::new("/usr/bin/env"))?;
    // Interrupts as in `test`; and the interpreter that this account finds.
    smokes.args(["--default-signal=HUP,INT,QUIT,TERM", "python3"]);
    smokes.arg(stage.path().join("tests/smokes/run.py")).args(filters);
    smokes.env("PYRO_TEST_PYRO", pyro).env("PYRO_TEST_GUEST", guest);
    smokes.env("PYRO_TEST_HOME", account.test_home()).env("PYTHONDONTWRITEBYTECODE", "1");
    smokes.env("PYTHONPATH", std::env::join_paths(PACKAGES.iter().map(|name| packages(&stage, name)))?);
    summary.part(&format!("smokes as `{}`", account.name), || Tally::of(&mut smokes))
}

/// Copies that any account can read, laid out as in the repository.
fn staged() -> Result<Stage> {
    let stage = Stage::new()?;
    for file in checkout::files()? {
        if PARTS.iter().any(|part| file.starts_with(part)) {
            stage.copy(&checkout::root().join(&file), &file)?;
        }
    }
    std::fs::create_dir(stage.path().join("packages")).context("make the directory of packages")?;
    for name in PACKAGES {
        // With their times, or what was compiled is compiled again in every process.
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(wheel::tools(name)?).arg(packages(&stage, name));
        step::output("copy Python packages", &mut copy)?;
    }
    let mut readable = Command::new("chmod");
    readable.args(["-R", "a+rX"]).arg(stage.path().join("packages"));
    step::output("let everybody read the packages", &mut readable)?;
    Ok(stage)
}

fn packages(stage: &Stage, name: &str) -> PathBuf {
    stage.path().join("packages").join(name)
}
