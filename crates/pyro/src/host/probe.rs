//! Starts a server exactly as an entry says, and asks it who it is.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};

/// The newest revision of the protocol that begins with a greeting.
const REVISION: &str = "2025-11-25";

/// Longest line that a server may answer with, bytes.
const LONGEST_LINE: u64 = 4 << 20;

/// How much of what a server complains about is told, bytes.
const LONGEST_COMPLAINT: u64 = 4096;

/// How long a server may take to end when nobody speaks to it any more.
const ENDING: Duration = Duration::from_secs(5);

/// The same for one that failed: it may be about to say why.
const FAILING: Duration = Duration::from_secs(1);

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// All of its variables.
    pub(crate) environment: BTreeMap<OsString, OsString>,
    pub(crate) directory: PathBuf,
}

/// What a server says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) protocol_version: String,
    /// How many tools it has.
    pub(crate) tools: usize,
    /// From its start until all was answered, milliseconds.
    pub(crate) milliseconds: u64,
}

/// Starts the server, greets it, asks for its tools and ends it, all within `patience`. An error is a sentence.
pub(crate) fn ask(start: &Start, patience: Duration) -> Result<Answer, String> {
    let began = Instant::now();
    let mut child = Command::new(&start.program)
        .args(&start.arguments)
        .env_clear()
        .envs(&start.environment)
        .current_dir(&start.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", start.program.display()))?;
    let complaints = child.stderr.take().map(complaints_of);
    let answer = match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => {
            Conversation { stdin, lines: lines_of(stdout), deadline: began + patience }.hold(began)
        }
        _ => Err("its standard streams are missing".to_owned()),
    };
    // The conversation is over and with it the server's standard input, which is how a host ends a server.
    let ended = wait(&mut child, if answer.is_ok() { ENDING } else { FAILING });
    answer.map_err(|why| {
        // What it wrote is read to its end once it has ended; a child of it may hold the stream open.
        let said = complaints.and_then(|said| said.recv_timeout(ENDING).ok()).unwrap_or_default();
        let said = said.trim();
        let mut text = why;
        if let Some(status) = ended.filter(|status| status.code().is_some()) {
            text.push_str(&format!("; it ended with {status}"));
        }
        if !said.is_empty() {
            text.push_str(&format!("; it said: {said}"));
        }
        text
    })
}

/// Both ends of what is said.
struct Conversation {
    stdin: ChildStdin,
    lines: Receiver<String>,
    deadline: Instant,
}

impl Conversation {
    fn hold(mut self, began: Instant) -> Result<Answer, String> {
        let client = json!({"name": "pyro-host-doctor", "version": env!("CARGO_PKG_VERSION")});
        let hello = self.ask(
            1,
            "initialize",
            &json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}),
        )?;
        self.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        let tools = self.ask(2, "tools/list", &json!({}))?;
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        Ok(Answer {
            name: text(&hello["serverInfo"]["name"]),
            version: text(&hello["serverInfo"]["version"]),
            protocol_version: text(&hello["protocolVersion"]),
            tools: tools["tools"].as_array().map_or(0, Vec::len),
            milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn ask(&mut self, id: u64, method: &str, params: &Value) -> Result<Value, String> {
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let late = || format!("the server did not answer `{method}` in time");
            // One that never stops talking always has a line ready.
            if left.is_zero() {
                return Err(late());
            }
            let line = self.lines.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => late(),
                RecvTimeoutError::Disconnected => format!("the server did not answer `{method}`"),
            })?;
            let message: Value = serde_json::from_str(&line)
                .map_err(|_| format!("the server wrote a line that is no message: {}", excerpt(&line)))?;
            if message["id"] != id {
                continue;
            }
            if let Some(result) = message.get("result") {
                return Ok(result.clone());
            }
            return Err(format!("the server refused `{method}`: {}", message["error"]["message"]));
        }
    }

    fn say(&mut self, message: &Value) -> Result<(), String> {
        let line = format!("{message}\n");
        // Messages are shorter than a pipe is, so this does not wait for a server that does not read.
        self.stdin.write_all(line.as_bytes()).map_err(|error| format!("the server does not listen: {error}"))
    }
}

/// Lines kept for whoever reads them; then the server waits, as with any pipe.
const LINES_AHEAD: usize = 16;

/// Lines as they come; the end of the channel is the end of the stream.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::sync_channel(LINES_AHEAD);
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line);
            let text = String::from_utf8_lossy(&line).into_owned();
            if !read.is_ok_and(|length| length > 0) || sender.send(text).is_err() {
                return;
            }
        }
    });
    lines
}

/// The beginning of what a server complains about, when the stream has ended.
fn complaints_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, complaints) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut said = Vec::new();
        let _read = (&mut reader).take(LONGEST_COMPLAINT).read_to_end(&mut said);
        // A full pipe would stop the server.
        let _rest = io::copy(&mut reader, &mut io::sink());
        let _sent = sender.send(String::from_utf8_lossy(&said).into_owned());
    });
    complaints
}

/// Waits for the end of a server, and makes it end if it takes too long.
fn wait(child: &mut Child, patience: Duration) -> Option<std::process::ExitStatus> {
    let ended = rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?).and_then(|pid| {
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
        let mut waited = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec::try_from(patience).ok()?;
        rustix::event::poll(&mut waited, Some(&limit)).ok().filter(|count| *count > 0)
    });
    if ended.is_none() {
        let _killed = child.kill();
    }
    child.wait().ok()
}

fn excerpt(line: &str) -> String {
    const LONGEST: usize = 200;
    line.trim_end().chars().take(LONGEST).collect()
}
