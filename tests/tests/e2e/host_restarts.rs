//! The host starts again: every process is gone, and so is what lay in memory. Workspaces are not.

use std::{fs, time::Duration};

use pyro_e2e::{ENVIRONMENT, Home, Signal, wait_until};
use serde_json::Value;

use super::{
    snapshots::{delete_all, sh, workspace},
    workspace_faults::status,
};

/// What a start of the host leaves: the disk.
fn host_starts_again(home: &Home) {
    let machines = home.machines();
    home.kill_daemon();
    machines.iter().for_each(|machine| machine.vmm.signal(Signal::KILL));
    machines.iter().for_each(|machine| machine.vmm.assert_ends("the killed VMM"));
    fs::remove_dir_all(home.runtime_directory()).unwrap();
}

/// Writes a number to a file in memory, again and again; nothing but this process knows it.
const COUNTER: &str = "n=0; while :; do n=$((n + 1)); echo $n > /run/counted; sleep 0.1; done";

#[test]
fn what_slept_sleeps_on_and_what_ran_is_stopped_with_its_files() {
    let home = Home::warm();
    let names = ["asleep", "stopped", "running"];
    for (name, ttl) in names.iter().zip(["601", "602", "603"]) {
        workspace(&home, ["create", ENVIRONMENT, "--name", name, "--ttl-seconds", ttl]).output().succeeds();
        sh(&home, name, &format!("echo {name} > f; mkdir -p d/d; echo deep > d/d/f; sync")).succeeds();
    }
    for name in ["asleep", "running"] {
        let counter = workspace(&home, ["exec", name, "--detach"]).timeout_s(0);
        counter.command(["sh", "-c", COUNTER]).output().succeeds();
        sh(&home, name, "until test -s /run/counted; do sleep 0.1; done; echo x > /dev/shm/x").succeeds();
    }
    workspace(&home, ["stop", "stopped"]).output().succeeds();
    workspace(&home, ["sleep", "asleep"]).output().succeeds();
    host_starts_again(&home);

    let states: Vec<Value> = names.iter().map(|name| status(&home, name)).collect();
    let told = |key: &str| states.iter().map(|status| status[key].clone()).collect::<Vec<_>>();
    assert_eq!(told("state"), ["sleeping", "stopped", "stopped"]);
    assert_eq!(told("ttl_seconds"), [601, 602, 603]);
    assert_eq!(states[1]["stop_reason"], "requested", "{states:?}");
    assert_eq!(states[2]["stop_reason"], "machine_lost", "{states:?}");
    assert_eq!(home.machines().len(), 0);
    let lost = workspace(&home, ["job", "wait", "running", "c2", "--json"]).output().json();
    assert_eq!(lost["state"], "unknown", "{lost}");

    // Time only stops what has a machine, and that of another one passes meanwhile.
    workspace(&home, ["update", "asleep", "--ttl-seconds", "1"]).output().succeeds();
    workspace(&home, ["update", "stopped", "--ttl-seconds", "1"]).output().succeeds();
    workspace(&home, ["start", "stopped"]).output().succeeds();
    wait_until("it expires", &home.machines_directory(), Duration::from_secs(60), || {
        status(&home, "stopped")["stop_reason"] == "expired"
    });
    assert_eq!(status(&home, "asleep")["state"], "sleeping");
    for (name, ttl) in [("asleep", "601"), ("stopped", "602")] {
        workspace(&home, ["update", name, "--ttl-seconds", ttl]).output().succeeds();
    }
    assert_eq!(status(&home, "asleep")["state"], "sleeping");

    // It counts on.
    let counted = "cat f d/d/f /dev/shm/x; n=$(cat /run/counted); until test $(cat /run/counted) -gt $n; do sleep 0.1; done";
    sh(&home, "asleep", counted).succeeds().prints("asleep\ndeep\nx\n");
    assert_eq!(status(&home, "asleep")["running_command_count"], 1);
    for name in ["stopped", "running"] {
        workspace(&home, ["start", name]).output().succeeds();
        sh(&home, name, "cat f d/d/f; test ! -e /run/counted").succeeds().prints(format!("{name}\ndeep\n"));
    }
    delete_all(&home);
}
