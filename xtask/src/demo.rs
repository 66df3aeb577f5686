//! `demo`: from a fresh machine to git's version, printed by a virtual machine of its own; twice.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{account::Account, arguments::Arguments, build::Programs, prepare, stage::Stage, step};

const ENVIRONMENT: &str = "debian:12";
const COMMAND: [&str; 2] = ["git", "--version"];

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let fresh = arguments.flag("--fresh");
    let named = arguments.option("--account")?;
    let programs =
        if arguments.flag("--shipped") { Programs::Shipped } else { Programs::Profile("release".to_owned()) };
    arguments.finish()?;
    let account = match &named {
        Some(name) => Account::ordinary(Some(name))?,
        None => Account::current()?,
    };
    prepare::prepare_for(&account)?;
    let built = programs.build()?;

    let stage = Stage::new()?;
    stage.add(&built.guest)?;
    let staged = account != Account::current()?;
    let pyro = if staged { stage.add(&built.pyro)? } else { built.pyro };
    let home = fresh.then(|| FreshHome::make(&account)).transpose()?;
    let demo = Demo { account, pyro, home, staged };
    let told = demo.tell();
    let ended = demo.end();
    told.and(ended)
}

/// One showing.
struct Demo {
    account: Account,
    pyro: PathBuf,
    home: Option<FreshHome>,
    /// The program is a copy that goes away.
    staged: bool,
}

impl Demo {
    fn tell(&self) -> Result<()> {
        let pulled = step::run(
            &format!("pyro env pull {ENVIRONMENT}"),
            self.pyro()?.args(["env", "pull", ENVIRONMENT]),
        )?;
        let (first, second) = (self.main_job()?, self.main_job()?);
        println!();
        println!("environment ready in  {}", seconds(pulled));
        let cold = if self.home.is_some() {
            "cold: daemon started, template made"
        } else {
            "cold if no template was there"
        };
        println!("first run             {}  ({cold})", seconds(first));
        println!("second run            {}  (warm)", seconds(second));
        if self.home.is_some() {
            ensure!(second < first, "the warm run was not faster than the cold one");
        }
        Ok(())
    }

    /// Runs the main job once and shows what it printed.
    fn main_job(&self) -> Result<Duration> {
        eprintln!("==> pyro run {ENVIRONMENT} -- {}", COMMAND.join(" "));
        let begin = Instant::now();
        let output =
            step::output("the main job", self.pyro()?.args(["run", ENVIRONMENT, "--"]).args(COMMAND))?;
        let took = begin.elapsed();
        let said = String::from_utf8_lossy(&output);
        ensure!(said.starts_with("git version "), "the guest printed {said:?} instead of git's version");
        println!("{}", said.trim_end());
        Ok(took)
    }

    fn pyro(&self) -> Result<Command> {
        let mut command = self.account.command(&self.pyro)?;
        if let Some(home) = &self.home {
            command.env("PYRO_HOME", &home.0);
        }
        Ok(command)
    }

    /// Ends a daemon that would outlive its program or its home, and removes a fresh home.
    fn end(self) -> Result<()> {
        if self.staged || self.home.is_some() {
            step::run("pyro daemon stop", self.pyro()?.args(["daemon", "stop"]))?;
        }
        self.home.map_or(Ok(()), |home| home.remove(&self.account))
    }
}

/// A `PYRO_HOME` of its own, made and removed by the account that uses it.
struct FreshHome(PathBuf);

impl FreshHome {
    fn make(account: &Account) -> Result<Self> {
        let mut mktemp = account.command(Path::new("mktemp"))?;
        let path = step::output("make a fresh home", mktemp.args(["-d", "--tmpdir", "pyro-demo-XXXXXXXX"]))?;
        let path = String::from_utf8(path).context("the name of the fresh home")?;
        Ok(Self(PathBuf::from(path.trim_end())))
    }

    fn remove(self, account: &Account) -> Result<()> {
        let status = account.command(Path::new("rm"))?.arg("-rf").arg("--").arg(&self.0).status();
        if !status.context("run rm")?.success() {
            bail!("{} stays", self.0.display());
        }
        Ok(())
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:>7.2} s", duration.as_secs_f64())
}
