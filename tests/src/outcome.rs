//! A `pyro` process that has ended, and what can be said of it.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use serde_json::Value;

/// How it ended and what it printed. The assertions return it, so that they chain.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command line, for failures.
    pub said: String,
    /// Its end.
    pub status: ExitStatus,
    /// What it printed to standard output.
    pub stdout: Vec<u8>,
    /// Bytes it printed to standard output, also those the harness did not keep.
    pub stdout_total: u64,
    /// What it printed to standard error.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub took: Duration,
    /// Most resident memory seen while it printed, MiB.
    pub peak_resident_mib: u64,
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Lines of standard output.
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Exit status as a shell sees it: 128 + n after a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit status of {self}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Asserts that standard output is exactly this.
    #[track_caller]
    pub fn prints(self, expected: impl AsRef<[u8]>) -> Self {
        let expected = expected.as_ref();
        assert!(
            self.stdout == expected,
            "standard output is not {:?} but that of {self}",
            String::from_utf8_lossy(&expected[..expected.len().min(2000)])
        );
        self
    }

    /// Asserts that standard error contains this.
    #[track_caller]
    pub fn complains(self, about: &str) -> Self {
        assert!(self.errors().contains(about), "standard error does not mention {about:?}: {self}");
        self
    }

    /// Asserts that it took less than so many seconds.
    #[track_caller]
    pub fn within_s(self, seconds: u64) -> Self {
        assert!(self.took < Duration::from_secs(seconds), "took longer than {seconds} s: {self}");
        self
    }

    /// Standard output as one JSON object.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not one JSON value ({error}): {self}"));
        assert!(value.is_object(), "standard output is not a JSON object: {self}");
        value
    }

    /// The JSON object of a success.
    #[track_caller]
    pub fn result(&self) -> Value {
        let value = self.json();
        assert!(value["ok"] != Value::Bool(false), "not a result but a failure: {self}");
        value
    }

    /// The JSON object of a failure with this code.
    #[track_caller]
    pub fn fails_with(&self, code: &str) -> Value {
        assert_ne!(self.code(), 0, "a failure must not look like success: {self}");
        let value = self.json();
        assert_eq!(value["ok"], Value::Bool(false), "not a failure: {self}");
        assert_eq!(value["code"], code, "code of {self}");
        assert!(value["error"].as_str().is_some_and(|error| !error.is_empty()), "no `error`: {self}");
        assert!(value["retryable"].is_boolean(), "no `retryable`: {self}");
        assert!(value.get("hint").is_some(), "no `hint`: {self}");
        value
    }

    /// Asserts that no line looks like an unhandled failure of a program.
    #[track_caller]
    pub fn without_traceback(self) -> Self {
        for sign in ["panicked at", "Traceback", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!self.errors().contains(sign) && !self.text().contains(sign), "{sign:?} in {self}");
        }
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = |bytes: &[u8]| {
            let from = bytes.len().saturating_sub(4000);
            String::from_utf8_lossy(&bytes[from..]).into_owned()
        };
        write!(
            f,
            "`{}`\n{}, after {:.1} s\n--- stdout ({} bytes)\n{}\n--- stderr\n{}\n---",
            self.said,
            self.status,
            self.took.as_secs_f64(),
            self.stdout_total,
            end(&self.stdout),
            end(&self.stderr)
        )
    }
}
