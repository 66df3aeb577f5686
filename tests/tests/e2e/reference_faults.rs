//! The faults of the reference, and the tests that show we do not have them.

use std::{collections::BTreeSet, process::Command};

/// Fault, what it was, and the tests of this suite that would fail if we had it.
const FAULTS: &[(&str, &str, &[&str])] = &[
    (
        "W1",
        "a file is missing in the package and every command crashes",
        &[
            "run::the_main_job_prints_gits_version_from_inside_a_guest",
            "doctor::a_good_host_passes_and_a_machine_was_really_run",
        ],
    ),
    (
        "W2",
        "the guest cannot be reached on most hosts",
        &["run::the_main_job_prints_gits_version_from_inside_a_guest"],
    ),
    (
        "W3",
        "a byte that is no UTF-8 makes the command run 48 times",
        &["bytes::a_byte_that_is_no_utf8_is_printed_once_by_one_execution"],
    ),
    (
        "W4",
        "a timeout is no 124 and loses the output",
        &["exit_status::a_timeout_is_124_and_keeps_what_was_printed"],
    ),
    (
        "W5",
        "an export of what is not there takes ten seconds and says something else",
        &[
            "reference_faults::what_is_not_there_is_told_at_once_and_what_is_sent_is_not_read_byte_by_byte",
            "workspace_transfer::an_export_stays_where_it_was_told_to_and_replaces_nothing",
        ],
    ),
    (
        "W6",
        "a snapshot with a link that leads up is taken, a reset to it fails, and the work is gone",
        &[
            "workspace_snapshots::a_reset_brings_back_every_kind_of_file_what_was_installed_and_what_ran",
            "workspace_snapshots::a_reset_that_fails_leaves_the_workspace_as_it_was",
        ],
    ),
    (
        "W7",
        "links that lead up, hard links, fifos and sockets make everything fail",
        &[
            "workspaces::a_seed_arrives_as_it_is_and_survives_a_stop",
            "workspace_transfer::a_hostile_seed_makes_no_workspace_and_an_odd_one_is_told_of",
            "workspace_transfer::an_export_stays_where_it_was_told_to_and_replaces_nothing",
            "workspace_transfer::a_pull_takes_what_only_the_guest_changed_and_a_push_what_it_is_told",
        ],
    ),
    (
        "W8",
        "modes and times are lost on every way, and a write makes every file 0600",
        &[
            "workspaces::a_seed_arrives_as_it_is_and_survives_a_stop",
            "workspace_seeds::a_seed_of_what_git_tracks_leaves_the_rest_at_home_and_times_are_kept",
            "workspace_contents::contents_are_read_and_written_in_parts_and_as_they_are",
            "workspace_snapshots::a_reset_brings_back_every_kind_of_file_what_was_installed_and_what_ran",
        ],
    ),
    (
        "W14",
        "its own differences do not apply again, nor those of git",
        &[
            "workspace_changes::a_difference_says_all_that_changed_and_git_makes_the_same_of_it",
            "workspace_files::what_git_and_diff_write_is_applied_and_what_we_write_git_applies",
        ],
    ),
    (
        "W15",
        "Ctrl-C leaves the machine and its directory for ever",
        &[
            "signals::a_signal_ends_the_run_its_machine_and_its_files",
            "signals::a_signal_before_the_command_begins_leaves_nothing_either",
            "signals::a_killed_client_leaves_nothing_behind",
        ],
    ),
    (
        "W16",
        "processes at once lose each other's state",
        &[
            "run::ten_runs_at_once_all_succeed_in_machines_of_their_own",
            "environments::ten_pulls_at_once_build_once_and_take_over_from_a_killed_builder",
            "workspaces::commands_of_four_callers_are_all_recorded_each_once",
        ],
    ),
    (
        "W17",
        "after a background job the command is outside the workspace",
        &["run::a_command_that_starts_with_a_background_job_stays_in_the_workspace"],
    ),
    (
        "W18",
        "doctor cannot report what is missing and exits 0",
        &[
            "doctor::a_host_without_qemu_is_told_the_command_that_installs_it",
            "doctor::a_host_that_cannot_make_an_environment_is_told_the_command",
            "doctor::a_home_that_cannot_be_written_is_told",
        ],
    ),
    (
        "W21",
        "tracebacks instead of JSON errors",
        &[
            "json::every_command_answers_a_failure_with_one_json_object",
            "refusals::a_missing_command_is_a_usage_error_with_an_example",
        ],
    ),
    (
        "W22",
        "flags after the environment are refused, a quoted line is one word",
        &[
            "arguments::flags_are_understood_in_any_position_before_the_dashes",
            "arguments::one_argument_with_white_space_is_a_shell_line",
        ],
    ),
    (
        "W25",
        "a reused pid is taken for the machine",
        &[
            "host_faults::a_daemon_that_is_killed_leaves_no_machine_to_the_next_one",
            "host_faults::a_stranger_with_the_pid_of_a_lost_machine_is_left_alone",
        ],
    ),
    (
        "W26",
        "a write is no activity, and looking at a log is",
        &["lifetimes::a_machine_outlives_its_daemon_and_ends_by_itself_when_nobody_comes"],
    ),
    (
        "W27",
        "a refused request leaves directories",
        &["refusals::a_refusal_starts_no_machine_and_needs_no_daemon"],
    ),
    (
        "W28",
        "a run that fails is not cleaned up",
        &[
            "fault_points::a_disk_that_is_full_on_the_way_of_a_run_is_told_and_leaves_nothing",
            "fault_points::a_daemon_killed_on_the_way_of_a_run_leaves_nothing_to_the_next_one",
            "host_faults::a_vmm_that_is_killed_is_a_lost_machine",
        ],
    ),
    (
        "P1",
        "two seconds of sleep in every start",
        &["reference_faults::a_warm_run_is_far_below_the_references_floor"],
    ),
    (
        "P2",
        "readiness is found out by asking again and again",
        &["reference_faults::a_warm_run_is_far_below_the_references_floor"],
    ),
    (
        "P3",
        "half a second until the program has begun",
        &["reference_faults::the_program_itself_starts_at_once"],
    ),
    (
        "P4",
        "a whole copy of the root for every machine",
        &["reference_faults::a_machine_copies_nothing_of_its_root"],
    ),
    (
        "P5",
        "six helper programs for every start",
        &["reference_faults::a_machine_copies_nothing_of_its_root"],
    ),
    (
        "P6",
        "while a command runs the guest does nothing else",
        &["reference_faults::nobody_waits_for_a_command_or_for_a_guest_that_hangs"],
    ),
    (
        "P7",
        "what is sent to the guest is read byte by byte",
        &["reference_faults::what_is_not_there_is_told_at_once_and_what_is_sent_is_not_read_byte_by_byte"],
    ),
    (
        "W19",
        "names with blanks and long links of a stopped disk are lost",
        &["workspace_disk::a_stopped_disk_shows_what_the_guest_saw"],
    ),
    (
        "P14",
        "an exported disk has its holes filled",
        &["workspace_disk::a_disk_is_taken_out_whole_or_not_at_all"],
    ),
    (
        "P9",
        "one lock for everything, held while things are made",
        &[
            "run::ten_runs_at_once_all_succeed_in_machines_of_their_own",
            "reference_faults::a_list_is_answered_while_a_run_is_in_work",
        ],
    ),
    (
        "P10",
        "a difference reads, moves and compares everything",
        &["reference_faults::a_difference_reads_nothing_that_was_not_touched"],
    ),
    (
        "P16",
        "a guest that hangs fails the list of all",
        &["reference_faults::nobody_waits_for_a_command_or_for_a_guest_that_hangs"],
    ),
    (
        "P17",
        "a list of snapshots reads the whole seed",
        &["workspace_snapshots::a_list_of_snapshots_asks_nobody"],
    ),
    (
        "P20",
        "programs are read and digested on every start",
        &["reference_faults::a_warm_run_is_far_below_the_references_floor"],
    ),
];

