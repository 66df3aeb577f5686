//! A `pyro` process while it lives.

use std::{
    io::Write,
    process::{Child, ChildStdin, ChildStdout},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Outcome, Process, Signal, capture::Capture};

/// Longest wait for one line; emulated guests on busy hosts are slow.
const LINE_PATIENCE: Duration = Duration::from_secs(90);

/// A started process. Killed when dropped before its end.
#[must_use = "a process must be waited for with `finish`"]
#[derive(Debug)]
pub struct Running {
    child: Child,
    process: Process,
    said: String,
    stdin: Option<ChildStdin>,
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    began: Instant,
    patience: Duration,
    peak_mib: Arc<AtomicU64>,
}

impl Running {
    pub(crate) fn new(mut child: Child, said: String, patience: Duration, unread: bool) -> Self {
        let process = Process::find(child.id()).expect("a child that has not been waited for");
        let peak_mib = Arc::new(AtomicU64::new(0));
        let reads = if unread { None } else { child.stdout.take() };
        let stdout = reads.map(|stream| {
            let watched = Process::find(child.id());
            let peak = Arc::clone(&peak_mib);
            Capture::of(stream, move |_total| {
                if let Some(mib) = watched.as_ref().and_then(Process::peak_resident_mib) {
                    peak.fetch_max(mib, Ordering::Relaxed);
                }
            })
        });
        let stderr = child.stderr.take().map(|stream| Capture::of(stream, |_total| {}));
        let stdin = child.stdin.take();
        Self { child, process, said, stdin, stdout, stderr, began: Instant::now(), patience, peak_mib }
    }

    /// The next line of standard output, as it comes.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stdout.as_ref().expect("a captured stdout").line(LINE_PATIENCE) {
            Some(line) => String::from_utf8_lossy(&line).into_owned(),
            None => panic!("`{}` printed no further line; its stderr: {}", self.said, self.errors()),
        }
    }

    /// Waits for a line of standard error that contains `part`, and returns it.
    #[track_caller]
    pub fn error_line_with(&mut self, part: &str) -> String {
        let stderr = self.stderr.as_ref().expect("a captured stderr");
        while let Some(line) = stderr.line(LINE_PATIENCE) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(part) {
                return line;
            }
        }
        panic!("`{}` printed no line with {part:?} to stderr: {}", self.said, self.errors())
    }

    /// Writes to its standard input.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("a standard input that is open");
        stdin.write_all(bytes.as_ref()).and_then(|()| stdin.flush()).expect("write to its standard input");
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The reading end of its standard output, for a process started [`unread`](crate::Invocation::unread).
    #[track_caller]
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("a standard output that nobody reads")
    }

    /// Waits for its end; a process that takes too long is killed and fails the test.
    #[track_caller]
    pub fn finish(mut self) -> Outcome {
        let left = self.patience.saturating_sub(self.began.elapsed());
        let ended = self.process.ends_within(left);
        if !ended {
            self.process.signal(Signal::KILL);
        }
        let took = self.began.elapsed();
        let status = self.child.wait().expect("wait for a child");
        let drained = |capture: &Option<Capture>| {
            let Some(capture) = capture else { return (Vec::new(), 0) };
            // A daemon that inherited the stream would keep it open: that is a fault to be seen, not waited for.
            assert!(
                capture.ends_within(Duration::from_secs(10)),
                "someone keeps the output of an ended process open"
            );
            (capture.bytes(), capture.total())
        };
        let (stdout, stdout_total) = drained(&self.stdout);
        let (stderr, _) = drained(&self.stderr);
        let outcome = Outcome {
            said: self.said.clone(),
            status,
            stdout,
            stdout_total,
            stderr,
            took,
            peak_resident_mib: self.peak_mib.load(Ordering::Relaxed),
        };
        assert!(ended, "killed after {} s of patience: {outcome}", self.patience.as_secs());
        outcome
    }

    fn errors(&self) -> String {
        self.stderr
            .as_ref()
            .map(|stderr| String::from_utf8_lossy(&stderr.bytes()).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.process.is_alive() {
            self.process.signal(Signal::KILL);
        }
        // It has ended or was just killed; only its record is left to be taken.
        drop(self.child.wait());
    }
}
