//! Automatic checkpoints of real machines: each call can be undone, with memory, processes and files.

use pyro_e2e::{ENVIRONMENT, Home};
use serde_json::{Value, json};

use super::{
    fault_points::{full_at, killed_at},
    mcp::Chat,
    snapshots::{delete_all, names, sh, workspace},
};

/// A workspace `w` that takes checkpoints.
fn begun() -> Home {
    let home = Home::warm();
    let create = workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--auto-checkpoint", "--json"]);
    assert_eq!(create.output().succeeds().json()["auto_checkpoint"], true);
    home
}

fn timeline(home: &Home) -> Vec<Value> {
    let timeline = workspace(home, ["timeline", "w", "--json"]).output().succeeds().json();
    assert_eq!(
        (&timeline["auto_checkpoint"], &timeline["count"]),
        (&json!(true), &json!(timeline["entries"].as_array().unwrap().len()))
    );
    timeline["entries"].as_array().unwrap().clone()
}

/// The calls of the timeline; undone ones in brackets, what an undo left as a dash.
fn calls(home: &Home) -> Vec<String> {
    let call = |entry: &Value| match (entry["step"]["call"].as_str(), &entry["behind"]) {
        (Some(call), Value::Bool(true)) => call.to_owned(),
        (Some(call), _) => format!("[{call}]"),
        (None, _) => "-".to_owned(),
    };
    timeline(home).iter().map(call).collect()
}

fn undo(home: &Home, steps: &str) -> Value {
    workspace(home, ["undo", "w", steps, "--json"]).output().succeeds().json()
}

/// What is in `/workspace`, asked past the timeline.
fn files(home: &Home) -> String {
    // Nothing found is a status of its own.
    let found = workspace(home, ["file", "grep", "w", "."]).output();
    assert!([0, 1].contains(&found.code()), "{found}");
    found.text()
}

#[test]
fn each_call_can_be_undone_and_an_undo_too() {
    let home = begun();
    let server = "echo first > told; while :; do read -r word < /run/pipe; echo $word >> told; done";
    sh(&home, "w", "mkfifo /run/pipe").succeeds();
    workspace(&home, ["exec", "w", "--detach", "--", "sh", "-c", server]).output().succeeds();
    workspace(&home, ["file", "write", "w", "a", "--text", "one\n"]).output().succeeds();
    let patch = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n";
    workspace(&home, ["patch", "apply", "w", "--patch", patch]).output().succeeds();
    sh(&home, "w", "rm -rf /workspace/* /usr/bin/awk").succeeds();
    let shown = calls(&home);
    assert_eq!(shown.len(), 5, "{shown:?}");
    assert!(shown[0].starts_with("exec sh -c 'mkfifo"), "{shown:?}");
    assert_eq!(shown[2..4], ["write a", "patch"]);
    assert_eq!(names(&home), ["baseline"], "checkpoints are in the timeline");

    let undone = undo(&home, "1");
    assert_eq!(undone["workspace_reset"]["resumed"], "memory", "{undone}");
    assert!(undone["undone"][0]["call"].as_str().unwrap().contains("rm -rf"), "{undone}");
    let left = undone["left_snapshot_id"].as_str().unwrap().to_owned();
    let found = files(&home);
    assert!(found.contains("two") && found.contains("first"), "{found}");
    undo(&home, "1");
    assert!(files(&home).contains("one"));
    assert!(calls(&home)[3].starts_with("[patch"), "{:?}", calls(&home));
    // What ran then runs on.
    sh(
        &home,
        "w",
        "echo second > /run/pipe; while ! grep -q second told; do sleep 0.01; done; test -e /usr/bin/awk",
    )
    .succeeds();
    // An undo can be undone: that is where everything was deleted.
    workspace(&home, ["reset", "w", "--snapshot", &left]).output().succeeds();
    assert_eq!(files(&home), "");
    assert_eq!(undo(&home, "5")["undone"].as_array().unwrap().len(), 5);
    sh(&home, "w", "test ! -p /run/pipe").succeeds();
    workspace(&home, ["undo", "w", "9", "--json"]).output().fails_with("nothing_to_undo");
    workspace(&home, ["undo", "w", "0"]).output().exits(2);
    delete_all(&home);
}

