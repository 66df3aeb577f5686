//! A `pyro` command line before it is started.

use std::{
    ffi::{OsStr, OsString},
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{Home, Outcome, Running, Settings};

/// Where standard input comes from.
#[derive(Debug)]
enum Input {
    Empty,
    Bytes(Vec<u8>),
    Open,
}

/// One command line: `pyro WORDS FLAGS -- COMMAND`, in a clean environment.
#[must_use = "an invocation does nothing until `output` or `start`"]
#[derive(Debug)]
pub struct Invocation {
    wrapper: Vec<OsString>,
    words: Vec<OsString>,
    flags: Vec<OsString>,
    command: Option<Vec<OsString>>,
    variables: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    stdin: Input,
    stdout: Option<Stdio>,
    unread: bool,
    patience: Duration,
}

impl Invocation {
    pub(crate) fn new(home: &Home, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self {
            wrapper: Vec::new(),
            words: owned(words),
            flags: Vec::new(),
            command: None,
            variables: home.variables(),
            directory: None,
            stdin: Input::Empty,
            stdout: None,
            unread: false,
            patience: Duration::from_secs(120),
        }
    }

    /// Sets what comes after `--`.
    pub fn command(mut self, command: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command = Some(owned(command));
        self
    }

    /// Adds one flag or word before `--`.
    pub fn flag(mut self, flag: impl AsRef<OsStr>) -> Self {
        self.flags.push(flag.as_ref().to_owned());
        self
    }

    /// Adds `--json`.
    pub fn json(self) -> Self {
        self.flag("--json")
    }

    /// Adds `--timeout-seconds`.
    pub fn timeout_s(self, seconds: u64) -> Self {
        self.flag("--timeout-seconds").flag(seconds.to_string())
    }

    /// Sets a variable of the process.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Starts it in this directory instead of the test's own.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Feeds these bytes to standard input, then ends it.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Input::Bytes(bytes.into());
        self
    }

    /// Leaves standard input open for [`Running::write`].
    pub fn stdin_open(mut self) -> Self {
        self.stdin = Input::Open;
        self
    }

    /// Sends standard output there instead of to the harness.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// Leaves standard output unread, for [`Running::take_stdout`].
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Runs it by another program: `PROGRAM ARGS… pyro …`.
    pub fn under(mut self, wrapper: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.wrapper = owned(wrapper);
        self
    }

    /// Waits so long for its end before the test fails.
    pub fn patience_s(mut self, seconds: u64) -> Self {
        self.patience = Duration::from_secs(seconds);
        self
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub fn output(self) -> Outcome {
        self.start().finish()
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Running {
        let mut line = self.wrapper;
        line.push(Settings::get().pyro.clone().into());
        line.extend(self.words);
        line.extend(self.flags);
        if let Some(command) = self.command {
            line.push("--".into());
            line.extend(command);
        }
        let said = line.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");

        let mut process = Command::new(&line[0]);
        process.args(&line[1..]).env_clear().envs(self.variables);
        if let Some(directory) = self.directory {
            process.current_dir(directory);
        }
        process.stdin(if matches!(self.stdin, Input::Empty) { Stdio::null() } else { Stdio::piped() });
        process.stdout(self.stdout.unwrap_or_else(Stdio::piped)).stderr(Stdio::piped());
        let mut child = process.spawn().unwrap_or_else(|error| panic!("cannot start `{said}`: {error}"));

        if let Input::Bytes(bytes) = self.stdin {
            let mut stdin = child.stdin.take().expect("a piped standard input");
            // A process that wants no more closes its end: no concern of ours.
            thread::spawn(move || drop(stdin.write_all(&bytes)));
        }
        Running::new(child, said, self.patience, self.unread)
    }
}

fn owned(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<OsString> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}
