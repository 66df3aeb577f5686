//! `pyro env`: list, inspect, pull, import, prune.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pyro_e2e::{Home, Invocation, Running, Signal, text_of, wait_until};
use serde_json::Value;

use super::fault_points::{full_at, killed_at};

/// Fault points on the way to an environment, reached below.
pub(crate) const FAULT_POINTS: [&str; 9] = [
    "environment.partial-made",
    "environment.builder-starting",
    "environment.archive-written",
    "environment.archive-kept",
    "environment.kernel-written",
    "environment.image-written",
    "environment.recorded",
    "environment.archive-removed",
    "environment.installed",
];

/// Keys of an environment in the contract.
const KEYS: [&str; 16] = [
    "name",
    "version",
    "description",
    "default_packages",
    "distribution",
    "distribution_version",
    "platform",
    "oci_registry",
    "oci_repository",
    "oci_reference",
    "source_digest",
    "compatibility",
    "catalog_version",
    "installed",
    "cache_dir",
    "install_dir",
];

#[track_caller]
fn assert_contract(environment: &Value) {
    let members = environment.as_object().expect("an object");
    for key in KEYS {
        assert!(members.contains_key(key), "no `{key}` in {environment}");
    }
    assert_eq!(members.contains_key("install_manifest"), environment["installed"] == true, "{environment}");
    if environment["installed"] == true {
        assert!(Path::new(&text_of(environment, "install_manifest")).exists(), "{environment}");
        let digest = text_of(environment, "source_digest");
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    }
}

#[test]
fn the_list_names_the_three_environments_and_says_which_are_installed() {
    let home = Home::warm();
    let list = home.pyro(["env", "list", "--json"]).output().succeeds().result();
    let environments = list["environments"].as_array().expect("a list");
    assert!(list["catalog_version"].is_string());
    let names: Vec<String> = environments.iter().map(|environment| text_of(environment, "name")).collect();
    for known in ["debian:12", "debian:12-base", "debian:12-build"] {
        assert!(names.iter().any(|name| name == known), "{known} is not in {names:?}");
    }
    for environment in environments {
        assert_contract(environment);
    }
    let installed = environments.iter().find(|environment| environment["name"] == "debian:12").unwrap();
    assert_eq!(installed["installed"], true);
    let human = home.pyro(["env", "list"]).output().succeeds();
    assert!(
        human.lines().iter().any(|line| line.contains("debian:12") && line.contains("installed")),
        "{human}"
    );
}

#[test]
fn inspect_and_pull_of_an_installed_environment_agree() {
    let home = Home::warm();
    let inspected = home.pyro(["env", "inspect", "debian:12", "--json"]).output().succeeds().result();
    assert_contract(&inspected);
    let verified =
        home.pyro(["env", "inspect", "debian:12", "--verify", "--json"]).output().succeeds().result();
    assert_eq!(verified["verified"], true);
    let pulled = home.pyro(["env", "pull", "debian:12", "--json"]).output().succeeds().within_s(10).result();
    for key in KEYS {
        assert_eq!(pulled[key], inspected[key], "{key}");
    }
    for key in ["kernel_image", "rootfs_image"] {
        assert!(Path::new(&text_of(&pulled, key)).is_file(), "{key} of {pulled}");
    }
    let human = home.pyro(["env", "pull", "debian:12"]).output().succeeds();
    human.complains("[pull] phase=ready environment=debian:12");
}

#[test]
fn in_an_empty_cache_nothing_is_installed_and_nothing_is_pruned() {
    let home = Home::bare();
    let list = home.pyro(["env", "list", "--json"]).output().succeeds().result();
    for environment in list["environments"].as_array().unwrap() {
        assert_contract(environment);
        assert_eq!(environment["installed"], false, "{environment}");
    }
    let pruned = home.pyro(["env", "prune", "--json"]).output().succeeds().result();
    assert_eq!(
        pruned,
        serde_json::json!({"count": 0, "deleted_environment_dirs": [], "templates_removed": 0})
    );
}

