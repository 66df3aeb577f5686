//! `build`: the host program and, beside it, the static guest agent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{arguments::Arguments, checkout, step};

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The host program.
    pub(crate) pyro: PathBuf,
    /// The guest agent, beside it.
    pub(crate) guest: PathBuf,
}

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let profile = profile(&mut arguments)?;
    arguments.finish()?;
    let built = build(&profile)?;
    println!("{}", built.pyro.display());
    Ok(())
}

/// Takes `--release` or `--profile P`; `dev` without either.
pub(crate) fn profile(arguments: &mut Arguments) -> Result<String> {
    let named = arguments.option("--profile")?;
    let release = arguments.flag("--release");
    ensure!(!(release && named.is_some()), "`--release` and `--profile` exclude each other");
    Ok(named.unwrap_or_else(|| if release { "release" } else { "dev" }.to_owned()))
}

/// Builds both and puts the agent where `pyro` looks for it: beside its own executable.
pub(crate) fn build(profile: &str) -> Result<Built> {
    let mut pyro = checkout::cargo();
    pyro.args(["build", "--locked", "--package", "pyro", "--profile", profile]);
    step::run(&format!("build pyro ({profile})"), &mut pyro)?;
    let agent = guest()?;

    let directory = checkout::binaries(profile);
    let built = Built { pyro: directory.join("pyro"), guest: directory.join("pyro-guest") };
    put(&agent, &built.guest)?;
    Ok(built)
}

/// Builds the static guest agent and says where it is.
pub(crate) fn guest() -> Result<PathBuf> {
    // Without `--target` the flag would also reach build scripts and proc macros, which cannot be static.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut guest = checkout::cargo();
    guest.args([
        "build",
        "--locked",
        "--package",
        "pyro-guest",
        "--features",
        "agent",
        "--profile",
        "guest",
        "--target",
        &triple,
    ]);
    // Packed relocations save 0.2 MiB in every machine.
    let flags = "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs";
    guest.env("RUSTFLAGS", flags);
    step::run("build the guest agent (static)", &mut guest)?;

    Ok(checkout::target().join(&triple).join("guest/pyro-guest"))
}

/// Puts the agent in its place by rename, so that a `pyro` that runs meanwhile finds the old one or the new one, whole.
pub(crate) fn put(agent: &Path, place: &Path) -> Result<()> {
    let fresh = place.with_file_name(format!(".pyro-guest.{}", std::process::id()));
    fs::copy(agent, &fresh)
        .and_then(|_bytes| fs::rename(&fresh, place))
        .with_context(|| format!("put {} at {}", agent.display(), place.display()))
}
