//! Workspaces that sleep: their machines are gone, and go on when they are used.

use std::time::Duration;

use pyro_e2e::{ENVIRONMENT, Home, wait_until};

use super::{
    snapshots::{create, delete_all, files, sh, workspace},
    workspace_faults::state,
};

#[test]
fn what_ran_runs_on_and_its_output_is_whole() {
    let home = Home::warm();
    let id = create(&home, "w");
    let job = "i=0; while test $i -lt 100000; do i=$((i+1)); echo $i; if test $i = 500; then while ! test -e /run/go; do sleep 0.05; done; fi; test $i -lt 1000 || exit 7; done";
    workspace(&home, ["exec", "w", "--detach", "--timeout-seconds", "60", "--", "sh", "-c", job])
        .output()
        .succeeds();
    sh(&home, "w", "echo kept > f; echo x > /dev/shm/x").succeeds();
    let slept = workspace(&home, ["sleep", "w", "--json"]).output().succeeds().json();
    assert_eq!(slept["state"], "sleeping");
    assert_eq!(home.machines().len(), 0);
    // Looking does not wake it.
    workspace(&home, ["list"]).output().succeeds();
    workspace(&home, ["logs", "w"]).output().succeeds();
    workspace(&home, ["snapshot", "list", "w"]).output().succeeds();
    let read = workspace(&home, ["disk", "read", "w", "f", "--json"]).output().succeeds().json();
    assert_eq!(read["content"], "kept\n");
    assert_eq!(state(&home), "sleeping");
    // A new daemon does not lose it.
    home.stop_daemon();
    assert_eq!(state(&home), "sleeping");

    sh(&home, "w", "touch /run/go; cat f /dev/shm/x").succeeds().prints("kept\nx\n");
    assert_eq!(state(&home), "started");
    let ended = workspace(&home, ["job", "wait", "w", "c1", "--json"]).output();
    assert_eq!(ended.json()["exit_code"], 7, "{ended}");
    let output = workspace(&home, ["output", "w", "c1"]).output().succeeds().text();
    let lines: Vec<u32> = output.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(lines, (1..=1000).collect::<Vec<_>>());
    // What it slept by is gone, but for the memory that its machine began as.
    assert_eq!(files(&home, &id, "snapshots", ".json").len(), 1);
    delete_all(&home);
}

#[test]
fn it_falls_asleep_by_itself_and_a_stop_of_one_that_sleeps_is_clean() {
    let home = Home::warm();
    let create = workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--idle-sleep-seconds", "60"]);
    create.output().succeeds();
    workspace(&home, ["update", "w", "--idle-sleep-seconds", "1"]).output().exits(0);
    sh(&home, "w", "echo kept > f").succeeds();
    wait_until("it sleeps", &home.machines_directory(), Duration::from_secs(60), || {
        home.machines().is_empty()
    });
    assert_eq!(state(&home), "sleeping");
    workspace(&home, ["update", "w", "--idle-sleep-seconds", "0"]).output().succeeds();
    assert_eq!(state(&home), "sleeping");
    workspace(&home, ["stop", "w"]).output().succeeds();
    assert_eq!(state(&home), "stopped");
    workspace(&home, ["sleep", "w", "--json"]).output().fails_with("workspace_state");
    workspace(&home, ["start", "w"]).output().succeeds();
    sh(&home, "w", "cat f").succeeds().prints("kept\n");
    workspace(&home, ["sleep", "w"]).output().succeeds();
    workspace(&home, ["sleep", "w"]).output().succeeds();
    let reset = workspace(&home, ["reset", "w", "--json"]).output().succeeds().json();
    assert_eq!(reset["state"], "started");
    workspace(&home, ["sleep", "w"]).output().succeeds();
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
