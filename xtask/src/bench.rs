//! `bench`: measures a release build and compares with `benches/budgets.toml`; the comparing is done by the
//! package `pyro-benches`, which gets all arguments.

use anyhow::Result;

use crate::{arguments::Arguments, build, checkout, prepare, step};

/// Entry of the task.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    prepare::run()?;
    let built = build::build("release")?;
    let mut cargo = checkout::cargo();
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "pyro-benches", "--"]);
    cargo.args(arguments.rest());
    cargo.env("PYRO_TEST_PYRO", built.pyro).env("PYRO_TEST_GUEST", built.guest);
    step::run("measure", &mut cargo)?;
    Ok(())
}
