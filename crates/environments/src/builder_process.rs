//! Runs the program that builds a root file system, and ends it with all its descendants.
//!
//! A small shell watches over it. Its standard input is a pipe that only this process holds: when the pipe
//! closes, because the caller cancels or because this process is killed, the shell sends SIGTERM to the whole
//! process group, so that the builder takes down its mounts and files, and SIGKILL thirty seconds later.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Cancellation, Error, Result};

/// The guard keeps standard error open, so its end is read only after the builder has gone; the watching shell
/// itself gives it up, or its own "Terminated" would kill it by SIGPIPE once nobody reads.
const WATCH_OVER: &str = r#"
exec 3<&0 </dev/null
ended=
trap 'ended=1' TERM
"$@" 3<&- & worker=$!
( trap '' TERM; read -r _ <&3; kill -TERM 0; sleep 30; kill -KILL 0 ) & guard=$!
exec 2>/dev/null
wait "$worker"; status=$?
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; status=$?; done
if [ -n "$ended" ]; then kill -KILL 0; fi
kill -KILL "$guard"
exit "$status"
"#;

/// How often a silent builder is looked at.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// Kept of what the builder printed.
const LOG_LINES: usize = 400;

/// What the builder did.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    /// Its last lines.
    pub(crate) log: Vec<String>,
}

/// What is heard of a running builder.
pub(crate) enum Event<'a> {
    Line(&'a str),
    Tick,
}

/// Runs `arguments` (the first is the program) with just this `environment` to its end.
pub(crate) fn run(
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
    output: &File,
    cancel: &Cancellation,
    heard: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let shell = Path::new("/bin/sh");
    let mut child = Command::new(shell)
        .args(["-c", WATCH_OVER, "pyro-build"])
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(output.try_clone().map_err(Error::io("duplicate", shell))?)
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(Error::io("start", shell))?;
    let mut log = Vec::new();
    let followed = follow(&mut child, cancel, &mut log, heard);
    // Closes the pipe; the shell ends whatever still runs.
    drop(child.stdin.take());
    let status = child.wait().map_err(Error::io("wait for", shell))?;
    followed.map_err(Error::io("read the output of", shell))?;
    cancel.check()?;
    Ok(Outcome { status, log })
}

/// Reads lines until the builder has closed its standard error or the caller cancels.
fn follow(
    child: &mut Child,
    cancel: &Cancellation,
    log: &mut Vec<String>,
    heard: &mut dyn FnMut(Event<'_>),
) -> io::Result<()> {
    let Some(mut stderr) = child.stderr.take() else { return Ok(()) };
    let stop = cancel.as_fd();
    let mut pending = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let mut fds = [PollFd::new(&stderr, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
        let ready = match poll(&mut fds, Some(&TICK)) {
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        if !fds[1].revents().is_empty() {
            return Ok(());
        }
        if ready == 0 {
            heard(Event::Tick);
            continue;
        }
        let length = stderr.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        pending.extend_from_slice(&chunk[..length]);
        while let Some(end) = pending.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = String::from_utf8_lossy(&pending[..end]).trim_end().to_owned();
            pending.drain(..=end);
            heard(Event::Line(&line));
            if log.len() == LOG_LINES {
                log.remove(0);
            }
            log.push(line);
        }
        // A builder that prints without line ends is not given our memory.
        if pending.len() > 64 * 1024 {
            pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<OsString> {
        ["/bin/sh", "-c", script].map(OsString::from).to_vec()
    }

    fn environment() -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), "/usr/bin:/bin".into())]
    }

    #[test]
    fn gives_lines_output_and_status() {
        let output = tempfile::tempfile().unwrap();
        let mut lines = Vec::new();
        let outcome = run(
            &sh("echo out; echo one >&2; echo two >&2; exit 7"),
            &environment(),
            &output,
            &Cancellation::new().unwrap(),
            &mut |event| {
                if let Event::Line(line) = event {
                    lines.push(line.to_owned());
                }
            },
        )
        .unwrap();
        assert_eq!(outcome.status.code(), Some(7));
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(outcome.log, lines);
        assert_eq!(output.metadata().unwrap().len(), 4);
    }

    #[test]
    fn cancelling_ends_every_descendant() {
        let output = tempfile::tempfile().unwrap();
        let cancel = Cancellation::new().unwrap();
        // The second writer of the pipe would keep it open for ten minutes.
        let script = "sleep 600 & echo started >&2; wait";
        let ended = run(&sh(script), &environment(), &output, &cancel.clone(), &mut |event| {
            if matches!(event, Event::Line("started")) {
                cancel.cancel();
            }
        });
        assert!(matches!(ended, Err(Error::Cancelled)));
        // All that held the output is gone, so its lock is free.
        rustix::fs::flock(&output, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
