//! The host under a workspace: its disk becomes full, and its time goes on without the guest.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pyro_e2e::{Home, Invocation, Outcome, mount_wrapper, text_of};
use serde_json::Value;

use super::{workspace_faults::status, workspaces::ENVIRONMENT};

/// Free at first where the workspace lies; less than what a machine that stood still must find to go on.
const FREE_MIB: u64 = 40;
/// What the guest writes.
const WRITTEN_MIB: u64 = 64;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "--", "sh", "-c", script]).output()
}

fn made(home: &Home) -> String {
    let created = workspace(home, ["create", ENVIRONMENT, "--name", "w", "--json"]).output().succeeds();
    text_of(&created.json(), "workspace_id")
}

/// A wrapper that runs a daemon which has the workspace at `place` on a small file system of its own, with ballast in it
/// that leaves [`FREE_MIB`].
fn on_a_small_disk(place: &Path, aside: &Path) -> Vec<String> {
    let (place, aside) = (place.display(), aside.display());
    let mount = format!(
        "cp -a --sparse=always '{place}' '{aside}' && mount -t tmpfs -o size=512m,mode=0700 small '{place}' && \
         cp -a --sparse=always '{aside}/.' '{place}' && \
         free=$(df --output=avail -B1M '{place}' | tail -n 1) && \
         head -c $((free - {FREE_MIB}))M /dev/zero > '{place}/ballast'"
    );
    mount_wrapper(&mount, r#"exec "$@""#)
}

/// Looks again and again, since nobody tells.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
    }
}

#[test]
fn a_full_disk_of_the_host_holds_a_workspace_up_and_nothing_is_lost() {
    let home = Home::warm();
    let id = made(&home);
    workspace(&home, ["stop", "w"]).output().succeeds();
    home.stop_daemon();
    let place: PathBuf = home.path().join("data/workspaces").join(id);
    let small = on_a_small_disk(&place, &home.scratch().join("aside"));
    let mut daemon = home.pyro(["daemon", "serve"]).under(small).patience_s(600).start();
    assert_eq!(daemon.line(), "ready");
    let ballast = daemon.process().proc("root").join(place.strip_prefix("/").unwrap()).join("ballast");
    assert!(ballast.exists(), "{}", ballast.display());
    workspace(&home, ["start", "w"]).output().succeeds();
    let script =
        format!("head -c {WRITTEN_MIB}M /dev/urandom > big && sha256sum big > sum && sync && echo written");
    let writing =
        workspace(&home, ["exec", "w", "-n", "--timeout-seconds", "500", "--", "sh", "-c", &script])
            .patience_s(500)
            .start();
    until("it stands still", || status(&home, "w")["stalled"].is_string());
    assert_eq!(status(&home, "w")["stalled"], "the host's disk is full");
    let refused = workspace(&home, ["stop", "w", "--json"]).output().fails_with("workspace_stalled");
    assert!(text_of(&refused, "hint").contains("goes on by itself"), "{refused}");
    assert_eq!(status(&home, "w")["state"], "started");

    fs::remove_file(&ballast).unwrap();
    writing.finish().succeeds().prints("written\n");
    assert_eq!(status(&home, "w")["stalled"], Value::Null);
    // Not only the guest's memory has it.
    workspace(&home, ["stop", "w"]).output().succeeds();
    workspace(&home, ["start", "w"]).output().succeeds();
    sh(&home, "sha256sum -c --quiet sum && echo whole").succeeds().prints("whole\n");

    workspace(&home, ["stop", "w"]).output().succeeds();
    home.pyro(["daemon", "stop"]).output().succeeds();
    daemon.finish().succeeds();
    // The small file system is gone, and what lay below it is there as it was.
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

/// Seconds since the epoch, as the guest has them beside the host's.
fn difference_s(home: &Home) -> u64 {
    let guest: u64 = sh(home, "date +%s").succeeds().text().trim().parse().unwrap();
    let host = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    guest.abs_diff(host)
}

#[test]
fn a_guest_that_is_taken_over_has_the_hosts_time() {
    let home = Home::warm();
    made(&home);
    assert!(difference_s(&home) < 30);
    // As a guest finds itself whose host has slept while no daemon ran.
    sh(&home, "date -s '2 hours ago'").succeeds();
    assert!(difference_s(&home) > 7000);
    home.stop_daemon();
    assert!(difference_s(&home) < 30);
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
