//! Measurements of speed and size, against a floor taken in the same run.
//!
//! `cargo xtask bench [--json] [--rounds N] [--only GROUP]` builds what is measured and runs this. A home of its own is
//! made and removed; environments are those of the person who runs it. Exit status 1 means that a bound of `budgets.toml`
//! is exceeded.

mod arguments;
mod chat;
mod cli;
mod floor;
mod group;
mod machine;
mod measure;
mod report;
mod snapshots;
mod statistics;
mod workspaces;

use std::{io::Write, process::ExitCode, sync::Arc};

use anyhow::Context;
use arguments::Arguments;
use cli::Pyro;
use floor::Floor;
use group::Group;
use pyro_engine::{
    BootFiles, Engine, Isolation,
    acceleration::{self, Acceleration},
    launch::Launcher,
    qemu::{EngineConfig, QemuEngine},
};
use pyro_environments::{Environments, EnvironmentsConfig};
use report::Report;

const BUDGETS: &str = include_str!("../budgets.toml");

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut report = runtime.block_on(run(&arguments))?;
    report.judge(BUDGETS, arguments.only.is_some())?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.to_markdown())?;
    }
    Ok(if report.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let home = tempfile::Builder::new().prefix("pyro-bench-").tempdir()?;
    let scratch = home.path().join("floor");
    std::fs::create_dir(&scratch)?;
    let pyro = Pyro::new(&arguments.pyro, home.path(), &arguments.cache);
    let engine = engine(arguments).await?;
    let mut report = Report { machine: machine::facts(engine.as_ref()), rows: Vec::new() };

    // The environment is not what is measured here; it is made now if it is not there.
    tokio::task::block_in_place(|| pyro.timed(&["env", "pull", "debian:12"]))?;
    let boot = boot_files(arguments)?;
    tokio::task::block_in_place(|| measure::cold(&pyro, &mut report))?;
    let mut floor = Floor::new(engine, boot, &home.path().join("data/templates"), &scratch)?;
    let (rounds, has) = (arguments.rounds, |group: Group| group.is_part_of(arguments.only));
    if has(Group::Run) {
        measure::warm(&pyro, &mut floor, rounds, &mut report).await?;
        tokio::task::block_in_place(|| measure::version(&pyro, rounds, &mut report))?;
        tokio::task::block_in_place(|| measure::burst(&pyro, &mut report))?;
    }
    if has(Group::Exec) {
        let mut live = floor.restore().await?;
        measure::exec(&mut live, rounds, &mut report).await?;
        measure::port(&mut live, &mut report).await?;
        live.end().await?;
    }
    if has(Group::Machines) {
        measure::sizes(&mut floor, &arguments.agent, &mut report).await?;
        measure::idle_clone(&mut floor, &mut report).await?;
        measure::first_steps(&mut floor, rounds, &mut report).await?;
    }
    if has(Group::Workspaces) {
        workspaces::create(&pyro, &mut floor, &scratch, rounds, &mut report).await?;
        tokio::task::block_in_place(|| workspaces::all(&pyro, &scratch, rounds, &mut report))?;
    }
    if has(Group::Snapshots) {
        snapshots::all(&pyro, &mut floor, rounds, &mut report).await?;
    }
    if has(Group::Chat) {
        tokio::task::block_in_place(|| chat::all(&pyro, &scratch, &arguments.sdk, rounds, &mut report))?;
    }
    Ok(report)
}

/// The engine as the daemon makes it, confinement included.
async fn engine(arguments: &Arguments) -> anyhow::Result<Arc<dyn Engine>> {
    let launcher = Launcher { program: arguments.pyro.clone() };
    let cache = tempfile::tempdir()?;
    let verdict = acceleration::measure(&launcher, &cache.path().join("acceleration.json")).await?;
    let accelerates = matches!(verdict, Acceleration::Works { .. });
    let config = EngineConfig {
        qemu: arguments.qemu.clone(),
        launcher,
        isolation: if accelerates { Isolation::Kvm } else { Isolation::Emulated },
        user_ids: Some(2_100_000..2_101_000),
        largest_file_bytes: 64 << 30,
    };
    Ok(Arc::new(QemuEngine::new(config).await?))
}

fn boot_files(arguments: &Arguments) -> anyhow::Result<BootFiles> {
    let environments = Environments::open(EnvironmentsConfig::new(&arguments.cache))?;
    let environment = environments.installed("debian:12")?.context("debian:12 is not installed")?;
    let files = environments.boot_files(&environment, &arguments.agent)?;
    Ok(BootFiles {
        vmlinux: files.vmlinux,
        initramfs: files.initramfs,
        root_image: files.root_image,
        kernel_arguments: files.kernel_arguments,
    })
}
