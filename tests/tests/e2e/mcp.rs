//! `pyro mcp serve` on real machines, driven as a chat client drives it.

use pyro_e2e::{ENVIRONMENT, Home, Running};
use serde_json::{Value, json};

/// A client that has said hello.
pub(crate) struct Chat {
    pub(crate) server: Running,
    next_id: u64,
    /// What came while something else was waited for.
    aside: Vec<Value>,
}

impl Chat {
    pub(crate) fn with(home: &Home, flags: &[&str]) -> Self {
        let words = ["mcp", "serve"].iter().chain(flags);
        let server = home.pyro(words).stdin_open().start();
        let mut chat = Self { server, next_id: 0, aside: Vec::new() };
        chat.ask(
            "initialize",
            &json!({
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "e2e", "version": "1"},
            }),
        );
        chat.server.write("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
        chat
    }

    /// Asks without waiting; the request's id.
    pub(crate) fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.server.write(format!("{request}\n"));
        id
    }

    pub(crate) fn begin_call(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.begin("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// The first message that fits.
    pub(crate) fn receive(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.aside.iter().position(&fits) {
            return self.aside.remove(at);
        }
        loop {
            let message: Value = serde_json::from_str(&self.server.line()).unwrap();
            if fits(&message) {
                return message;
            }
            self.aside.push(message);
        }
    }

    pub(crate) fn answer(&mut self, id: u64) -> Value {
        self.receive(|message| message["id"] == id)["result"].clone()
    }

    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// The payload of a call that did not fail.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let result = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert_eq!(result["isError"], false, "{tool} {arguments}: {result}");
        result["structuredContent"].clone()
    }

    /// The payload of a call that failed.
    pub(crate) fn failure(&mut self, tool: &str, arguments: &Value) -> Value {
        let result = self.ask("tools/call", &json!({"name": tool, "arguments": arguments}));
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
        result["structuredContent"].clone()
    }

    pub(crate) fn end(mut self) {
        self.server.close_stdin();
        self.server.finish();
    }
}

#[test]
fn a_command_has_a_machine_of_its_own_which_is_gone_afterwards() {
    let home = Home::warm();
    let mut chat = Chat::with(&home, &["--profile", "vm-run"]);
    let ran = chat
        .call("vm_run", &json!({"environment": ENVIRONMENT, "command": "echo out; echo err >&2; exit 3"}));
    assert_eq!(
        (&ran["exit_code"], &ran["stdout"], &ran["stderr"]),
        (&json!(3), &json!("out\n"), &json!("err\n"))
    );
    assert_eq!(ran["cleanup"]["deleted"], true, "{ran}");
    chat.end();
    home.wait_until_nothing_is_left();
}

#[test]
fn output_that_was_cut_outlives_its_command() {
    let home = Home::warm();
    let mut chat = Chat::with(&home, &["--profile", "vm-run"]);
    let ran = chat.call("vm_run", &json!({"environment": ENVIRONMENT, "command": "seq 100000"}));
    let output_id = ran["stdout_output_id"].clone();
    assert!(ran["stdout"].as_str().unwrap().contains("bytes left out"), "{ran}");
    let found = chat.call("vm_run", &json!({"output_id": output_id, "grep": "^77777$"}));
    assert_eq!(found["text"], "77777: 77777");
    let part = chat.call("vm_run", &json!({"output_id": output_id, "from": 12_000, "max_chars": 100}));
    assert_eq!(part["next_from"], 12_100, "{part}");
    chat.end();
    home.tolerate_errors_in_the_log();
}

#[test]
fn a_command_that_takes_long_is_waited_for_and_killed() {
    let home = Home::warm();
    let mut chat = Chat::with(&home, &["--profile", "vm-run", "--answer-within", "1"]);
    let sleep =
        json!({"environment": ENVIRONMENT, "command": "echo begun; sleep 1000", "timeout_seconds": 2000});
    let ran = chat.call("vm_run", &sleep);
    assert_eq!(ran["state"], "running", "{ran}");
    let job_id = ran["job_id"].clone();
    let mut written = ran["stdout"].clone();
    // Patience may end before the machine is there.
    while written == "" {
        let waited = chat.call("vm_run", &json!({"job_id": job_id}));
        assert_eq!(waited["state"], "running", "{waited}");
        written = waited["stdout"].clone();
    }
    assert_eq!(written, "begun\n");
    let killed = chat.call("vm_run", &json!({"job_id": job_id, "kill": true}));
    assert_eq!((&killed["state"], &killed["signal"]), (&json!("finished"), &json!(9)), "{killed}");
    chat.end();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_chat_mends_a_file_and_hands_over_the_result() {
    let home = Home::warm();
    let project = home.scratch().join("project");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("message.txt"), "broken\n").unwrap();
    let allowed = home.scratch().to_str().unwrap();
    let mut chat = Chat::with(&home, &["--allow-path", allowed]);
    chat.call("workspace_create", &json!({"environment": ENVIRONMENT, "seed_path": project, "name": "fix"}));
    let check = json!({"workspace_id": "fix", "command": "grep -q fixed message.txt"});
    assert_eq!(chat.call("workspace_exec", &check)["exit_code"], 1);
    let replace = json!({"old": "broken", "new": "fixed"});
    chat.call(
        "workspace_file_write",
        &json!({"workspace_id": "fix", "path": "message.txt", "replace": replace}),
    );
    assert_eq!(chat.call("workspace_exec", &check)["exit_code"], 0);
    let diff = chat.call("workspace_diff", &json!({"workspace_id": "fix"}));
    assert!(diff["patch"].as_str().unwrap().contains("+fixed"), "{diff}");
    let output = home.scratch().join("message.txt");
    chat.call(
        "workspace_export",
        &json!({"workspace_id": "fix", "path": "message.txt", "output_path": output}),
    );
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "fixed\n");
    chat.call("workspace_delete", &json!({"workspace_id": "fix"}));
    chat.end();
    home.wait_until_nothing_is_left();
}