/// Faults of parts that this release does not have, or that are shown in other suites.
const ELSEWHERE: &[(&str, &str)] = &[
    ("W9", "services"),
    ("W10", "services"),
    ("W11", "published ports"),
    ("W12", "shells"),
    ("W13", "redaction of outputs: this release takes no secrets"),
    ("W20", "scrubbing of disks: this release takes no secrets"),
    ("W23", "the demo with a model: `tests/smokes/test_demo.py`"),
    ("W24", "services"),
    ("P8", "calls side by side, a ping between them: `crates/pyro/tests/mcp/faults.rs`"),
    ("P11", "archives in memory: `crates/tree/tests` bound it, and nothing else packs"),
    ("P12", "shells"),
    ("P13", "a process for each directory of a stopped disk: `crates/disk` starts none"),
    ("P15", "port proxies"),
    ("P18", "round trips of a patch: the protocol has one request for all of it"),
    ("P19", "one payload in a result of a tool: `crates/pyro/tests/mcp/commands.rs`"),
    ("P21", "networks"),
];

#[test]
fn every_fault_of_the_reference_is_in_one_of_the_tables() {
    let told: Vec<&str> =
        FAULTS.iter().map(|(fault, ..)| *fault).chain(ELSEWHERE.iter().map(|(fault, _)| *fault)).collect();
    let unique: BTreeSet<String> = told.iter().map(|fault| (*fault).to_owned()).collect();
    assert_eq!(told.len(), unique.len(), "a fault is told twice");
    let all: BTreeSet<String> =
        (1..=28).map(|n| format!("W{n}")).chain((1..=21).map(|n| format!("P{n}"))).collect();
    assert_eq!(unique, all);
}

