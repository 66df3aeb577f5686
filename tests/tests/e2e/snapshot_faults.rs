//! Snapshots, resets, forks and sleep, and the fault points on their way: whatever is killed, each workspace is as before or as
//! after, with all snapshots that it had.

use std::time::Duration;

use pyro_e2e::{Home, Invocation, text_of, wait_until};

use super::{
    fault_points::{full_at, killed_at},
    layers::layers,
    snapshots::{assert_private, create, delete_all, names, sh, snapshot, workspace},
    workspace_faults::{state, status},
};

/// Points on the way of a snapshot.
pub(crate) const SNAPSHOT: [&str; 6] = [
    "snapshot.recorded",
    "snapshot.layer-made",
    "snapshot.captured",
    "snapshot.layers-recorded",
    "snapshot.written",
    "snapshot.sealed",
];
/// Points on the way of a reset.
pub(crate) const RESET: [&str; 3] = ["reset.started", "reset.recorded", "reset.machine-gone"];
/// Points on the way to sleep.
pub(crate) const SLEEP: [&str; 2] = ["sleep.saved", "sleep.recorded"];
/// Points on the way back.
pub(crate) const WAKE: [&str; 1] = ["wake.started"];
/// Points on the way of a fork.
pub(crate) const FORK: [&str; 3] = ["fork.recorded", "fork.shared", "fork.started"];

/// Points on the way to fewer layers.
const MERGE: [&str; 3] = ["merge.written", "merge.recorded", "merge.snapshots-recorded"];

/// All of them.
pub(crate) fn points() -> impl Iterator<Item = &'static &'static str> {
    SNAPSHOT.iter().chain(&RESET).chain(&SLEEP).chain(&WAKE).chain(&FORK).chain(&MERGE)
}

/// A workspace with a snapshot `old`, in which `old` was in the file and in memory, and now `new` is.
pub(crate) fn prepared() -> Home {
    let home = Home::warm();
    create(&home, "w");
    sh(&home, "w", "echo old > f; echo old > /dev/shm/m").succeeds();
    snapshot(&home, "old");
    sh(&home, "w", "echo new > f; echo new > /dev/shm/m").succeeds();
    home.stop_daemon();
    home
}

pub(crate) fn words(home: &Home, words: &[&str]) -> Invocation {
    home.pyro(["workspace"].iter().chain(words).chain(&["--json"]))
}

pub(crate) fn is(home: &Home, word: &str, at: &str) {
    let said = sh(home, "w", "cat f /dev/shm/m; echo and more > more").succeeds().text();
    assert_eq!(said, format!("{word}\n{word}\n"), "at {at}");
}

#[test]
fn a_snapshot_that_is_killed_is_there_or_not_and_the_machine_goes_on() {
    let home = prepared();
    let id = text_of(&status(&home, "w"), "workspace_id");
    home.stop_daemon();
    for point in SNAPSHOT {
        killed_at(&home, point, words(&home, &["snapshot", "create", "w", "s"])).fails_with("daemon_lost");
        // Memory that is not sealed yet may lie there.
        assert_private(&home, &id);
        let is_there = names(&home).contains(&"s".to_owned());
        assert_eq!(is_there, ["snapshot.written", "snapshot.sealed"].contains(&point), "at {point}");
        is(&home, "new", point);
        if is_there {
            workspace(&home, ["reset", "w", "--snapshot", "s"]).output().succeeds();
            is(&home, "new", point);
            workspace(&home, ["snapshot", "delete", "w", "s"]).output().succeeds();
        }
        assert_eq!(names(&home), ["baseline", "old"], "at {point}");
        home.stop_daemon();
    }
    for point in SNAPSHOT {
        full_at(&home, point, words(&home, &["snapshot", "create", "w", "s"])).fails_with("disk_full");
        is(&home, "new", point);
        assert_eq!(names(&home), ["baseline", "old"], "at {point}");
        home.stop_daemon();
    }
    workspace(&home, ["reset", "w", "--snapshot", "old"]).output().succeeds();
    is(&home, "old", "the end");
    delete_all(&home);
}

#[test]
fn a_reset_that_is_killed_is_made_or_not() {
    for point in RESET {
        let home = prepared();
        killed_at(&home, point, words(&home, &["reset", "w", "--snapshot", "old"])).fails_with("daemon_lost");
        let (count, word) = if point == "reset.started" { (0, "new") } else { (1, "old") };
        assert_eq!(status(&home, "w")["reset_count"], count, "at {point}");
        is(&home, word, point);
        if count == 1 {
            // The commands of before are gone too.
            let logs = workspace(&home, ["logs", "w", "--json"]).output().succeeds().json();
            assert_eq!(logs["count"], 1, "{logs}");
        }
        assert_eq!(names(&home), ["baseline", "old"], "at {point}");
        assert_eq!(home.machines().len(), 1, "at {point}");
        delete_all(&home);
    }
    let home = prepared();
    full_at(&home, "reset.started", words(&home, &["reset", "w", "--snapshot", "old"]))
        .fails_with("disk_full");
    is(&home, "new", "reset.started");
    delete_all(&home);
}

