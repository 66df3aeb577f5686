//! `build`: the host program and, beside it, the static guest agent.
//!
//! Tasks that try the programs take `--shipped` for those that the wheel carries: one build then serves the demo, the tests
//! and the wheel, and what is tried is what users get.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{arguments::Arguments, checkout, step, wheel};

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The host program.
    pub(crate) pyro: PathBuf,
    /// The guest agent, beside it.
    pub(crate) guest: PathBuf,
    /// The wheel that carries both, where they were built for it.
    pub(crate) wheel: Option<PathBuf>,
}

/// Programs that a task works with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Programs {
    /// Built for this host, in a profile.
    Profile(String),
    /// Those of the wheel, in the release profile.
    Shipped,
}

impl Programs {
    /// Takes `--shipped`, or what [`profile`] takes.
    pub(crate) fn named(arguments: &mut Arguments) -> Result<Self> {
        let shipped = arguments.flag("--shipped");
        let profile = profile(arguments)?;
        ensure!(
            !shipped || profile == "dev",
            "`--shipped` is always the release profile; leave `--release` and `--profile` out"
        );
        Ok(if shipped { Self::Shipped } else { Self::Profile(profile) })
    }

    /// Builds them.
    pub(crate) fn build(&self) -> Result<Built> {
        match self {
            Self::Profile(profile) => build(profile),
            Self::Shipped => wheel::build("release"),
        }
    }
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
    beside(&directory, &agent, None)
}

/// The programs in `directory`, once the agent is there too.
pub(crate) fn beside(directory: &Path, agent: &Path, wheel: Option<PathBuf>) -> Result<Built> {
    let built = Built { pyro: directory.join("pyro"), guest: directory.join("pyro-guest"), wheel };
    put(agent, &built.guest)?;
    Ok(built)
}

/// This machine's, as it is named to `--target`.
pub(crate) fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Builds the static guest agent and says where it is.
pub(crate) fn guest() -> Result<PathBuf> {
    // Without `--target` the flag would also reach build scripts and proc macros, which cannot be static.
    let triple = triple();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> Result<Programs> {
        Programs::named(&mut Arguments::new(line.split_whitespace().map(str::to_owned)))
    }

    #[test]
    fn shipped_programs_have_no_other_profile() {
        assert_eq!(named("").unwrap(), Programs::Profile("dev".to_owned()));
        assert_eq!(named("--release").unwrap(), Programs::Profile("release".to_owned()));
        assert_eq!(named("--shipped").unwrap(), Programs::Shipped);
        assert!(named("--shipped --profile bench").is_err());
    }
}
