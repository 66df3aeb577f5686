//! A machine that is killed on the way of a snapshot, of sleep, a reset or a fork: the workspace has the files of before or of
//! after and every snapshot that it had.

use pyro_e2e::{Home, Invocation, Outcome, Signal, text_of};

use super::{
    snapshot_faults::{FORK, RESET, SLEEP, SNAPSHOT, WAKE, is, prepared, words},
    snapshots::{delete_all, go_back, names, sh, workspace},
    workspace_faults::{names as workspaces, status},
};

/// Makes the request of a daemon that stands still at the point while one of the machines is killed; and how many there were.
fn lost_at(home: &Home, point: &str, which: usize, request: Invocation) -> (Outcome, usize) {
    let mut daemon = home.pyro(["daemon", "serve"]).env("PYRO_FAULT", format!("{point}=stop")).start();
    assert_eq!(daemon.line(), "ready");
    let asked = request.start();
    daemon.process().assert_stops(point);
    let machines = home.machines();
    machines[which].vmm.signal(Signal::KILL);
    machines[which].vmm.assert_ends("the killed VMM");
    daemon.signal(Signal::CONT);
    let outcome = asked.finish();
    home.stop_daemon();
    daemon.finish().succeeds();
    (outcome, machines.len())
}

/// Kills each of the machines that there are at the points, one at a time, and looks at what becomes of it.
fn each_lost(points: &[&str], request: impl Fn(&Home) -> Invocation, look: impl Fn(&Home, &Outcome, &str)) {
    let home = prepared();
    home.tolerate_errors_in_the_log();
    for point in points {
        let mut which = 0;
        loop {
            sh(&home, "w", "echo new > f; echo new > /dev/shm/m; sync").succeeds();
            home.stop_daemon();
            let asked = request(&home);
            home.stop_daemon();
            let (outcome, count) = lost_at(&home, point, which, asked);
            let at = format!("machine {which} of {count} at {point}: {outcome}");
            look(&home, &outcome, &at);

            assert_eq!(names(&home), ["baseline", "old"], "{at}");
            go_back(&home, "w", "old");
            is(&home, "old", &at);
            assert_eq!(home.machines().len(), 1, "{at}");
            which += 1;
            if which == count {
                break;
            }
        }
    }
    delete_all(&home);
}

/// The workspace can be used, as it is or started anew, and has this in its file.
#[track_caller]
fn has(home: &Home, name: &str, word: &str, at: &str) {
    if text_of(&status(home, name), "state") == "stopped" {
        workspace(home, ["start", name]).output().succeeds();
    }
    assert_eq!(sh(home, name, "cat f").succeeds().text(), format!("{word}\n"), "{at}");
}

#[test]
fn a_machine_that_is_lost_while_it_is_captured_costs_no_file_and_no_snapshot() {
    let take = |home: &Home| words(home, &["snapshot", "create", "w", "s"]);
    each_lost(&SNAPSHOT, take, |home, outcome, at| {
        let is_there = names(home).contains(&"s".to_owned());
        assert_eq!(is_there, outcome.code() == 0, "{at}");
        has(home, "w", "new", at);
        if is_there {
            go_back(home, "w", "s");
            is(home, "new", at);
            workspace(home, ["snapshot", "delete", "w", "s"]).output().succeeds();
        }
    });
}

#[test]
fn a_machine_that_is_lost_on_the_way_to_sleep_or_back_costs_no_file() {
    let slept = |home: &Home, outcome: &Outcome, at: &str| {
        let state = text_of(&status(home, "w"), "state");
        assert_eq!(state == "sleeping", outcome.code() == 0, "{at}: {state}");
        has(home, "w", "new", at);
    };
    each_lost(&SLEEP, |home| words(home, &["sleep", "w"]), slept);
    let wake = |home: &Home| {
        workspace(home, ["sleep", "w"]).output().succeeds();
        words(home, &["start", "w"])
    };
    each_lost(&WAKE, wake, |home, _, at| has(home, "w", "new", at));
}

#[test]
fn a_machine_that_is_lost_in_a_reset_leaves_what_was_or_what_was_gone_back_to() {
    let count = |home: &Home| status(home, "w")["reset_count"].as_u64().unwrap();
    let known = std::cell::Cell::new(0);
    let reset = |home: &Home| {
        known.set(count(home));
        words(home, &["reset", "w", "--snapshot", "old"])
    };
    each_lost(&RESET, reset, |home, outcome, at| {
        let is_made = count(home) == known.get() + 1;
        assert!(is_made || (outcome.code() != 0 && count(home) == known.get()), "{at}");
        has(home, "w", if is_made { "old" } else { "new" }, at);
    });
}

#[test]
fn a_machine_that_is_lost_in_a_fork_leaves_all_twins_or_none_and_the_parent() {
    let fork = |home: &Home| words(home, &["fork", "w", "--count", "2", "--name-prefix", "t"]);
    each_lost(&FORK, fork, |home, outcome, at| {
        has(home, "w", "new", at);
        let mut twins = workspaces(home);
        twins.retain(|name| name != "w");
        assert_eq!(twins.len(), if outcome.code() == 0 { 2 } else { 0 }, "{at}");
        for twin in twins {
            has(home, &twin, "new", at);
            workspace(home, ["delete", &twin, "--force"]).output().succeeds();
        }
    });
}
