//! What goes wrong around a chat: the client dies, the daemon dies, names and output are no text, and much comes at once.

use std::time::{Duration, Instant};

use pyro_e2e::{ENVIRONMENT, Home, Signal};
use serde_json::{Value, json};

use super::mcp::Chat;

/// Answers soon, so that a command that runs on is told as running.
const IMPATIENT: &[&str] = &["--answer-within", "1"];
/// Generous: only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

fn workspace(home: &Home, flags: &[&str]) -> Chat {
    let mut chat = Chat::with(home, flags);
    chat.call("workspace_create", &json!({"environment": ENVIRONMENT, "name": "w"}));
    chat
}

fn exec(command: &str) -> Value {
    json!({"workspace_id": "w", "command": command, "timeout_seconds": 2000})
}

/// Looks again until there is something: each look asks the daemon, and most find it.
fn as_soon_as<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} within {PATIENCE:?}");
    }
}

/// The command that runs in the workspace, as soon as one does.
fn running_job(home: &Home) -> String {
    as_soon_as("a command runs", || {
        let list = home.pyro(["workspace", "job", "list", "w", "--running", "--json"]).output().succeeds();
        let list = list.json();
        let job = list["jobs"].as_array().unwrap().iter().find(|job| job["state"] == "running")?;
        Some(job["job_id"].as_str().unwrap().to_owned())
    })
}

/// The lines that commands have written, as soon as there is one.
fn log(chat: &mut Chat) -> Value {
    let read = json!({"name": "workspace_file_read", "arguments": {"workspace_id": "w", "path": "log"}});
    as_soon_as("a command writes", || {
        let read = chat.ask("tools/call", &read);
        let is_there = read["isError"] == false && read["structuredContent"]["content"] != "";
        is_there.then(|| read["structuredContent"]["content"].clone())
    })
}

