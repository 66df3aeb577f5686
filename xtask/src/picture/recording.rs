//! What a session printed and when, as an asciicast of version 2: a line about it, then a line for each event.

use std::{
    io::Read,
    path::Path,
    process::{Command as Process, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Columns of the terminal that is shown.
pub(super) const COLUMNS: usize = 100;

/// Before a command.
const PROMPT: &str = "$ ";

/// One line of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    pub(super) line: &'a str,
    pub(super) is_shown: bool,
}

impl Command<'_> {
    fn shown(&self) -> String {
        format!("{PROMPT}{}\r\n", self.line)
    }
}

/// A session that was run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Recording {
    pub(super) title: String,
    pub(super) events: Vec<Event>,
}

/// Something that the terminal got.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Event {
    /// Since the session began.
    pub(super) seconds: f64,
    pub(super) text: String,
}

impl Recording {
    /// Reads an asciicast; only output counts.
    pub(super) fn read(cast: &str) -> Result<Self> {
        let mut lines = cast.lines();
        let header: Value = serde_json::from_str(lines.next().context("an empty recording")?)?;
        ensure!(header["version"] == 2, "a recording of another version");
        let title = header["title"].as_str().unwrap_or_default().to_owned();
        let mut events = Vec::new();
        for line in lines {
            let (seconds, kind, text): (f64, String, String) = serde_json::from_str(line)?;
            if kind == "o" {
                events.push(Event { seconds, text });
            }
        }
        Ok(Self { title, events })
    }

    /// Writes an asciicast.
    pub(super) fn write(&self) -> String {
        let rows = self.text().lines().count();
        let header = json!({"version": 2, "width": COLUMNS, "height": rows, "title": self.title});
        let events = self.events.iter().map(|event| {
            let milliseconds = (event.seconds * 1000.0).round() / 1000.0;
            json!([milliseconds, "o", event.text]).to_string()
        });
        [header.to_string()].into_iter().chain(events).map(|line| line + "\n").collect()
    }

    /// Whether it shows this title and these commands.
    pub(super) fn is_of(&self, (title, commands): (&str, Vec<Command<'_>>)) -> bool {
        let wanted = commands.iter().filter(|command| command.is_shown).map(Command::shown);
        let shown = self.events.iter().filter(|event| event.text.starts_with(PROMPT));
        self.title == title && wanted.eq(shown.map(|event| event.text.clone()))
    }

    /// Everything that was printed.
    pub(super) fn text(&self) -> String {
        self.events.iter().map(|event| event.text.as_str()).collect::<String>().replace("\r\n", "\n")
    }
}

/// Runs sessions.
pub(super) struct Recorder<'a> {
    pub(super) pyro: &'a Path,
    pub(super) home: &'a Path,
    /// Where the session's commands run.
    pub(super) place: &'a Path,
}

impl Recorder<'_> {
    /// Runs the commands one after the other, as a shell would; the daemon that they start is ended.
    pub(super) fn record(&self, title: &str, commands: &[Command<'_>]) -> Result<Recording> {
        let recorded = self.run_all(title, commands);
        let ended = self.end_daemon();
        let recording = recorded?;
        ended?;
        Ok(recording)
    }

    /// And waits until it has ended: before, it still writes where it lives.
    fn end_daemon(&self) -> Result<()> {
        let (status, _) = self.shell("pyro daemon status --json")?;
        let status: Value = serde_json::from_str(&status).context("read the state of the daemon")?;
        let line = format!("pyro daemon stop && tail --pid={} -f /dev/null", status["pid"]);
        let (told, has_worked) = self.shell(&line)?;
        ensure!(has_worked, "the daemon of the recording stays: {told}");
        Ok(())
    }

    fn run_all(&self, title: &str, commands: &[Command<'_>]) -> Result<Recording> {
        let mut events = Vec::new();
        // Time that is not shown does not pass.
        let mut seconds = 0.0;
        for command in commands {
            eprintln!("==> {}", command.line);
            let begin = Instant::now();
            let (printed, has_worked) = self.shell(command.line)?;
            // One that is shown may fail: that may be what is to be shown.
            ensure!(has_worked || command.is_shown, "`{}` failed: {printed}", command.line);
            if command.is_shown {
                events.push(Event { seconds, text: command.shown() });
                seconds += begin.elapsed().as_secs_f64();
                events.push(Event { seconds, text: printed.replace('\n', "\r\n") });
            }
        }
        Ok(Recording { title: title.to_owned(), events })
    }

    /// What a command prints, on both its outputs, and whether it succeeds.
    fn shell(&self, line: &str) -> Result<(String, bool)> {
        let programs = self.pyro.parent().context("a program without a directory")?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let (mut reader, writer) = std::io::pipe().context("make a pipe")?;
        let mut shell = Process::new("sh");
        shell.args(["-c", line]).current_dir(self.place).stdin(Stdio::null());
        shell.env("PATH", path).env("PYRO_HOME", self.home).env("COLUMNS", COLUMNS.to_string());
        shell.stdout(writer.try_clone().context("share a pipe")?).stderr(writer);
        let mut child = shell.spawn().with_context(|| format!("run `{line}`"))?;
        // Its ends of the pipe go with it.
        drop(shell);
        let mut printed = String::new();
        reader.read_to_string(&mut printed).with_context(|| format!("read what `{line}` prints"))?;
        let status = child.wait().with_context(|| format!("wait for `{line}`"))?;
        // Where it was recorded is nobody's business.
        Ok((printed.replace(&self.place.display().to_string(), "~"), status.success()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let recording = Recording {
            title: "A walk".into(),
            events: vec![
                Event { seconds: 0.0, text: "$ a\r\n".into() },
                Event { seconds: 1.25, text: "\"b\"\r\nc\r\n".into() },
            ],
        };
        let written = recording.write();
        assert!(written.starts_with("{") && written.contains("\"height\":3"), "{written}");
        assert_eq!(Recording::read(&written).unwrap(), recording);
        assert_eq!(recording.text(), "$ a\n\"b\"\nc\n");
        assert!(Recording::read("").is_err() && Recording::read("{\"version\":1}").is_err());
    }
}