#[test]
fn every_test_that_the_table_names_exists() {
    let list =
        Command::new(std::env::current_exe().unwrap()).args(["--list", "--format=terse"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let tests: BTreeSet<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    for (fault, _, shown_by) in FAULTS {
        assert!(!shown_by.is_empty(), "{fault} is shown by no test");
        for test in *shown_by {
            assert!(tests.contains(test), "{fault} names `{test}`, which does not exist");
        }
    }
}

mod costs {
    //! The reference's costs, far from ours even on a busy host. Exact budgets belong to the benchmarks.

    use std::{fs, os::unix::fs::MetadataExt, time::Duration};

    use pyro_e2e::{ENVIRONMENT, Home, Invocation, LiveMachine, Outcome, Signal};

    /// What the reference needs for a run without any boot, seconds.
    const REFERENCE_FLOOR: Duration = Duration::from_millis(2660);

    fn fastest(times: usize, mut once: impl FnMut() -> Duration) -> Duration {
        (0..times).map(|_| once()).min().expect("at least once")
    }

    pub(super) fn warm_run() {
        let home = Home::warm();
        home.assert_works();
        let fastest = fastest(5, || home.run(["true"]).output().succeeds().took);
        assert!(fastest < REFERENCE_FLOOR, "{fastest:?}");
    }

    pub(super) fn program_start() {
        let home = Home::bare();
        let fastest = fastest(5, || home.pyro(["--version"]).output().succeeds().took);
        assert!(fastest < Duration::from_millis(250), "{fastest:?}");
    }

    pub(super) fn disk() {
        let home = Home::warm();
        let mut running = home.sh("echo began; read _").stdin_open().start();
        assert_eq!(running.line(), "began");
        let machine = home.machine();
        let allocated: u64 = fs::read_dir(&machine.directory)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512)
            .sum();
        assert!(allocated <= 4 << 20, "{} KiB for a machine that has done nothing", allocated >> 10);
        running.write("\n");
        running.finish().succeeds();
    }

    fn workspace(home: &Home, words: &[&str]) -> Invocation {
        home.pyro(["workspace"].iter().chain(words))
    }

    fn sh(home: &Home, script: &str) -> Outcome {
        workspace(home, &["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output().succeeds()
    }

    fn delete(home: &Home, name: &str) {
        workspace(home, &["delete", name, "--force"]).output().succeeds();
    }

    pub(super) fn missing_and_large() {
        let home = Home::warm();
        workspace(&home, &["create", ENVIRONMENT, "--name", "w"]).output().succeeds();
        let out = home.scratch().join("out");
        let out = out.to_str().unwrap();
        for words in [&["export", "w", "gone", "--output", out] as &[&str], &["file", "read", "w", "gone"]] {
            workspace(&home, words).json().output().within_s(5).fails_with("path_not_found");
        }
        // A read for each byte takes a second for each MiB where nothing is emulated.
        let large = home.scratch().join("large");
        fs::write(&large, vec![b'x'; 32 << 20]).unwrap();
        workspace(&home, &["file", "upload", "w", large.to_str().unwrap(), "large"])
            .output()
            .succeeds()
            .within_s(30);
        sh(&home, "stat -c %s large; rm large").prints("33554432\n");
        delete(&home, "w");
        home.wait_until_nothing_is_left();
    }

    pub(super) fn hanging() {
        let home = Home::warm();
        for name in ["w", "hangs"] {
            workspace(&home, &["create", ENVIRONMENT, "--name", name]).output().succeeds();
        }
        let [one, other] = home.machines().try_into().expect("two machines");
        let mut long =
            workspace(&home, &["exec", "w", "--", "sh", "-c", "echo began; read _"]).stdin_open().start();
        assert_eq!(long.line(), "began");
        // Which machine is whose is known by its host name, as the guest was told it.
        let id = workspace(&home, &["status", "hangs", "--json"]).output().json()["workspace_id"].clone();
        let belongs = |machine: &LiveMachine| {
            fs::read_to_string(machine.directory.join("workspace")).unwrap().trim() == id.as_str().unwrap()
        };
        let hung = if belongs(&one) { one } else { other };
        hung.vmm.signal(Signal::STOP);
        for words in [
            &["exec", "w", "-n", "--", "true"] as &[&str],
            &["file", "list", "w"],
            &["status", "w"],
            &["list"],
            &["status", "hangs"],
            &["logs", "hangs"],
        ] {
            workspace(&home, words).output().succeeds().within_s(5);
        }
        let listed = workspace(&home, &["list", "--state", "started", "--json"]).output().json();
        assert_eq!(listed["count"], 2, "{listed}");
        long.write("\n");
        long.finish().succeeds();
        hung.vmm.signal(Signal::CONT);
        for name in ["w", "hangs"] {
            delete(&home, name);
        }
        home.wait_until_nothing_is_left();
    }

    /// Sectors that were read from any disk.
    const SECTORS_READ: &str = "awk '$3 ~ /^vd[a-z]$/ { sum += $6 } END { print sum }' /proc/diskstats";

    pub(super) fn diff() {
        let home = Home::warm();
        let seed = home.scratch().join("seed");
        fs::create_dir(&seed).unwrap();
        fs::write(seed.join("touched"), "one\n").unwrap();
        let large: Vec<u8> =
            (0..8_u32 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(seed.join("large"), large).unwrap();
        workspace(&home, &["create", ENVIRONMENT, "--name", "w", "--seed-path", seed.to_str().unwrap()])
            .output()
            .succeeds();
        // Nothing is in memory, so what is looked at is read from the disk.
        let read = |more: &str| -> u64 {
            let script = format!("{more} sync; echo 3 > /proc/sys/vm/drop_caches; {SECTORS_READ}");
            sh(&home, &script).text().trim().parse().unwrap()
        };
        let before = read("echo two > touched;");
        let changed = workspace(&home, &["diff", "w", "--name-only"]).output().succeeds();
        changed.prints("touched\n");
        let by_diff = read("") - before;
        let by_reading = read("cat large > /dev/null;") - before - by_diff;
        assert!(by_reading > 60_000, "{by_reading} sectors of a file of 32 MiB: the measure is no measure");
        assert!(by_diff < by_reading / 2, "{by_diff} sectors for a difference of one line");
        delete(&home, "w");
        home.wait_until_nothing_is_left();
    }

    pub(super) fn list() {
        let home = Home::warm();
        let mut running = home.sh("echo began; read _").stdin_open().start();
        assert_eq!(running.line(), "began");
        home.pyro(["env", "list"]).output().succeeds().within_s(5);
        running.write("\n");
        running.finish().succeeds();
    }
}

#[test]
fn a_warm_run_is_far_below_the_references_floor() {
    costs::warm_run();
}

#[test]
fn the_program_itself_starts_at_once() {
    costs::program_start();
}

#[test]
fn a_machine_copies_nothing_of_its_root() {
    costs::disk();
}

#[test]
fn a_list_is_answered_while_a_run_is_in_work() {
    costs::list();
}

#[test]
fn what_is_not_there_is_told_at_once_and_what_is_sent_is_not_read_byte_by_byte() {
    costs::missing_and_large();
}

#[test]
fn nobody_waits_for_a_command_or_for_a_guest_that_hangs() {
    costs::hanging();
}

#[test]
fn a_difference_reads_nothing_that_was_not_touched() {
    costs::diff();
}