#[test]
fn prune_removes_what_is_unfinished_and_no_installed_environment() {
    let home = Home::with_own_environment();
    let before = home.pyro(["env", "inspect", "debian:12", "--json"]).output().succeeds().result();
    let installed = PathBuf::from(text_of(&before, "install_dir"));
    let stranger = installed.with_file_name("no-such-0.0.1");
    fs::create_dir(&stranger).unwrap();
    fs::write(stranger.join("vmlinux"), "not one").unwrap();
    let pruned = home.pyro(["env", "prune", "--json"]).output().succeeds().result();
    assert_eq!(pruned["deleted_environment_dirs"], serde_json::json!(["no-such-0.0.1"]));
    assert_eq!(pruned["count"], 1);
    assert!(!stranger.exists());
    home.pyro(["env", "inspect", "debian:12", "--verify"]).output().succeeds();
    home.assert_works();
}

/// A tar archive of a root file system small enough to be imported in a moment: what a shell and the kernel need,
/// taken out of a guest.
fn root_archive(home: &Home) -> PathBuf {
    let path = home.scratch().join("root.tar");
    let script = "cd / && exec tar --ignore-failed-read -cf - bin sbin lib lib64 etc/os-release usr/lib/os-release etc/passwd etc/group \
                  boot/vmlinuz* usr/bin/sh usr/bin/dash usr/bin/bash usr/bin/cat usr/bin/true usr/bin/uname usr/lib64 \
                  usr/lib/x86_64-linux-gnu/ld-* usr/lib/x86_64-linux-gnu/libc.so* usr/lib/x86_64-linux-gnu/libtinfo* \
                  usr/lib/modules/*/modules.dep usr/lib/modules/*/modules.builtin usr/lib/modules/*/kernel/fs \
                  usr/lib/modules/*/kernel/lib usr/lib/modules/*/kernel/net/core usr/lib/modules/*/kernel/crypto \
                  usr/lib/modules/*/kernel/drivers/virtio usr/lib/modules/*/kernel/drivers/block \
                  usr/lib/modules/*/kernel/drivers/char usr/lib/modules/*/kernel/drivers/net";
    home.sh(script)
        .timeout_s(120)
        .patience_s(180)
        .stdout(fs::File::create(&path).unwrap())
        .output()
        .succeeds();
    path
}

/// `pyro env import mine ARCHIVE --json`.
fn import(home: &Home, archive: &Path) -> Invocation {
    home.pyro(["env", "import", "mine"]).flag(archive).json()
}

#[test]
fn a_root_file_system_can_be_imported_and_run() {
    let home = Home::with_own_environment();
    let archive = root_archive(&home);
    let imported = import(&home, &archive).output().succeeds().result();
    assert_eq!(imported["name"], "mine");
    assert_contract(&imported);
    home.pyro(["env", "inspect", "mine", "--verify"]).output().succeeds();
    let outcome = home.pyro(["run", "mine"]).command(["cat", "/etc/os-release"]).output().succeeds();
    assert!(outcome.text().contains("bookworm"), "{outcome}");
    let listed = home.pyro(["env", "list", "--json"]).output().succeeds().result();
    assert!(
        listed["environments"].as_array().unwrap().iter().any(|environment| environment["name"] == "mine")
    );
}

#[test]
fn a_directory_can_be_imported_as_well() {
    let home = Home::with_own_environment();
    let archive = root_archive(&home);
    let directory = home.scratch().join("root");
    fs::create_dir(&directory).unwrap();
    let unpacked = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&directory).status().unwrap();
    assert!(unpacked.success());
    import(&home, &directory).output().succeeds();
    home.pyro(["env", "inspect", "mine", "--verify"]).output().succeeds();
}

#[test]
fn what_is_no_root_file_system_is_refused_as_an_import() {
    let home = Home::bare();
    let empty = home.scratch().join("empty");
    fs::create_dir(&empty).unwrap();
    import(&home, &empty).output().exits(1).without_traceback().fails_with("environment_failed");
    let text = home.scratch().join("text");
    fs::write(&text, "no archive at all").unwrap();
    import(&home, &text).output().exits(1).without_traceback().fails_with("environment_failed");
    let missing = home.scratch().join("missing.tar");
    import(&home, &missing).output().exits(1).without_traceback().fails_with("file_failed");
    for reserved in ["oci:mine", "debian:12", "../mine"] {
        let outcome = home.pyro(["env", "import", reserved, "--json"]).flag(&empty).output();
        assert_ne!(outcome.code(), 0, "{reserved}: {outcome}");
        assert_eq!(outcome.json()["ok"], false, "{outcome}");
    }
}

