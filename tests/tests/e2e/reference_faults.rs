//! The faults of the reference that touch `run`, `env` or `doctor`, and the tests that show we do not have them.

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
        "P9",
        "one lock for everything, held while things are made",
        &[
            "run::ten_runs_at_once_all_succeed_in_machines_of_their_own",
            "reference_faults::a_list_is_answered_while_a_run_is_in_work",
        ],
    ),
    (
        "P20",
        "programs are read and digested on every start",
        &["reference_faults::a_warm_run_is_far_below_the_references_floor"],
    ),
];

/// Faults of parts that this release does not have, or that a test on the host cannot show here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("W5", "export of a path"),
    ("W6", "snapshots"),
    ("W7", "archives"),
    ("W8", "modes in archives"),
    ("W9", "services"),
    ("W10", "services"),
    ("W11", "published ports"),
    ("W12", "shells"),
    ("W13", "redaction"),
    ("W14", "patches"),
    ("W19", "disk tools"),
    ("W20", "scrubbing of disks"),
    ("W23", "the ollama demo"),
    ("W24", "services"),
    ("W26", "activity of workspaces"),
    ("P6", "many requests to one agent: unit tests of the guest, which serves many at once"),
    ("P7", "reading requests byte by byte: unit tests of the protocol"),
    ("P8", "MCP"),
    ("P10", "diff"),
    ("P11", "archives"),
    ("P12", "shells"),
    ("P13", "disk tools"),
    ("P14", "disk export"),
    ("P15", "port proxies"),
    ("P16", "lists of workspaces"),
    ("P17", "snapshots"),
    ("P18", "patches"),
    ("P19", "MCP"),
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

    use pyro_e2e::Home;

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
