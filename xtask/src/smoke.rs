//! `smoke`: the use cases as their pages have them, through the command line, MCP and the SDK, and the examples of clients.
//!
//! Runs under an unprivileged account from copies, like the guest-backed suite; see `tests/smokes`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    account::Account,
    arguments::Arguments,
    build::Built,
    stage::Stage,
    tally::Tally,
    test::{Summary, run_alone},
    wheel,
};

/// What of the repository the smokes read.
const PARTS: &[&str] = &["docs/use-cases", "examples", "sdks/python", "tests/smokes"];

/// Lists of packages that they are written with.
const PACKAGES: &[&str] = &["mcp", "examples"];

/// Entry of the task.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    run_alone(arguments, test)
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
    // The interpreter that this account finds.
    let mut smokes = account.test_command(Path::new("python3"))?;
    smokes.arg(stage.path().join("tests/smokes/run.py")).args(filters);
    smokes.env("PYRO_TEST_PYRO", pyro).env("PYRO_TEST_GUEST", guest);
    smokes.env("PYRO_TEST_HOME", account.test_home()).env("PYTHONDONTWRITEBYTECODE", "1");
    smokes.env(
        "PYTHONPATH",
        std::env::join_paths(PACKAGES.iter().map(|name| stage.path().join(packages(name))))?,
    );
    summary.part(&format!("smokes as `{}`", account.name), || Tally::of(&mut smokes))
}

/// Copies that any account can read, laid out as in the repository.
fn staged() -> Result<Stage> {
    let stage = Stage::new()?;
    for part in PARTS {
        stage.part(Path::new(part), Path::new(part))?;
    }
    for name in PACKAGES {
        stage.tree(&wheel::tools(name)?, &packages(name))?;
    }
    Ok(stage)
}

/// Where a list of packages is, below the stage.
fn packages(name: &str) -> PathBuf {
    Path::new("packages").join(name)
}
