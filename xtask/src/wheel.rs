//! `wheel`: the Python package with the programs in it, for any distribution with a glibc that is old enough.
//!
//! maturin builds `pyro` and packs it with the module; the guest agent lies beside it as data, where `pyro` looks for it.
//! Zig is the linker, as it can link against a glibc that is older than this host's. Both are had from the package index.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{arguments::Arguments, build, checkout, installed, step};

/// The oldest glibc that the wheel runs with, as the tag of wheels has it.
const COMPATIBILITY: &str = "manylinux_2_28";

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let profile = build::profile(&mut arguments)?;
    arguments.finish()?;
    println!("{}", build(&profile)?.display());
    Ok(())
}

/// Builds the wheel and says where it is.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    let tools = tools("wheel")?;
    let package = checkout::root().join("sdks/python");
    let agent = package.join("data/data/libexec/pyro/pyro-guest");
    fs::create_dir_all(agent.parent().unwrap_or(&package))
        .context("make the directory of the wheel's data")?;
    build::put(&build::guest()?, &agent)?;

    let wheels = checkout::target().join("wheels").join(profile);
    if wheels.exists() {
        // Whatever is there is of an earlier build.
        fs::remove_dir_all(&wheels).with_context(|| format!("empty {}", wheels.display()))?;
    }
    let mut maturin = Command::new(tools.join("bin/maturin"));
    maturin.args(["build", "--zig", "--locked", "--profile", profile, "--compatibility", COMPATIBILITY]);
    maturin
        .args(["--target", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH), "--out"])
        .arg(&wheels);
    maturin.current_dir(&package).env("PYTHONPATH", &tools);
    step::run(&format!("build the wheel ({profile}, {COMPATIBILITY})"), &mut maturin)?;
    the_only_file(&wheels)
}

fn the_only_file(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("look into {}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    ensure!(files.len() == 1, "expected one wheel in {}, found {}", directory.display(), files.len());
    Ok(files.remove(0))
}

/// Installs the programs of `sdks/python/requirements/NAME.txt`, at the versions written there, and says where. What was
/// installed for the same list and interpreter is used again.
pub(crate) fn tools(name: &str) -> Result<PathBuf> {
    let list = checkout::root().join(format!("sdks/python/requirements/{name}.txt"));
    let versions = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    // What is compiled is for one version of the interpreter.
    let interpreter = step::output("python3 --version", Command::new("python3").arg("--version"))?;
    let wanted = format!("# {}{versions}", String::from_utf8_lossy(&interpreter));
    installed::once(checkout::target().join("python").join(name), &wanted, |directory| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]);
        pip.arg("--target").arg(directory).arg("--requirement").arg(&list);
        step::run(&format!("install the Python tools of {name}"), &mut pip).map(drop)
    })
}
