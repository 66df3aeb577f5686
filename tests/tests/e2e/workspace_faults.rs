//! Workspaces and the fault points on their way: whatever is killed, each workspace is as before or as after.

use pyro_e2e::{Home, Invocation, Outcome, text_of};
use serde_json::Value;

use super::fault_points::{full_at, killed_at};

/// Points on the way of a creation.
const CREATE: [&str; 4] =
    ["workspace.recorded", "workspace.disk-made", "workspace.machine-recorded", "workspace.seeded"];
/// Points on the way of a start.
const START: [&str; 2] = ["workspace.start-recorded", "workspace.started"];
/// Points on the way of a stop.
const STOP: [&str; 2] = ["workspace.stop-recorded", "workspace.powered-off"];
/// Points on the way of a deletion.
const DELETE: [&str; 3] = ["workspace.delete-recorded", "workspace.machine-gone", "workspace.files-removed"];
/// Points on the way of a command.
const COMMAND: [&str; 4] = ["command.recorded", "command.running", "command.output-written", "command.over"];

/// All of them.
pub(crate) fn points() -> impl Iterator<Item = &'static &'static str> {
    CREATE.iter().chain(&START).chain(&STOP).chain(&DELETE).chain(&COMMAND)
}

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn create(home: &Home) -> Invocation {
    workspace(home, ["create", super::workspaces::ENVIRONMENT, "--name", "w", "--json"])
}

pub(crate) fn names(home: &Home) -> Vec<String> {
    let list = workspace(home, ["list", "--json"]).output().succeeds().json();
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    list["workspaces"].as_array().unwrap().iter().map(name).collect()
}

pub(crate) fn status(home: &Home, name: &str) -> Value {
    workspace(home, ["status", name, "--json"]).output().succeeds().json()
}

/// The state of `w`.
pub(crate) fn state(home: &Home) -> String {
    text_of(&status(home, "w"), "state")
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "--", "sh", "-c", script]).output()
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_creation_that_is_killed_leaves_nothing() {
    let home = Home::warm();
    for point in CREATE {
        killed_at(&home, point, create(&home)).fails_with("daemon_lost");
        assert_eq!(names(&home), [] as [String; 0], "at {point}");
        home.wait_until_nothing_is_left();
        home.stop_daemon();
    }
    for point in CREATE {
        full_at(&home, point, create(&home)).fails_with("disk_full");
        assert_eq!(names(&home), [] as [String; 0], "at {point}");
        home.wait_until_nothing_is_left();
        home.stop_daemon();
    }
    create(&home).output().succeeds();
    delete(&home);
}

#[test]
fn a_stop_or_a_start_that_is_killed_loses_no_file() {
    let home = Home::warm();
    create(&home).output().succeeds();
    sh(&home, "echo kept > kept; echo root > /opt/root").succeeds();
    home.stop_daemon();
    for point in STOP {
        killed_at(&home, point, workspace(&home, ["stop", "w", "--json"])).fails_with("daemon_lost");
        assert_eq!(state(&home), "stopped", "at {point}");
        workspace(&home, ["start", "w"]).output().succeeds();
        sh(&home, "cat kept /opt/root").succeeds().prints("kept\nroot\n");
        home.stop_daemon();
    }
    for point in START {
        workspace(&home, ["stop", "w"]).output().succeeds();
        home.stop_daemon();
        killed_at(&home, point, workspace(&home, ["start", "w", "--json"])).fails_with("daemon_lost");
        assert!(["started", "stopped"].contains(&state(&home).as_str()), "at {point}");
        workspace(&home, ["start", "w"]).output().succeeds();
        sh(&home, "cat kept /opt/root").succeeds().prints("kept\nroot\n");
    }
    delete(&home);
}

#[test]
fn a_deletion_that_is_killed_is_finished_by_the_next_daemon() {
    let home = Home::warm();
    for point in DELETE {
        create(&home).output().succeeds();
        home.stop_daemon();
        killed_at(&home, point, workspace(&home, ["delete", "w", "--json"])).fails_with("daemon_lost");
        assert_eq!(names(&home), [] as [String; 0], "at {point}");
        home.wait_until_nothing_is_left();
        home.stop_daemon();
    }
}

/// The client goes on with the next daemon, so the caller does not even notice; but what the guest was never asked is
/// not asked now, and said to be so.
#[test]
fn a_command_whose_daemon_is_killed_runs_once_and_its_end_is_told() {
    let home = Home::warm();
    create(&home).output().succeeds();
    home.stop_daemon();
    let mut ran = 0;
    for point in COMMAND {
        let mut daemon = home.pyro(["daemon", "serve"]).env("PYRO_FAULT", format!("{point}=kill")).start();
        assert_eq!(daemon.line(), "ready");
        let outcome = sh(&home, "echo once >> /tmp/count; echo said");
        assert!(
            daemon.process().ends_within(std::time::Duration::from_secs(30)),
            "{point} was never reached"
        );
        daemon.finish().exits(137);
        if point == "command.recorded" {
            outcome.exits(1).complains("was never started");
        } else {
            outcome.succeeds().prints("said\n");
            ran += 1;
        }
        sh(&home, "cat /tmp/count 2>/dev/null | wc -l").succeeds().prints(format!("{ran}\n"));
        home.stop_daemon();
    }
    delete(&home);
}