#[test]
fn a_builder_that_dies_or_finds_the_disk_full_leaves_an_environment_or_none() {
    let home = Home::with_own_environment();
    let archive = root_archive(&home);
    home.stop_daemon();
    for point in FAULT_POINTS {
        full_at(&home, point, import(&home, &archive)).fails_with("disk_full");
        assert_whole_or_absent(&home, point);
        killed_at(&home, point, import(&home, &archive)).fails_with("daemon_lost");
        assert_whole_or_absent(&home, point);
    }
    import(&home, &archive).output().succeeds();
    home.pyro(["env", "inspect", "mine", "--verify"]).output().succeeds();
    let pruned = home.pyro(["env", "prune", "--json"]).output().succeeds().result();
    assert_eq!(pruned["count"], 0, "something was left: {pruned}");
}

#[track_caller]
fn assert_whole_or_absent(home: &Home, point: &str) {
    let outcome = home.pyro(["env", "inspect", "mine", "--verify", "--json"]).output();
    if outcome.code() != 0 {
        let failure = outcome.fails_with("unknown_environment");
        assert_eq!(failure["retryable"], false, "at {point}: {outcome}");
    }
    home.stop_daemon();
}

/// A directory with an `mmdebstrap` that notes each of its runs, and the PATH in which it comes first.
fn counting_mmdebstrap(home: &Home) -> (PathBuf, String) {
    let directory = home.scratch().join("programs");
    fs::create_dir(&directory).unwrap();
    let runs = home.scratch().join("runs-of-mmdebstrap");
    let program = directory.join("mmdebstrap");
    fs::write(
        &program,
        format!("#!/bin/sh\necho run >> '{}'\nexec /usr/bin/mmdebstrap \"$@\"\n", runs.display()),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (runs, format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", directory.display()))
}

#[test]
fn ten_pulls_at_once_build_once_and_take_over_from_a_killed_builder() {
    let home = Home::bare();
    let (runs, path) = counting_mmdebstrap(&home);
    // The builder is killed when the minutes of downloading and unpacking are behind it.
    let mut daemon = home
        .pyro(["daemon", "serve"])
        .env("PYRO_FAULT", "environment.archive-kept=kill")
        .env("PATH", &path)
        .patience_s(900)
        .start();
    assert_eq!(daemon.line(), "ready");
    let pull = || home.pyro(["env", "pull", "debian:12-base", "--json"]).env("PATH", &path).patience_s(900);
    pull().output().fails_with("daemon_lost");
    daemon.finish().exits(137);

    let pulls: Vec<Running> = (0..10).map(|_| pull().start()).collect();
    let results: Vec<Value> = pulls.into_iter().map(|running| running.finish().succeeds().result()).collect();
    assert!(results.iter().all(|result| result == &results[0]), "{results:?}");
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n", "mmdebstrap ran again");
    home.pyro(["env", "inspect", "debian:12-base", "--verify"]).output().succeeds();
    let pruned = home.pyro(["env", "prune", "--json"]).output().succeeds().result();
    assert_eq!(pruned["count"], 0, "something was left: {pruned}");
}

#[test]
fn an_interrupted_pull_stops_its_builder() {
    let home = Home::bare();
    let (runs, path) = counting_mmdebstrap(&home);
    for signal in [Signal::INT, Signal::KILL] {
        let running = home.pyro(["env", "pull", "debian:12-base"]).env("PATH", &path).start();
        wait_until("mmdebstrap runs", home.scratch(), Duration::from_secs(60), || runs.exists());
        running.signal(signal);
        let outcome = running.finish();
        assert_ne!(outcome.code(), 0, "{outcome}");
        fs::remove_file(&runs).unwrap();
    }
    // That no process of the builder is left is asserted when the home is dropped.
    let inspected = home.pyro(["env", "inspect", "debian:12-base", "--json"]).output().succeeds().result();
    assert_eq!(inspected["installed"], false);
}
