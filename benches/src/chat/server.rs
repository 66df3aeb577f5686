//! The server of tools as a chat client starts it: JSON-RPC on standard input and output, a line for each message.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::cli::Pyro;

/// The newest revision of the protocol that begins with `initialize` and has `ping`.
const REVISION: &str = "2025-11-25";
const HUNG_UP: &str = "`pyro mcp serve` hung up";

/// One server with its only client.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    input: ChildStdin,
    /// What the server says, line by line, until it hangs up.
    lines: Receiver<String>,
    requests: u64,
    /// Answers that came while another one was waited for.
    early: BTreeMap<u64, Value>,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent(u64);

impl Server {
    /// Starts a server whose tools may name files below `allowed`, and has it answer `initialize`.
    pub(crate) fn start(pyro: &Pyro, allowed: &Path) -> anyhow::Result<Self> {
        let mut child = pyro
            .command(&["mcp", "serve", "--allow-path"])
            .arg(allowed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start `pyro mcp serve`")?;
        let input = child.stdin.take().context("a server without input")?;
        let lines = lines(child.stdout.take().context("a server without output")?);
        let mut server = Self { child, input, lines, requests: 0, early: BTreeMap::new() };
        let client = json!({ "name": "pyro-benches", "version": env!("CARGO_PKG_VERSION") });
        let hello = json!({ "protocolVersion": REVISION, "capabilities": {}, "clientInfo": client });
        let hello = server.send("initialize", &hello)?;
        server.answer(hello)?;
        server.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(server)
    }

    /// Asks whether it is there, and waits until it says so.
    pub(crate) fn ping(&mut self) -> anyhow::Result<()> {
        let ping = self.send("ping", &json!({}))?;
        self.answer(ping).map(drop)
    }

    /// Calls a tool to its successful end; the payload of its answer.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        let sent = self.send_call(tool, arguments)?;
        self.finish_call(sent)
    }

    /// Calls a tool and waits for nothing.
    pub(crate) fn send_call(&mut self, tool: &str, arguments: &Value) -> anyhow::Result<Sent> {
        self.send("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }

    /// The payload of a call that was sent. Fails if the tool did.
    pub(crate) fn finish_call(&mut self, sent: Sent) -> anyhow::Result<Value> {
        let mut result = self.answer(sent)?;
        ensure!(result["isError"] != true, "a tool failed: {result}");
        Ok(result["structuredContent"].take())
    }

    /// Whether the answer is there, or comes in this time.
    pub(crate) fn answers_within(&mut self, sent: Sent, patience: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + patience;
        while !self.early.contains_key(&sent.0) {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(&line)?,
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => bail!(HUNG_UP),
            }
        }
        Ok(true)
    }

    /// Hangs up and waits for the server to end.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Self { mut child, input, lines, .. } = self;
        drop((input, lines));
        let status = child.wait()?;
        ensure!(status.success(), "`pyro mcp serve` ended with {status}");
        Ok(())
    }

    fn send(&mut self, method: &str, params: &Value) -> anyhow::Result<Sent> {
        self.requests += 1;
        let id = self.requests;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        Ok(Sent(id))
    }

    fn write(&mut self, message: &Value) -> anyhow::Result<()> {
        self.input.write_all(format!("{message}\n").as_bytes()).context("write to `pyro mcp serve`")
    }

    /// The result of a request. Fails if the server refused it.
    fn answer(&mut self, sent: Sent) -> anyhow::Result<Value> {
        let mut answer = loop {
            if let Some(answer) = self.early.remove(&sent.0) {
                break answer;
            }
            let line = self.lines.recv().context(HUNG_UP)?;
            self.take(&line)?;
        };
        ensure!(answer["error"].is_null(), "the server refused: {}", answer["error"]);
        Ok(answer["result"].take())
    }

    /// Takes one message. What is no answer is passed over.
    fn take(&mut self, line: &str) -> anyhow::Result<()> {
        let message: Value = serde_json::from_str(line).with_context(|| format!("read {line:?}"))?;
        if let (Some(id), None) = (message["id"].as_u64(), message.get("method")) {
            self.early.insert(id, message);
        }
        Ok(())
    }
}

/// Reads until the server hangs up or nobody listens.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    heard
}
