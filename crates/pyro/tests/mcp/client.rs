//! A client of the server on its standard input and output: JSON-RPC by hand, so that nothing is asked but what stands here.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
};

use serde_json::{Value, json};

use crate::daemon::Daemon;

pub(crate) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    messages: mpsc::Receiver<Value>,
    next_id: u64,
    /// What came while something else was waited for.
    aside: Vec<Value>,
}

/// The built server, beside that daemon.
pub(crate) fn server(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyro"));
    command.args(["mcp", "serve"]).args(arguments);
    command.env_clear().env("PYRO_HOME", daemon.home()).env("PATH", "/usr/bin:/bin");
    command.current_dir(daemon.home());
    command
}

impl Client {
    /// Starts a server and says hello in that revision.
    pub(crate) fn speaking(daemon: &Daemon, arguments: &[&str], revision: &str) -> (Self, Value) {
        let mut client = Self::start(daemon, arguments);
        let hello = client.ask(
            "initialize",
            &json!({
                "protocolVersion": revision, "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }),
        );
        client.notify("notifications/initialized", &json!({}));
        (client, hello)
    }

    /// The usual one.
    pub(crate) fn new(daemon: &Daemon, arguments: &[&str]) -> Self {
        Self::speaking(daemon, arguments, "2025-11-25").0
    }

    /// Starts a server and says nothing.
    pub(crate) fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut command = server(daemon, arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, messages) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _told = tell.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, stdin, messages, next_id: 0, aside: Vec::new() }
    }

    /// Descriptors that the server has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Resident memory of the server, KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Closes the server's standard input and waits for its end.
    pub(crate) fn leave(mut self) -> std::process::ExitStatus {
        self.stdin = None;
        self.child.wait().unwrap()
    }

    /// Writes a line as it is.
    pub(crate) fn write(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    pub(crate) fn notify(&mut self, method: &str, params: &Value) {
        self.write(json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string().as_bytes());
    }

    /// Asks without waiting; the request's id.
    pub(crate) fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.write(
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().as_bytes(),
        );
        id
    }

    /// The first message that fits.
    pub(crate) fn receive(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.aside.iter().position(&fits) {
            return self.aside.remove(at);
        }
        loop {
            let message = self.messages.recv().unwrap();
            if fits(&message) {
                return message;
            }
            self.aside.push(message);
        }
    }

    pub(crate) fn answer(&mut self, id: u64) -> Value {
        self.receive(|message| message["id"] == id && message.get("method").is_none())
    }

    /// Asks and waits for the result, or the error.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        let answer = self.answer(id);
        answer.get("result").or_else(|| answer.get("error")).unwrap().clone()
    }

    pub(crate) fn begin_call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.begin("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}
