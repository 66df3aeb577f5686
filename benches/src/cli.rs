//! The product as its users meet it: the `pyro` binary, a process for each command.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

/// The binary under test, with a home of its own.
#[derive(Debug)]
pub(crate) struct Pyro {
    binary: PathBuf,
    home: PathBuf,
    cache: PathBuf,
}

impl Pyro {
    pub(crate) fn new(binary: &Path, home: &Path, cache: &Path) -> Self {
        Self { binary: binary.to_owned(), home: home.to_owned(), cache: cache.to_owned() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        self.at_home(command.args(arguments).stdin(Stdio::null()));
        command
    }

    /// Has a program find this binary and its home.
    pub(crate) fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("PYRO_BIN", &self.binary)
            .env("PYRO_HOME", &self.home)
            .env("PYRO_ENVIRONMENT_CACHE_DIR", &self.cache)
    }

    /// Runs to a successful end; how long that took, and what it printed.
    pub(crate) fn timed(&self, arguments: &[&str]) -> anyhow::Result<(Duration, Output)> {
        let begin = Instant::now();
        let output =
            self.command(arguments).output().with_context(|| format!("run {}", self.binary.display()))?;
        let taken = begin.elapsed();
        ensure!(
            output.status.success(),
            "pyro {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok((taken, output))
    }

    /// The process of a workspace's machine.
    pub(crate) fn machine_of(&self, workspace: &str) -> anyhow::Result<u64> {
        for machine in std::fs::read_dir(self.home.join("data/machines"))? {
            let machine = machine?.path();
            if std::fs::read_to_string(machine.join("workspace")).is_ok_and(|of| of == workspace) {
                let record: serde_json::Value =
                    serde_json::from_slice(&std::fs::read(machine.join("runtime.json"))?)?;
                return record["process"]["pid"].as_u64().context("a record without a process");
            }
        }
        anyhow::bail!("workspace {workspace} has no machine")
    }

    /// How long it takes to copy so many bytes of memory to a new file of the home's file system; median of 3.
    pub(crate) fn copied(&self, bytes: u64) -> anyhow::Result<Duration> {
        let path = self.home.join("copied");
        // As much as is copied, so that it comes from memory and not from a processor's cache.
        let memory = vec![0x5a_u8; usize::try_from(bytes)?];
        let mut taken = Vec::new();
        for _ in 0..3 {
            let begin = Instant::now();
            let mut file = std::fs::File::create(&path)?;
            for piece in memory.chunks(1 << 20) {
                std::io::Write::write_all(&mut file, piece)?;
            }
            taken.push(begin.elapsed());
            std::fs::remove_file(&path)?;
        }
        taken.sort();
        Ok(taken[1])
    }

    /// Starts `count` at once and waits for all; how long that took and how many failed.
    pub(crate) fn burst(&self, arguments: &[&str], count: usize) -> anyhow::Result<(Duration, usize)> {
        let begin = Instant::now();
        let children = (0..count)
            .map(|_| self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn())
            .collect::<Result<Vec<_>, _>>()?;
        let mut failed = 0;
        for mut child in children {
            failed += usize::from(!child.wait()?.success());
        }
        Ok((begin.elapsed(), failed))
    }
}

impl Drop for Pyro {
    fn drop(&mut self) {
        // The measurements are done; a daemon that is gone already is no failure.
        drop(self.command(&["daemon", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}
