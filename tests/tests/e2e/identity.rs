//! Machines restored from one template are individuals.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{SystemTime, UNIX_EPOCH},
};

use pyro_e2e::{Home, Running};

fn lines(running: &mut Running, count: usize) -> Vec<String> {
    (0..count).map(|_| running.line()).collect()
}

#[test]
fn two_clones_at_once_differ_in_everything_that_must_differ() {
    let home = Home::warm();
    let script = "od -An -N16 -tx1 /dev/urandom; cat /proc/sys/kernel/random/uuid; uname -n; cat /etc/machine-id; \
                  perl -e 'print rand(), \"\\n\"'; read _";
    let mut one = home.sh(script).stdin_open().start();
    let mut two = home.sh(script).stdin_open().start();
    let (first, second) = (lines(&mut one, 5), lines(&mut two, 5));
    for (what, (first, second)) in ["random bytes", "uuid", "host name", "machine id", "a program's seed"]
        .iter()
        .zip(first.iter().zip(&second))
    {
        assert!(!first.is_empty() && first != second, "{what} of both clones: {first}");
    }
    assert_eq!(first[3].len(), 32, "machine id {}", first[3]);
    let ids: Vec<String> = home.machines().into_iter().map(|machine| machine.id).collect();
    assert!(ids.iter().any(|id| first[2] == format!("pyro-{id}")), "host name {} of {ids:?}", first[2]);
    for mut running in [one, two] {
        running.write("\n");
        running.finish().succeeds();
    }
}

#[test]
fn the_clock_of_a_clone_is_the_hosts() {
    let home = Home::warm();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let mut running = home.sh("date +%s.%N; read _; date +%s.%N").stdin_open().start();
    let compare = |running: &mut Running| {
        let guest: f64 = running.line().parse().unwrap();
        let host = now();
        assert!((host - guest).abs() < 2.0, "guest {guest}, host {host}");
    };
    compare(&mut running);
    running.write("\n");
    compare(&mut running);
    running.finish().succeeds();
}

#[test]
fn clones_do_not_see_each_others_disks() {
    let home = Home::warm();
    let mut one = home
        .sh("echo mine > /workspace/mine; echo mine > /root/mine; sync; echo written; read _")
        .stdin_open()
        .start();
    assert_eq!(one.line(), "written");
    home.sh("ls /workspace /root/mine 2>/dev/null; true").output().succeeds().prints("/workspace:\n");
    one.write("\n");
    one.finish().succeeds();
    home.sh("ls -A /workspace").output().succeeds().prints("");
}

#[test]
fn clones_change_nothing_of_their_template() {
    let home = Home::warm();
    home.sh("head -c 50000000 /dev/urandom > /root/noise; sync; rm -rf /usr/share /workspace; sync")
        .output()
        .succeeds();
    let [template] = &home.installed_templates()[..] else { panic!("one template") };
    let identity = |name: &str| {
        fs::metadata(template.join(name)).map(|about| (about.ino(), about.mtime(), about.blocks())).unwrap()
    };
    let before = ["memory", "state", "disk.raw", "template.json"].map(identity);
    // The next daemon compares every byte with the recorded digests before it uses the template.
    home.stop_daemon();
    home.assert_works();
    assert_eq!(
        before,
        ["memory", "state", "disk.raw", "template.json"].map(identity),
        "the template was built again"
    );
}

#[test]
fn a_clone_has_a_writable_root_and_an_empty_workspace() {
    let home = Home::warm();
    let script = "touch /usr/bin/new /etc/new /workspace/new && ls /workspace && df --output=size -B1M /workspace | tail -n1";
    let outcome = home.sh(script).output().succeeds();
    let lines = outcome.lines();
    assert_eq!(lines[0], "new", "{outcome}");
    assert!(lines[1].trim().parse::<u64>().unwrap() >= 1000, "{outcome}");
}
