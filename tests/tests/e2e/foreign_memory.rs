//! Memory that was saved on another host, by another release of what runs machines, or with another key: it is of no use here, and no
//! file is lost.

use std::fs;

use pyro_e2e::{Home, text_of};
use serde_json::Value;

use super::{
    snapshots::{create, delete_all, files, go_back, reset, sh, snapshot, workspace},
    workspace_faults::status,
};

/// What the records here are made to say.
const ANOTHER_BUILD: &str = "qemu QEMU emulator version 99.1";

/// Changes the records of the snapshots of a kind to such as were written where another build runs machines; which one it was.
fn written_elsewhere(home: &Home, id: &str, kind: &str) -> String {
    // Whoever has read them remembers.
    home.kill_daemon();
    let mut builds = Vec::new();
    for path in files(home, id, "snapshots", ".json") {
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        if record["snapshot"]["kind"] == kind {
            let memory = &mut record["snapshot"]["memory"];
            builds.push(text_of(memory, "engine"));
            assert_eq!(text_of(memory, "fits").len(), 32);
            memory["fits"] = "0".repeat(32).into();
            memory["engine"] = ANOTHER_BUILD.into();
            fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        }
    }
    assert_eq!(builds.len(), 1, "{kind}");
    builds.remove(0)
}

/// Which build it was, and which one is here.
#[track_caller]
fn names_both(reason: &Value, here: &str) {
    let reason = reason.as_str().unwrap_or_else(|| panic!("no reason"));
    assert!(reason.contains(ANOTHER_BUILD) && reason.contains(here), "{reason}");
}

fn begun() -> (Home, String) {
    let home = Home::warm();
    let id = create(&home, "w");
    let job = workspace(&home, ["exec", "w", "--detach"]).timeout_s(0);
    job.command(["sh", "-c", "echo $$ > /run/alive; sleep 100000"]).output().succeeds();
    // Nobody has the guest write it out.
    sh(
        &home,
        "w",
        "until test -s /run/alive; do sleep 0.1; done; mkdir d; echo kept > d/f; echo tool > /opt/tool",
    )
    .succeeds();
    (home, id)
}

/// The files are there, and what ran has ended.
#[track_caller]
fn is_booted(home: &Home, name: &str) {
    sh(home, name, "test ! -e /run/alive; cat d/f /opt/tool").succeeds().prints("kept\ntool\n");
}

/// What is saved now is of use.
#[track_caller]
fn fits_from_here_on(home: &Home) {
    sh(home, "w", "echo again > /run/again").succeeds();
    snapshot(home, "again");
    go_back(home, "w", "again");
    sh(home, "w", "cat /run/again").succeeds().prints("again\n");
}

#[test]
fn a_snapshot_of_another_build_is_gone_back_to_and_forked_without_its_memory() {
    let (home, id) = begun();
    snapshot(&home, "s");
    sh(&home, "w", "echo later > d/f; rm /opt/tool").succeeds();
    let here = written_elsewhere(&home, &id, "named");

    let booted = reset(&home, "s");
    assert_eq!(booted["workspace_reset"]["resumed"], "boot", "{booted}");
    names_both(&booted["workspace_reset"]["boot_reason"], &here);
    is_booted(&home, "w");
    let jobs = workspace(&home, ["job", "list", "w", "--json"]).output().succeeds().json();
    assert!(!jobs.to_string().contains("\"running\""), "{jobs}");
    assert_eq!((&jobs["count"], &jobs["jobs"][0]["state"]), (&1.into(), &"unknown".into()), "{jobs}");

    let fork = workspace(&home, ["fork", "w", "--snapshot", "s", "--name-prefix", "twin", "--json"]);
    let forked = fork.output().succeeds().json();
    assert_eq!(forked["resumed"], "boot", "{forked}");
    names_both(&forked["boot_reason"], &here);
    is_booted(&home, "twin-1");
    fits_from_here_on(&home);
    delete_all(&home);
}

#[test]
fn without_the_key_a_snapshot_is_gone_back_to_without_its_memory() {
    let (home, _) = begun();
    snapshot(&home, "s");
    sh(&home, "w", "echo later > d/f; rm /opt/tool").succeeds();
    home.kill_daemon();
    let key = home.path().join("data/seal.key");
    fs::rename(&key, key.with_extension("away")).unwrap();

    let booted = reset(&home, "s");
    let told = &booted["workspace_reset"];
    assert_eq!(told["resumed"], "boot", "{booted}");
    assert!(told["boot_reason"].as_str().is_some_and(|reason| reason.contains("key")), "{booted}");
    is_booted(&home, "w");
    fits_from_here_on(&home);
    delete_all(&home);
}

#[test]
fn a_workspace_that_slept_by_another_build_wakes_up_without_its_memory() {
    let (home, id) = begun();
    workspace(&home, ["sleep", "w"]).output().succeeds();
    let here = written_elsewhere(&home, &id, "sleep");
    is_booted(&home, "w");
    let status = status(&home, "w");
    assert_eq!(status["state"], "started", "{status}");
    names_both(&status["last_error"], &here);
    let lost = workspace(&home, ["job", "wait", "w", "c1", "--json"]).output().json();
    assert_eq!(lost["state"], "unknown", "{lost}");
    delete_all(&home);
}
