//! Hostile and unlucky guests: each ends in a clear result or error, and the host is none the worse for it.

use std::{io::Read, os::unix::fs::MetadataExt};

use pyro_e2e::Home;

/// Most memory that the daemon may ever need, whatever a guest prints. Its template's memory is shared and not counted
/// on the peak of a run.
const DAEMON_BOUND_MIB: u64 = 400;
/// Most memory that a client may ever need.
const CLIENT_BOUND_MIB: u64 = 80;

#[test]
fn a_guest_that_floods_its_output_costs_bounded_memory() {
    let home = Home::warm();
    home.assert_works();
    let daemon = home.daemon().expect("a daemon");
    let before = daemon.peak_resident_mib().expect("a living daemon");
    let outcome = home.run(["yes"]).timeout_s(8).patience_s(90).output().exits(124);
    assert!(outcome.stdout_total > 1 << 20, "{outcome}");
    assert!(outcome.peak_resident_mib < CLIENT_BOUND_MIB, "client: {} MiB", outcome.peak_resident_mib);
    let after = daemon.peak_resident_mib().expect("a living daemon");
    assert!(after < before + 64 && after < DAEMON_BOUND_MIB, "daemon: {before} MiB, then {after} MiB");
}

#[test]
fn a_flood_that_nobody_reads_is_held_back_in_the_guest() {
    let home = Home::warm();
    home.assert_works();
    let daemon = home.daemon().expect("a daemon");
    let mut running = home.run(["yes"]).timeout_s(6).patience_s(90).unread().start();
    let mut reader = running.take_stdout();
    running.error_line_with("phase=execute");
    // The summary comes at the end of the run; until then nothing is read.
    let machine = home.machine();
    machine.vmm.ends_within(std::time::Duration::from_secs(60));
    let peak = daemon.peak_resident_mib().expect("a living daemon");
    assert!(peak < DAEMON_BOUND_MIB, "daemon: {peak} MiB");
    std::io::copy(&mut reader.by_ref(), &mut std::io::sink()).unwrap();
    let outcome = running.finish();
    assert_eq!(outcome.code(), 124, "{outcome}");
}

#[test]
fn a_fork_bomb_is_killed_at_its_timeout() {
    let home = Home::warm();
    let script = "echo began; bomb() { bomb | bomb & }; bomb; sleep 1000";
    home.run(["bash", "-c", script]).timeout_s(5).output().exits(124).within_s(60).prints("began\n");
    home.assert_works();
}

#[test]
fn a_guest_that_fills_its_disk_is_told_so_and_the_host_keeps_its_own() {
    let home = Home::warm();
    let script = "free=$(df --output=avail -B1 /workspace | tail -n1); fallocate -l $((free - 20000000)) /workspace/most; \
                  head -c 100000000 /dev/zero > /workspace/rest; code=$?; echo code=$code; read _; exit $code";
    let mut running = home.sh(script).timeout_s(60).stdin_open().start();
    assert_eq!(running.line(), "code=1");
    let machine = home.machine();
    let allocated: u64 = std::fs::read_dir(&machine.directory)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512)
        .sum();
    assert!(allocated < 600 << 20, "{} MiB on the host", allocated >> 20);
    running.write("\n");
    running.finish().exits(1).complains("No space left on device");
}

#[test]
fn a_guest_that_fills_its_memory_loses_its_command_and_not_its_agent() {
    let home = Home::warm();
    let script = "echo began; exec tail /dev/zero";
    let outcome = home.sh(script).json().timeout_s(90).patience_s(150).output().exits(137);
    let result = outcome.result();
    assert_eq!(result["stdout"], "began\n", "{outcome}");
    assert_eq!(result["signal"], 9, "{outcome}");
    assert_eq!(result["out_of_memory"], true, "{outcome}");
}

#[test]
fn a_command_that_closes_its_output_and_lives_on_is_waited_for() {
    let home = Home::warm();
    home.sh("echo before; exec >&- 2>&-; sleep 2; exit 5").output().exits(5).prints("before\n");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_at_its_timeout() {
    let home = Home::warm();
    let script = "trap '' TERM INT HUP QUIT; echo began; while :; do sleep 1; done";
    home.sh(script).timeout_s(3).output().exits(124).within_s(40).prints("began\n");
}

#[test]
fn killing_every_process_of_the_guest_does_not_end_the_agent() {
    let home = Home::warm();
    let script = "sleep 1000 & kill -9 -1; kill -9 1; kill -15 1; kill -2 1; echo the agent lives";
    home.run(["bash", "-c", script]).output().succeeds().prints("the agent lives\n");
}

#[test]
fn garbage_in_the_agents_own_port_ends_in_a_result_or_a_clear_error() {
    let home = Home::warm();
    // The port can be open once only, so a guest's root takes the agent's own descriptor (pidfd_open, pidfd_getfd).
    let script = r#"
        my $agent = syscall(434, 1, 0);
        die "no handle on the agent: $!" if $agent < 0;
        my $found = 0;
        for my $number (0 .. 255) {
            my $copy = syscall(438, $agent, $number, 0);
            next if $copy < 0;
            my $name = readlink("/proc/self/fd/$copy") // "";
            next unless $name =~ m{^/dev/(vport|virtio-ports)};
            $found = 1;
            open(my $port, ">&=", $copy) or die;
            open(my $noise, "<", "/dev/urandom") or die;
            for (1 .. 32) { sysread($noise, my $bytes, 4096); syswrite($port, $bytes); }
        }
        print "found=$found\n";
    "#;
    let outcome =
        home.run(["perl", "-e", script]).json().timeout_s(20).patience_s(90).output().without_traceback();
    match outcome.code() {
        // Resynchronised, or the agent let nobody near its port.
        0 => drop(outcome.result()),
        255 | 124 => drop(outcome.result()),
        _ => drop(outcome.fails_with("guest_misbehaved")),
    }
    home.wait_until_nothing_is_left();
    home.assert_works();
}

#[test]
fn a_guest_that_powers_itself_off_is_a_lost_machine() {
    let home = Home::warm();
    let power_off = "syscall(169, 0xfee1dead, 672274793, 0x4321fedc)";
    let outcome = home.run(["perl", "-e", power_off]).json().output().exits(1).without_traceback();
    let failure = outcome.fails_with("machine_lost");
    assert_eq!(failure["work_started"], true, "{outcome}");
    home.wait_until_nothing_is_left();
}

#[test]
fn a_guest_whose_kernel_panics_is_a_lost_machine() {
    let home = Home::warm();
    let outcome = home
        .sh("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60")
        .json()
        .output()
        .exits(1);
    outcome.fails_with("machine_lost");
    home.wait_until_nothing_is_left();
}

#[test]
fn control_characters_of_a_guest_reach_the_terminal_only_as_its_own_output() {
    let home = Home::warm();
    let outcome = home.run(["no-such\u{1b}[31mprogram"]).output().exits(127);
    assert!(!outcome.stderr.contains(&0x1b), "an escape sequence in a message of ours: {outcome}");
}