#[test]
fn a_chat_undoes_what_went_wrong() {
    let home = begun();
    let mut chat = Chat::with(&home, &["--profile", "workspace-full"]);
    let w = |more: &Value| {
        let mut arguments = json!({"workspace_id": "w"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    chat.call("workspace_file_write", &w(&json!({"path": "a", "text": "right"})));
    chat.call("workspace_exec", &w(&json!({"command": "API_KEY=topsecret rm a"})));
    let timeline = chat.call("workspace_timeline", &w(&json!({})));
    assert_eq!((&timeline["count"], &timeline["entries"][0]["step"]["call"]), (&json!(2), &json!("write a")));
    assert!(!timeline.to_string().contains("topsecret"), "{timeline}");
    let undone = chat.call("workspace_undo", &w(&json!({})));
    assert_eq!((&undone["reset_count"], &undone["metadata"]), (&json!(1), &json!({})), "{undone}");
    let read = chat.call("workspace_file_read", &w(&json!({"path": "a"})));
    assert!(read.to_string().contains("right"), "{read}");
    let refused = chat.failure("workspace_undo", &w(&json!({"steps": 7})));
    assert_eq!(refused["code"], "nothing_to_undo", "{refused}");
    chat.end();
    delete_all(&home);
}

#[test]
fn more_calls_than_are_kept_leave_the_last_ones() {
    let home = begun();
    let first = home.machine().id;
    // More, too, than a machine can have layers open: it is begun anew on the way.
    for number in 0..110 {
        let text = format!("{number}\n");
        workspace(&home, ["file", "write", "w", "n", "--text", &text]).output().succeeds();
    }
    assert_ne!(home.machine().id, first);
    assert_eq!(timeline(&home).len(), 24);
    home.stop_daemon();
    assert_eq!(undo(&home, "22")["undone"].as_array().unwrap().len(), 22);
    assert!(files(&home).contains("87"), "{}", files(&home));
    // Asleep, stopped: from there too.
    workspace(&home, ["file", "write", "w", "n", "--text", "asleep\n"]).output().succeeds();
    workspace(&home, ["sleep", "w"]).output().succeeds();
    undo(&home, "1");
    assert!(files(&home).contains("87"), "{}", files(&home));
    workspace(&home, ["file", "write", "w", "n", "--text", "stopped\n"]).output().succeeds();
    workspace(&home, ["stop", "w"]).output().succeeds();
    undo(&home, "1");
    assert!(files(&home).contains("87"), "{}", files(&home));
    delete_all(&home);
}

#[test]
fn a_call_whose_checkpoint_fails_is_not_made_and_a_killed_daemon_loses_no_step() {
    let home = begun();
    workspace(&home, ["file", "write", "w", "a", "--text", "one\n"]).output().succeeds();
    home.stop_daemon();
    for point in ["snapshot.recorded", "snapshot.captured", "snapshot.layers-recorded"] {
        let write = || workspace(&home, ["file", "write", "w", "a", "--text", "two\n", "--json"]);
        let is_as_before = |fault: &str| {
            assert!(files(&home).contains("one"), "{fault} at {point}");
            assert_eq!(calls(&home), ["write a"], "{fault} at {point}");
            home.stop_daemon();
        };
        killed_at(&home, point, write()).fails_with("daemon_lost");
        is_as_before("killed");
        full_at(&home, point, write()).fails_with("disk_full");
        is_as_before("full");
    }
    workspace(&home, ["file", "write", "w", "a", "--text", "three\n"]).output().succeeds();
    undo(&home, "1");
    assert!(files(&home).contains("one"));
    undo(&home, "1");
    assert_eq!(files(&home), "");
    delete_all(&home);
}
