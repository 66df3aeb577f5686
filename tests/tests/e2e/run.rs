//! The main job: a command in a real machine, first cold, then warm.

use pyro_e2e::{ENVIRONMENT, Home, text_of};

#[test]
fn the_main_job_prints_gits_version_from_inside_a_guest() {
    let home = Home::warm();
    let outcome = home.run(["git", "--version"]).output().succeeds();
    assert!(outcome.text().starts_with("git version 2."), "{outcome}");
    let outcome = outcome.complains("[run] phase=create environment=debian:12");
    let outcome = outcome.complains("[run] phase=start vm_id=").complains("[run] phase=execute vm_id=");
    outcome.complains("exit_code=0");
}

#[test]
fn the_guest_has_a_kernel_of_its_own() {
    let home = Home::warm();
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let outcome =
        home.sh("uname -r; cat /proc/1/comm; cat /proc/sys/kernel/random/boot_id").output().succeeds();
    let lines = outcome.lines();
    assert!(lines[0].contains("cloud"), "not the distribution's cloud kernel: {outcome}");
    assert_ne!(lines[0], host.trim(), "{outcome}");
    let host_boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_ne!(lines[2], host_boot.trim(), "{outcome}");
}

#[test]
fn a_cold_home_builds_one_template_and_every_run_restores_from_it() {
    let home = Home::cold();
    let first = home.run(["true"]).json().flag("--mem-mib").flag("256").output().succeeds();
    assert_eq!(first.result()["start"], "restored", "{first}");
    let templates = home.installed_templates();
    assert_eq!(templates.len(), 1, "{templates:?}");
    let built = std::fs::metadata(templates[0].join("template.json")).unwrap().modified().unwrap();

    let second = home.run(["true"]).json().flag("--mem-mib").flag("256").output().succeeds();
    assert_eq!(second.result()["start"], "restored", "{second}");
    home.stop_daemon();
    let third = home.run(["true"]).json().flag("--mem-mib").flag("256").output().succeeds();
    assert_eq!(third.result()["start"], "restored", "{third}");
    assert_eq!(home.installed_templates(), templates);
    let now = std::fs::metadata(templates[0].join("template.json")).unwrap().modified().unwrap();
    assert_eq!(now, built, "the template was built again");
}

#[test]
fn sizes_asked_for_are_the_sizes_the_guest_has() {
    let home = Home::warm();
    let script = "nproc; sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo";
    // The first machine of this size: it is booted, and two emulated processors wait for each other on a busy host.
    let run = home.sh(script).flag("--vcpu-count").flag("2").flag("--mem-mib").flag("512").patience_s(400);
    let outcome = run.output().succeeds();
    let lines = outcome.lines();
    assert_eq!(lines[0], "2", "{outcome}");
    let mib = lines[1].parse::<u64>().unwrap() / 1024;
    assert!((400..=512).contains(&mib), "{mib} MiB: {outcome}");
}

#[test]
fn a_result_says_what_isolated_it_as_it_was_measured() {
    let home = Home::warm();
    let result = home.run(["true"]).json().output().succeeds().result();
    let report = home.pyro(["doctor", "--json"]).output().json();
    let measured = if report["kvm"]["accelerates"] == true { "kvm" } else { "emulated" };
    assert_eq!(result["isolation"], measured);
}

#[test]
fn cwd_env_and_user_are_what_was_asked_for() {
    let home = Home::warm();
    let script = "pwd; printf '%s\\n' \"$GREETING\" \"$EMPTY\"; id -un";
    let invocation = home.sh(script).flag("--cwd").flag("/tmp").flag("--env").flag("GREETING=a b=c");
    let outcome = invocation.flag("--env").flag("EMPTY=").flag("--user").flag("nobody").output();
    outcome.succeeds().prints("/tmp\na b=c\n\nnobody\n");
}

#[test]
fn nothing_of_the_callers_environment_reaches_the_guest() {
    let home = Home::warm();
    let outcome =
        home.run(["env"]).env("SECRET_OF_THE_HOST", "leaked").env("LD_PRELOAD", "").output().succeeds();
    let names: Vec<String> =
        outcome.lines().iter().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    for name in ["SECRET_OF_THE_HOST", "PYRO_HOME", "PYRO_ENVIRONMENT_CACHE_DIR"] {
        assert!(!names.iter().any(|known| known == name), "{name} is in {outcome}");
    }
    assert!(names.iter().any(|name| name == "PATH"), "{outcome}");
}

#[test]
fn a_command_that_starts_with_a_background_job_stays_in_the_workspace() {
    let home = Home::warm();
    home.run(["sleep 0 & pwd"]).output().succeeds().prints("/workspace\n");
}

#[test]
fn a_background_child_that_holds_the_output_does_not_keep_the_run() {
    let home = Home::warm();
    home.sh("sleep 1000 & echo started").output().succeeds().prints("started\n").within_s(25);
}

#[test]
fn allow_host_compat_is_accepted_and_runs_nothing_on_the_host() {
    let home = Home::warm();
    let witness = home.scratch().join("witness");
    let script = format!("uname -n; touch {} 2>/dev/null; true", witness.display());
    let outcome = home.sh(&script).flag("--allow-host-compat").output().succeeds();
    assert!(outcome.text().starts_with("pyro-"), "{outcome}");
    assert!(!witness.exists(), "the command ran on the host");
}

#[test]
fn ten_runs_at_once_all_succeed_in_machines_of_their_own() {
    let home = Home::warm();
    let start = |number: usize| home.run(["echo", &number.to_string()]).json().patience_s(240).start();
    let running: Vec<_> = (0..10).map(start).collect();
    let mut ids: Vec<String> = Vec::new();
    for (number, run) in running.into_iter().enumerate() {
        let outcome = run.finish().succeeds();
        let result = outcome.result();
        assert_eq!(result["stdout"], format!("{number}\n"), "{outcome}");
        assert_eq!(result["start"], "restored", "{outcome}");
        ids.push(text_of(&result, "vm_id"));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10, "{ids:?}");
}

#[test]
fn demo_does_the_whole_life_cycle() {
    let home = Home::warm();
    let outcome = home.pyro(["demo"]).output().succeeds();
    let result = outcome.result();
    assert_eq!(result["environment"], ENVIRONMENT);
    assert_eq!(result["exit_code"], 0, "{outcome}");
    assert!(text_of(&result, "stdout").starts_with("git version 2."), "{outcome}");
    assert_eq!(result["cleanup"]["deleted"], true, "{outcome}");
}