fn delete(home: &Home) {
    home.pyro(["workspace", "delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_client_that_dies_leaves_its_workspace_and_what_runs_there() {
    let home = Home::warm();
    let mut chat = workspace(&home, &[]);
    chat.begin_call("workspace_exec", &exec("echo once >> log; sleep 1000"));
    let job = running_job(&home);
    chat.server.signal(Signal::KILL);
    let _killed = chat.server.finish();
    let mut chat = Chat::with(&home, IMPATIENT);
    let again = chat.call("workspace_exec", &exec("echo once >> log; sleep 1000"));
    assert_eq!((&again["job_id"], &again["attached"]), (&json!(job), &json!(true)), "{again}");
    assert_eq!(log(&mut chat), "once\n");
    // One that only leaves is no other.
    chat.begin_call("workspace_exec", &json!({"workspace_id": "w", "job_id": job}));
    chat.end();
    assert_eq!(running_job(&home), job);
    delete(&home);
}

#[test]
fn a_daemon_that_is_killed_during_a_call_is_told_and_costs_nothing() {
    let home = Home::warm();
    let mut chat = workspace(&home, &["--answer-within", "30"]);
    let call = chat.begin_call("workspace_exec", &exec("echo once >> log; sleep 1000"));
    let job = running_job(&home);
    home.kill_daemon();
    let lost = chat.answer(call);
    assert_eq!(lost["isError"], true, "{lost}");
    let lost = &lost["structuredContent"];
    assert_eq!((&lost["code"], &lost["retryable"]), (&json!("daemon_lost"), &json!(true)), "{lost}");
    assert_eq!((&lost["work"], &lost["job_id"]), (&json!("running"), &json!(job)), "{lost}");
    assert!(lost["hint"].as_str().unwrap().contains("was not run twice"), "{lost}");
    // The same server asks the next daemon.
    assert_eq!(log(&mut chat), "once\n");
    let killed = chat.call("workspace_exec", &json!({"workspace_id": "w", "job_id": job, "kill": true}));
    assert_eq!(killed["signal"], 9, "{killed}");
    assert_eq!(log(&mut chat), "once\n");
    chat.end();
    delete(&home);
}

#[test]
fn names_and_output_that_are_no_text_are_told_and_can_be_given_back() {
    let home = Home::warm();
    let mut chat = workspace(&home, &[]);
    let command = r"printf 'a\377b\n'; printf 'x\n' > $(printf 'n\377')";
    let ran = chat.call("workspace_exec", &exec(command));
    assert_eq!(ran["stdout"], "a\u{fffd}b\n", "{ran}");
    let list = chat.call("workspace_file_list", &json!({"workspace_id": "w"}));
    let path = list["entries"][0]["path"].clone();
    assert!(path["base64"].is_string(), "{list}");
    let read = chat.call("workspace_file_read", &json!({"workspace_id": "w", "path": path}));
    assert_eq!((&read["content"], &read["path"]), (&json!("x\n"), &path), "{read}");
    let uri = "pyro://workspace/w/files/n%FF";
    let resource = chat.ask("resources/read", &json!({"uri": uri}));
    assert_eq!(resource["contents"][0]["text"], "x\n", "{resource}");
    chat.end();
    delete(&home);
}

#[test]
fn a_thousand_calls_are_answered_while_a_command_runs() {
    let home = Home::warm();
    let mut chat = workspace(&home, &["--answer-within", "3600"]);
    chat.call("workspace_file_write", &json!({"workspace_id": "w", "path": "a", "text": "text"}));
    chat.call("workspace_exec", &exec("mkfifo go"));
    let held = chat.begin_call("workspace_exec", &exec("read line < go; echo $line"));
    let calls: Vec<(u64, &str)> = (0..1000)
        .map(|number| match number % 2 {
            0 => (chat.begin_call("workspace_status", &json!({"workspace_id": "w"})), "workspace_id"),
            _ => (
                chat.begin_call("workspace_file_read", &json!({"workspace_id": "w", "path": "a"})),
                "content",
            ),
        })
        .collect();
    for (id, field) in calls {
        let answer = chat.answer(id);
        assert!(answer["structuredContent"][field].is_string(), "{answer}");
    }
    assert_eq!(chat.ask("ping", &json!({})), json!({}));
    let parallel: Vec<u64> =
        (0..8).map(|number| chat.begin_call("workspace_exec", &exec(&format!("echo {number}")))).collect();
    for (number, id) in parallel.into_iter().enumerate() {
        assert_eq!(chat.answer(id)["structuredContent"]["stdout"], format!("{number}\n"));
    }
    chat.call("workspace_exec", &exec("echo went > go"));
    assert_eq!(chat.answer(held)["structuredContent"]["stdout"], "went\n");
    chat.end();
    delete(&home);
}

#[test]
fn a_subscriber_is_told_what_others_change() {
    let home = Home::warm();
    let mut chat = workspace(&home, &[]);
    let (logs, file) = ("pyro://workspace/w/logs", "pyro://workspace/w/files/a");
    for uri in [logs, file] {
        assert_eq!(chat.ask("resources/subscribe", &json!({"uri": uri})), json!({}));
    }
    let is_update = |uri: &'static str| {
        move |message: &Value| {
            message["method"] == "notifications/resources/updated" && message["params"]["uri"] == uri
        }
    };
    home.pyro(["workspace", "file", "write", "w", "a", "--text", "one"]).output().succeeds();
    chat.receive(is_update(file));
    home.pyro(["workspace", "exec", "w", "-n", "-q"]).command(["true"]).output().succeeds();
    chat.receive(is_update(logs));
    home.pyro(["workspace", "exec", "w", "-n", "-q"])
        .command(["sh", "-c", "echo two > a"])
        .output()
        .succeeds();
    chat.receive(is_update(file));
    // It waits at the next daemon too.
    home.kill_daemon();
    home.pyro(["workspace", "file", "write", "w", "a", "--text", "three"]).output().succeeds();
    chat.receive(is_update(file));
    delete(&home);
    chat.receive(is_update(logs));
    chat.end();
}
