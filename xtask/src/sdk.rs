//! `sdk`: the Python SDK: its types, its tests on the host, and its tests against real machines and as an installed wheel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{
    account::Account,
    arguments::Arguments,
    build::Built,
    checkout,
    stage::Stage,
    step,
    tally::Tally,
    test::{Summary, run_alone},
    wheel,
};

/// Entry of the task.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    run_alone(arguments, test)
}

/// All of it, part by part. The wheel takes a build of its own, so it is left out when somebody asks for single tests.
pub(crate) fn test(
    summary: &mut Summary,
    account: &Account,
    built: &Built,
    filters: &[String],
) -> Result<()> {
    if filters.is_empty() {
        check_types()?;
    }
    summary.part("Python SDK on the host", || host(filters))?;
    let package = Package::staged(built)?;
    summary
        .part(&format!("Python SDK on machines as `{}`", account.name), || package.live(account, filters))?;
    if filters.is_empty() {
        let wheel = match &built.wheel {
            Some(wheel) => wheel.clone(),
            // What is tested is the package and not the optimiser, which would take as long as everything else.
            None => wheel::build("dev")?.wheel.context("a build for the wheel without a wheel")?,
        };
        summary.part(&format!("wheel as `{}`", account.name), || package.wheel(account, &wheel))?;
    }
    Ok(())
}

/// Has every type checked, of the package and of its tests.
fn check_types() -> Result<()> {
    let tools = wheel::tools("check")?;
    let mut mypy = python();
    mypy.args(["-m", "mypy", "--cache-dir"]).arg(checkout::target().join("python/mypy-cache"));
    mypy.env("PYTHONPATH", tools);
    step::run("mypy --strict", &mut mypy).map(drop)
}

/// Tests that need no machine.
fn host(filters: &[String]) -> Result<Tally> {
    let mut tests = python();
    tests.args(["run_tests.py", "tests"]).args(filters);
    Tally::of(&mut tests)
}

fn python() -> std::process::Command {
    let mut python = std::process::Command::new("python3");
    python.current_dir(checkout::root().join("sdks/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// A copy of the package and the programs that any account can read.
pub(crate) struct Package {
    pub(crate) stage: Stage,
    pyro: PathBuf,
    guest: PathBuf,
}

impl Package {
    pub(crate) fn staged(built: &Built) -> Result<Self> {
        let stage = Stage::new()?;
        stage.part(Path::new("sdks/python"), Path::new(""))?;
        let (pyro, guest) = (stage.add(&built.pyro)?, stage.add(&built.guest)?);
        Ok(Self { stage, pyro, guest })
    }

    fn live(&self, account: &Account, filters: &[String]) -> Result<Tally> {
        let mut tests = self.on_machines(account, "live")?;
        Tally::of(tests.args(filters))
    }

    /// Tests of a directory that need machines.
    pub(crate) fn on_machines(&self, account: &Account, directory: &str) -> Result<std::process::Command> {
        let mut tests = self.tests(account, directory)?;
        tests.env("PYRO_TEST_PYRO", &self.pyro).env("PYRO_TEST_GUEST", &self.guest);
        Ok(tests)
    }

    fn wheel(&self, account: &Account, wheel: &Path) -> Result<Tally> {
        let name = wheel.file_name().context("a wheel without a name")?;
        let staged = self.stage.copy(wheel, Path::new(name))?;
        let mut tests = self.tests(account, "installed")?;
        tests.env("PYRO_TEST_WHEEL", staged);
        Tally::of(&mut tests)
    }

    fn tests(&self, account: &Account, directory: &str) -> Result<std::process::Command> {
        // The interpreter that this account finds.
        let mut tests = account.test_command(Path::new("python3"))?;
        tests.arg(self.stage.path().join("run_tests.py")).arg(directory);
        tests.env("PYTHONDONTWRITEBYTECODE", "1").env("PYRO_TEST_HOME", account.test_home());
        Ok(tests)
    }
}
