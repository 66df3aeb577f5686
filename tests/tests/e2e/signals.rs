//! Whoever asked for a run goes away: the guest's command ends and nothing is left, no process, no file.

use pyro_e2e::{Home, LiveMachine, Running, Signal};

/// A run whose command has begun and would last forever.
fn endless(home: &Home) -> (Running, LiveMachine) {
    let mut running =
        home.sh("trap '' TERM INT HUP; echo began; while :; do sleep 1; done").timeout_s(600).start();
    assert_eq!(running.line(), "began");
    (running, home.machine())
}

#[test]
fn a_signal_ends_the_run_its_machine_and_its_files() {
    let home = Home::warm();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (running, machine) = endless(&home);
        running.signal(signal);
        running.finish().exits(status).within_s(40);
        machine.assert_gone();
        home.wait_until_nothing_is_left();
    }
    home.assert_works();
}

#[test]
fn a_signal_before_the_command_begins_leaves_nothing_either() {
    let home = Home::warm();
    let mut running = home.sh("sleep 600").start();
    running.error_line_with("phase=create");
    running.signal(Signal::INT);
    running.finish().exits(130);
    home.wait_until_nothing_is_left();
}

#[test]
fn a_killed_client_leaves_nothing_behind() {
    let home = Home::warm();
    let (running, machine) = endless(&home);
    running.signal(Signal::KILL);
    running.finish().exits(137);
    machine.assert_gone();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_closed_standard_output_ends_the_run() {
    let home = Home::warm();
    let mut running = home.sh("while :; do echo more; done").timeout_s(600).unread().start();
    let reader = running.take_stdout();
    running.error_line_with("phase=execute");
    let machine = home.machine();
    drop(reader);
    let outcome = running.finish().exits(141).within_s(40).without_traceback();
    drop(outcome);
    machine.assert_gone();
    home.wait_until_nothing_is_left();
}

#[test]
fn an_interrupted_run_tells_its_end_in_json() {
    let home = Home::warm();
    let (running, machine) = super::host_faults::begun(&home);
    running.signal(Signal::INT);
    running.finish().exits(130).fails_with("cancelled");
    machine.assert_gone();
    home.wait_until_nothing_is_left();
}

#[test]
fn stopping_the_daemon_by_force_ends_its_runs() {
    let home = Home::warm();
    let (running, machine) = endless(&home);
    home.pyro(["daemon", "stop", "--json"]).output().fails_with("daemon_busy");
    assert!(machine.vmm.is_alive(), "a refused stop must not end anything");
    home.pyro(["daemon", "stop", "--force"]).output().succeeds();
    let outcome = running.finish();
    assert_ne!(outcome.code(), 0, "{outcome}");
    machine.assert_gone();
    home.wait_until_nothing_is_left();
}
