//! `check`: everything that can be said of the sources without running a machine.

use anyhow::{Result, bail};

use crate::{
    arguments::Arguments, build::Programs, checkout, dependencies, generate, licences, picture, step, tidy,
};

/// Entry of the task. All parts run; the failed ones are named at the end.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let programs = Programs::named(&mut arguments)?;
    arguments.finish()?;
    let mut failed = Vec::new();
    let mut part = |name: &str, outcome: Result<()>| {
        if let Err(error) = outcome {
            eprintln!("{name}: {error:#}");
            failed.push(name.to_owned());
        }
    };
    part("tidy", tidy::run());
    let metadata = dependencies::metadata()?;
    part("dependencies", dependencies::check(&metadata));
    part("licences", licences::check(&metadata));
    part("formatting", command("cargo fmt --check", &["fmt", "--all", "--", "--check"]));
    part(
        "lints",
        command(
            "cargo clippy",
            &["clippy", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
        ),
    );
    part("pictures", picture::verify());
    part("reference", generate::verify(&programs));
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn command(what: &str, arguments: &[&str]) -> Result<()> {
    step::run(what, checkout::cargo().args(arguments)).map(drop)
}