#[test]
fn sleep_and_wake_that_are_killed_lose_nothing() {
    let home = prepared();
    for point in SLEEP {
        killed_at(&home, point, words(&home, &["sleep", "w"])).fails_with("daemon_lost");
        assert_eq!(state(&home), if point == "sleep.saved" { "started" } else { "sleeping" }, "at {point}");
        is(&home, "new", point);
        home.stop_daemon();
    }
    for point in WAKE {
        workspace(&home, ["sleep", "w"]).output().succeeds();
        home.stop_daemon();
        killed_at(&home, point, words(&home, &["start", "w"])).fails_with("daemon_lost");
        assert_eq!(state(&home), "sleeping", "at {point}");
        is(&home, "new", point);
        home.stop_daemon();
    }
    full_at(&home, "sleep.saved", words(&home, &["sleep", "w"])).fails_with("disk_full");
    is(&home, "new", "sleep.saved");
    assert_eq!(names(&home), ["baseline", "old"]);
    assert_eq!(home.machines().len(), 1);
    delete_all(&home);
}

#[test]
fn a_fork_that_is_killed_or_fails_leaves_the_parent_alone() {
    let home = prepared();
    for point in FORK {
        killed_at(&home, point, words(&home, &["fork", "w", "--count", "2"])).fails_with("daemon_lost");
        let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
        assert_eq!(list["count"], 1, "at {point}");
        is(&home, "new", point);
        assert_eq!(home.machines().len(), 1, "at {point}");
        home.stop_daemon();
    }
    for point in FORK {
        full_at(&home, point, words(&home, &["fork", "w", "--count", "2"])).fails_with("disk_full");
        let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
        assert_eq!(list["count"], 1, "at {point}");
        is(&home, "new", point);
        assert_eq!(home.machines().len(), 1, "at {point}");
        home.stop_daemon();
    }
    assert_eq!(names(&home), ["baseline", "old"]);
    delete_all(&home);
}

/// Nobody waits for layers that are merged, so it is the daemon that tells.
#[test]
fn layers_whose_merging_is_killed_are_apart_or_one_and_no_file_changes() {
    let home = prepared();
    let stopped = workspace(&home, ["stop", "w", "--json"]).output().succeeds().json();
    let disk =
        home.path().join("data/workspaces").join(stopped["workspace_id"].as_str().unwrap()).join("disk");
    for number in 0..20 {
        snapshot(&home, &format!("s{number}"));
    }
    let mut left = names(&home);
    home.stop_daemon();
    let mut apart = layers(&disk);
    let failures = || home.log().matches("cannot merge layers of a disk").count();
    for (place, fault) in ["kill", "disk-full"].into_iter().enumerate() {
        for (number, point) in MERGE.into_iter().enumerate() {
            let fault = format!("{point}={fault}");
            let known = failures();
            let mut daemon = home.pyro(["daemon", "serve"]).env("PYRO_FAULT", &fault).start();
            assert_eq!(daemon.line(), "ready");
            // Now nothing tells its layer from the next one.
            let gone = format!("s{}", 2 + 5 * number + 2 * place);
            workspace(&home, ["snapshot", "delete", "w", &gone]).output();
            if fault.ends_with("kill") {
                assert!(daemon.process().ends_within(Duration::from_secs(30)), "{point} was never reached");
                daemon.finish().exits(137);
            } else {
                // One that is stopped before it came so far would have proved nothing.
                wait_until(&fault, &home.path().join("data"), Duration::from_secs(60), || failures() > known);
                home.stop_daemon();
                daemon.finish().succeeds();
            }
            left.retain(|name| *name != gone);
            assert_eq!(names(&home), left, "at {fault}");
            // The next daemon goes on with it.
            apart -= 1;
            wait_until(&fault, &disk, Duration::from_secs(60), || layers(&disk) == apart);
            let read = workspace(&home, ["disk", "read", "w", "f", "--json"]).output().succeeds().json();
            assert_eq!(read["content"], "new\n", "at {fault}");
            home.stop_daemon();
        }
    }
    for (name, word) in [("s19", "new"), ("old", "old")] {
        workspace(&home, ["reset", "w", "--snapshot", name]).output().succeeds();
        let said = sh(&home, "w", "cat f").succeeds().text();
        assert_eq!(said, format!("{word}\n"), "in {name}");
    }
    delete_all(&home);
}
