//! What a chat asks for twice runs once: with a key for ever, without one as long as the first runs. Nothing of that is the
//! server's: each call here may come from another one.

use pyro_e2e::{ENVIRONMENT, Home, Signal};
use serde_json::{Value, json};

use super::mcp::Chat;

/// Answers soon, so that a command that runs on is told as running.
const IMPATIENT: &[&str] = &["--answer-within", "1"];

/// Every machine has another one.
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

fn run(chat: &mut Chat, command: &str, key: Option<&str>) -> Value {
    let mut arguments =
        json!({"environment": ENVIRONMENT, "command": command, "timeout_seconds": 2000, "ttl_seconds": 600});
    if let Some(key) = key {
        arguments["idempotency_key"] = json!(key);
    }
    chat.call("vm_run", &arguments)
}

fn kill(chat: &mut Chat, job_id: &Value) -> Value {
    chat.call("vm_run", &json!({"job_id": job_id, "kill": true}))
}

#[test]
fn a_key_runs_one_machine_for_ever() {
    let home = Home::warm();
    let mut chat = Chat::with(&home, &[]);
    let first = run(&mut chat, &format!("{BOOT_ID}; echo told >&2; exit 3"), Some("k"));
    assert_eq!((&first["exit_code"], &first["cleanup"]["deleted"]), (&json!(3), &json!(true)), "{first}");
    chat.end();
    home.wait_until_nothing_is_left();
    home.stop_daemon();
    // Another server, another daemon, and the machine is gone.
    let mut chat = Chat::with(&home, &[]);
    let again = run(&mut chat, &format!("{BOOT_ID}; echo told >&2; exit 3"), Some("k"));
    for same in ["stdout", "stderr", "exit_code", "vm_id", "command", "cleanup"] {
        assert_eq!(again[same], first[same], "{same} of {again}");
    }
    assert_eq!(again["attached"], true);
    let other = json!({
        "environment": ENVIRONMENT, "command": "true", "timeout_seconds": 2000, "ttl_seconds": 600,
        "idempotency_key": "k",
    });
    let refused = chat.failure("vm_run", &other);
    assert_eq!(
        (&refused["code"], &refused["work_started"]),
        (&json!("idempotency_conflict"), &json!(false)),
        "{refused}"
    );
    chat.end();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_key_finds_its_machine_while_it_runs_and_after_the_server_was_killed() {
    let home = Home::warm();
    let command = format!("{BOOT_ID}; sleep 1000");
    let mut chat = Chat::with(&home, IMPATIENT);
    let first = run(&mut chat, &command, Some("k"));
    assert_eq!(first["state"], "running", "{first}");
    chat.server.signal(Signal::KILL);
    let _killed = chat.server.finish();
    let mut chat = Chat::with(&home, IMPATIENT);
    let second = run(&mut chat, &command, Some("k"));
    assert_eq!((&second["job_id"], &second["attached"]), (&first["job_id"], &json!(true)), "{second}");
    assert_eq!(kill(&mut chat, &first["job_id"])["signal"], 9);
    let after = run(&mut chat, &command, Some("k"));
    assert_eq!((&after["signal"], &after["attached"]), (&json!(9), &json!(true)), "{after}");
    chat.end();
    home.wait_until_nothing_is_left();
}

#[test]
fn an_identical_call_attaches_only_while_the_first_runs() {
    let home = Home::warm();
    let command = format!("{BOOT_ID}; sleep 1000");
    let (mut one, mut other) = (Chat::with(&home, IMPATIENT), Chat::with(&home, IMPATIENT));
    let first = run(&mut one, &command, None);
    let second = run(&mut other, &command, None);
    assert_eq!((&second["job_id"], &second["attached"]), (&first["job_id"], &json!(true)), "{second}");
    // Both wait for the same end; whoever is last removes the machine.
    let wait = json!({"job_id": first["job_id"]});
    let waiting = other.begin_call("vm_run", &wait);
    assert_eq!(kill(&mut one, &first["job_id"])["signal"], 9);
    let waited = other.answer(waiting)["structuredContent"].clone();
    assert!(
        waited["signal"] == 9 || waited["state"] == "running" || waited["code"] == "unknown_vm",
        "{waited}"
    );
    let third = run(&mut one, &command, None);
    assert_ne!(third["job_id"], first["job_id"], "{third}");
    assert_eq!(third.get("attached"), None, "{third}");
    kill(&mut one, &third["job_id"]);
    one.end();
    other.end();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_machine_that_was_told_to_run_on_stays_for_its_time() {
    let home = Home::warm();
    let flags = ["--answer-within", "1", "--abandon-after", "1", "--profile", "workspace-full"];
    let mut chat = Chat::with(&home, &flags);
    let ran = run(&mut chat, "sleep 1000", None);
    assert_eq!(ran["state"], "running", "{ran}");
    chat.end();
    let mut chat = Chat::with(&home, &flags);
    let status = chat.call("vm_status", &json!({"vm_id": ran["vm_id"]}));
    assert_eq!((&status["ttl_seconds"], &status["state"]), (&json!(600), &json!("started")), "{status}");
    kill(&mut chat, &ran["job_id"]);
    chat.end();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_machine_ends_some_time_after_its_last_caller_though_its_command_runs() {
    let home = Home::warm();
    let flags = ["--abandon-after", "1", "--answer-within", "3600"];
    for is_killed in [true, false] {
        let mut chat = Chat::with(&home, &flags);
        let arguments = json!({"environment": ENVIRONMENT, "command": "sleep 1000", "timeout_seconds": 2000});
        chat.begin_call("vm_run", &arguments);
        let machines = home.machines_directory();
        std::fs::create_dir_all(&machines).unwrap();
        pyro_e2e::wait_until("the machine is there", &machines, std::time::Duration::from_secs(60), || {
            !home.machines().is_empty()
        });
        if is_killed {
            chat.server.signal(Signal::KILL);
        } else {
            chat.server.close_stdin();
        }
        let _ended = chat.server.finish();
        home.wait_until_nothing_is_left();
    }
}
