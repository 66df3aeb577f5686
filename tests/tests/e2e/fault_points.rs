//! Every fault point, reached in a real daemon: killed there, or told there that the disk is full, it leaves
//! before or after and never between.

use std::collections::BTreeSet;

use pyro_e2e::{Home, Invocation, Outcome};

/// Points on the way of one run from an installed template.
const RUN: [&str; 7] = [
    "machine.directory-made",
    "machine.disk-made",
    "machine.started",
    "machine.ready",
    "run.command-started",
    "run.command-ended",
    "machine.killed",
];

/// Points on the way to a template.
const TEMPLATE: [&str; 4] = ["template.disk-made", "template.booted", "template.saved", "template.installed"];

#[test]
fn every_point_that_the_program_has_is_reached_by_a_test_here() {
    let home = Home::bare();
    let outcome = home.pyro(["daemon", "fault-points"]).output().succeeds();
    let there: BTreeSet<String> = outcome.lines().into_iter().collect();
    let others = super::environments::FAULT_POINTS
        .iter()
        .chain(super::workspace_faults::points())
        .chain(super::snapshot_faults::points())
        .chain(super::transfer_faults::points())
        .chain(super::workspace_archives::points());
    let reached = RUN.iter().chain(&TEMPLATE).chain(others);
    assert_eq!(there, reached.map(|point| (*point).to_owned()).collect());
}

#[test]
fn a_daemon_killed_on_the_way_of_a_run_leaves_nothing_to_the_next_one() {
    let home = Home::warm();
    for point in RUN {
        let outcome = killed_at(&home, point, home.run(["true"]).json());
        outcome.fails_with("daemon_lost");
        home.assert_works();
        home.wait_until_nothing_is_left();
        home.stop_daemon();
    }
}

#[test]
fn a_disk_that_is_full_on_the_way_of_a_run_is_told_and_leaves_nothing() {
    let home = Home::warm();
    for point in RUN {
        full_at(&home, point, home.run(["true"]).json()).fails_with("disk_full");
        home.wait_until_nothing_is_left();
    }
    home.assert_works();
}

#[test]
fn a_daemon_killed_while_it_builds_a_template_leaves_none_or_a_whole_one() {
    for point in TEMPLATE {
        let home = Home::cold();
        killed_at(&home, point, small(&home)).fails_with("daemon_lost");
        assert_small_works(&home);
    }
}

#[test]
fn a_disk_that_is_full_while_a_template_is_built_is_told_and_leaves_none() {
    let home = Home::cold();
    for point in TEMPLATE {
        full_at(&home, point, small(&home)).fails_with("disk_full");
        home.wait_until_nothing_is_left();
        assert_eq!(unfinished(&home), [] as [String; 0], "at {point}");
    }
    assert_small_works(&home);
}

/// A run in the smallest machine, whose template is built soonest.
fn small(home: &Home) -> Invocation {
    home.run(["echo", "fine"]).json().flag("--mem-mib").flag("256")
}

fn assert_small_works(home: &Home) {
    let outcome = small(home).output().succeeds();
    assert_eq!(outcome.result()["start"], "restored", "{outcome}");
    home.wait_until_nothing_is_left();
    assert_eq!(unfinished(home), [] as [String; 0]);
    assert_eq!(home.installed_templates().len(), 1);
}

/// Templates that never became whole.
fn unfinished(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.templates()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".partial")).collect()
}

/// Makes the request of a daemon that is killed at the point; fails if it is never reached. Before the point other faults
/// may be named, with commas, that lead to it.
pub(crate) fn killed_at(home: &Home, point: &str, request: Invocation) -> Outcome {
    let mut daemon = home.pyro(["daemon", "serve"]).env("PYRO_FAULT", format!("{point}=kill")).start();
    assert_eq!(daemon.line(), "ready");
    let outcome = request.output();
    assert!(outcome.code() != 0, "{point} was never reached: {outcome}");
    // Killed by nobody but itself: its status says SIGKILL, and it ended before anyone asked it to.
    assert!(
        daemon.process().ends_within(std::time::Duration::from_secs(30)),
        "{point} was never reached: {outcome}"
    );
    daemon.finish().exits(137);
    outcome
}

/// Makes the request of a daemon for which the disk is full at the point; fails if it is never reached.
pub(crate) fn full_at(home: &Home, point: &str, request: Invocation) -> Outcome {
    let mut daemon = home.pyro(["daemon", "serve"]).env("PYRO_FAULT", format!("{point}=disk-full")).start();
    assert_eq!(daemon.line(), "ready");
    let outcome = request.output();
    assert!(outcome.code() != 0, "{point} was never reached: {outcome}");
    home.stop_daemon();
    daemon.finish().succeeds();
    outcome
}
