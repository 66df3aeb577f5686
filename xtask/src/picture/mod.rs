//! `pictures`: the README's pictures, drawn from recordings of real sessions.
//!
//! ```text
//! docs/pictures/NAME.session ──--record──▶ NAME.cast ──always──▶ NAME.svg
//! (commands, one a line)      (asciicast 2: what was printed)     (what the README shows)
//! ```
//!
//! Recording needs machines and is asked for; drawing needs nothing, so `check` draws again and compares.

mod recording;
mod svg;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{arguments::Arguments, build::Programs, checkout, prepare, stage::Stage};
use recording::Recording;

/// Directory of the sessions, from the root of the repository.
const PICTURES: &str = "docs/pictures";
/// The project that sessions work on, from the root of the repository.
const PROJECT: &str = "examples/projects/python-package";
/// Where a session's commands run, below a directory that goes.
const WORK: &str = "work";
/// In there.
const PROJECT_NAME: &str = "project";

/// Entry of the task.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let records = arguments.flag("--record");
    let programs = Programs::named(&mut arguments)?;
    arguments.finish()?;
    if records {
        record(&programs)?;
    }
    for (place, drawn) in drawings()? {
        fs::write(&place, drawn).with_context(|| format!("write {}", place.display()))?;
    }
    Ok(())
}

/// Fails when a committed picture is not what its recording draws.
pub(crate) fn verify() -> Result<()> {
    for (place, drawn) in drawings()? {
        if fs::read_to_string(&place).unwrap_or_default() != drawn {
            bail!("{} is out of date; run `cargo xtask pictures`", place.display());
        }
    }
    Ok(())
}

/// Every picture: its file, and what belongs there.
fn drawings() -> Result<Vec<(PathBuf, String)>> {
    sessions()?
        .into_iter()
        .map(|session| {
            let cast = session.with_extension("cast");
            let text = fs::read_to_string(&cast).with_context(|| format!("read {}", cast.display()))?;
            let recording = Recording::read(&text).with_context(|| format!("read {}", cast.display()))?;
            let script =
                fs::read_to_string(&session).with_context(|| format!("read {}", session.display()))?;
            ensure!(
                recording.is_of(parse(&script)),
                "{} was recorded of another session; run `cargo xtask pictures --record`",
                cast.display()
            );
            Ok((session.with_extension("svg"), svg::draw(&recording)))
        })
        .collect()
}

fn sessions() -> Result<Vec<PathBuf>> {
    let directory = checkout::root().join(PICTURES);
    let entries = fs::read_dir(&directory).with_context(|| format!("look into {}", directory.display()))?;
    let mut sessions: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new("session")))
        .collect();
    sessions.sort();
    Ok(sessions)
}

/// Runs every session, each in a directory and with a home of its own. Environments are made once, before.
fn record(programs: &Programs) -> Result<()> {
    prepare::run()?;
    let built = programs.build()?;
    let scratch = Stage::new()?;
    for session in sessions()? {
        let text = fs::read_to_string(&session).with_context(|| format!("read {}", session.display()))?;
        let (title, commands) = parse(&text);
        let place = scratch.path().join(WORK);
        scratch.part(Path::new(PROJECT), &Path::new(WORK).join(PROJECT_NAME))?;
        let recorder =
            recording::Recorder { pyro: &built.pyro, home: &scratch.path().join("home"), place: &place };
        let recording = recorder.record(title, &commands)?;
        let cast = session.with_extension("cast");
        fs::write(&cast, recording.write()).with_context(|| format!("write {}", cast.display()))?;
        fs::remove_dir_all(&place).with_context(|| format!("empty {}", place.display()))?;
    }
    Ok(())
}

/// The title of a session, its first line, and what it does. Lines that begin with `:` are done and not shown.
fn parse(session: &str) -> (&str, Vec<recording::Command<'_>>) {
    let mut lines = session.lines().filter(|line| !line.trim().is_empty());
    let title = lines.next().unwrap_or_default().trim_start_matches('#').trim();
    let commands = lines.map(|line| match line.strip_prefix(':') {
        Some(hidden) => recording::Command { line: hidden.trim(), is_shown: false },
        None => recording::Command { line, is_shown: true },
    });
    (title, commands.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_a_title_and_commands_some_of_which_are_not_shown() {
        let (title, commands) = parse("# A walk\n\npyro a\n: rm -f x\npyro b\n");
        assert_eq!(title, "A walk");
        let told: Vec<_> = commands.iter().map(|command| (command.line, command.is_shown)).collect();
        assert_eq!(told, [("pyro a", true), ("rm -f x", false), ("pyro b", true)]);
    }
}
