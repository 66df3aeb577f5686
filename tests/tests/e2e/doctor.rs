//! `pyro doctor`: works on the most broken host, says what is missing and the command that mends it.

use std::fs;

use pyro_e2e::{Home, Outcome, mount_wrapper};
use serde_json::Value;

/// The check of that name.
#[track_caller]
fn check(report: &Value, name: &str) -> Value {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check `{name}` in {checks:?}")).clone()
}

/// Asserts that the check failed, that the report as a whole says so, and that the mend contains `part`.
#[track_caller]
fn assert_missing(outcome: &Outcome, name: &str, part: &str) {
    assert_ne!(outcome.code(), 0, "{outcome}");
    let report = outcome.json();
    assert_eq!(report["runtime_ok"], false, "{outcome}");
    assert!(!report["issues"].as_array().expect("issues").is_empty(), "{outcome}");
    let check = check(&report, name);
    assert_eq!((&check["ok"], &check["required"]), (&Value::Bool(false), &Value::Bool(true)), "{check}");
    assert!(
        check["mend"].as_str().is_some_and(|mend| mend.contains(part)),
        "the mend of {check} lacks {part:?}"
    );
}

#[test]
fn a_good_host_passes_and_a_machine_was_really_run() {
    let home = Home::warm();
    let outcome = home.pyro(["doctor", "--json"]).output().succeeds();
    let report = outcome.json();
    assert_eq!(report["runtime_ok"], true, "{outcome}");
    for key in ["platform", "runtime_ok", "issues", "kvm", "networking", "runtime"] {
        assert!(report.get(key).is_some(), "no `{key}`: {outcome}");
    }
    for key in ["exists", "readable", "writable", "accelerates"] {
        assert!(report["kvm"][key].is_boolean(), "no `kvm.{key}`: {outcome}");
    }
    for key in ["supports_vm_boot", "supports_guest_exec"] {
        assert_eq!(report["runtime"]["capabilities"][key], true, "{outcome}");
    }
    assert!(
        report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["detail"].as_str().unwrap().contains("true")),
        "{outcome}"
    );
    assert!(home.daemon().is_none(), "doctor started a daemon");
    home.wait_until_nothing_is_left();
}

#[test]
fn kvm_that_is_there_and_useless_is_no_issue() {
    let home = Home::warm();
    let report = home.pyro(["doctor", "--json"]).output().succeeds().json();
    let kvm = check(&report, "kvm");
    assert_eq!(kvm["required"], false);
    if report["kvm"]["accelerates"] == false {
        let result = home.run(["true"]).json().output().succeeds().result();
        assert_eq!(result["isolation"], "emulated");
    }
}

#[test]
fn it_works_beside_a_daemon_that_runs() {
    let home = Home::warm();
    home.assert_works();
    home.pyro(["doctor"]).output().succeeds().without_traceback();
    home.assert_works();
}

#[test]
fn a_host_without_qemu_is_told_the_command_that_installs_it() {
    let home = Home::warm();
    let outcome =
        home.pyro(["doctor", "--json"]).env("PYRO_QEMU", "/nowhere/qemu").output().without_traceback();
    assert_missing(&outcome, "qemu", "PYRO_QEMU");
    let hidden = without("qemu-system-x86_64");
    let outcome = home.pyro(["doctor", "--json"]).under(hidden).output().without_traceback();
    assert_missing(&outcome, "qemu", "apt");
    home.pyro(["doctor"]).env("PYRO_QEMU", "/nowhere/qemu").output().exits(1).without_traceback();
}

#[test]
fn a_host_that_cannot_make_an_environment_is_told_the_command() {
    let home = Home::bare();
    let hidden = without("mmdebstrap");
    let outcome = home.pyro(["doctor", "--json"]).under(hidden).output().without_traceback();
    assert_missing(&outcome, "mmdebstrap", "apt");
}

#[test]
fn a_home_that_cannot_be_written_is_told() {
    let home = Home::bare();
    let file = home.scratch().join("file");
    fs::write(&file, "in the way").unwrap();
    let outcome =
        home.pyro(["doctor", "--json"]).env("PYRO_HOME", file.join("pyro")).output().without_traceback();
    assert_ne!(outcome.code(), 0, "{outcome}");
    let report = outcome.json();
    assert_eq!(report["runtime_ok"], false, "{outcome}");
    assert!(outcome.text().contains(file.to_str().unwrap()), "{outcome}");
}

#[test]
fn a_damaged_template_is_mended_or_told_and_never_a_traceback() {
    let home = Home::warm();
    let record = home.installed_templates().remove(0).join("template.json");
    fs::remove_file(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let outcome = home.pyro(["doctor", "--json"]).output().without_traceback();
    let report = outcome.json();
    assert_eq!(outcome.code() == 0, report["runtime_ok"] == true, "{outcome}");
    home.assert_works();
}

#[test]
fn an_unknown_platform_is_refused() {
    let home = Home::bare();
    let outcome = home.pyro(["doctor", "--platform", "vax-vms", "--json"]).output().without_traceback();
    assert_ne!(outcome.code(), 0, "{outcome}");
}

/// A wrapper on whose host a program is missing.
fn without(program: &str) -> Vec<String> {
    mount_wrapper(&format!("mount --bind /dev/null \"$(command -v {program})\""), "exec \"$@\"")
}
