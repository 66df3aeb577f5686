//! The host fails: each fault ends in a clear error with a stable code, nothing is left, and the next run works.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use pyro_e2e::{Home, LiveMachine, Running, Signal, mount_wrapper, warm};
use serde_json::Value;

/// More than all buffers between a caller's pipe and a guest's command hold.
const SWALLOWED_BYTES: usize = 16 << 20;

/// A run with `--json` whose command has begun: it has swallowed input that nothing on the way could have kept.
pub(crate) fn begun(home: &Home) -> (Running, LiveMachine) {
    let script = format!("head -c {SWALLOWED_BYTES} > /dev/null; sleep 600");
    let mut running = home.sh(&script).json().stdin_open().timeout_s(600).start();
    running.write(vec![0; SWALLOWED_BYTES]);
    let machine = home.machine();
    (running, machine)
}

#[test]
fn a_vmm_that_is_killed_is_a_lost_machine() {
    let home = Home::warm();
    let (running, machine) = begun(&home);
    machine.vmm.signal(Signal::KILL);
    let outcome = running.finish().exits(1).within_s(60);
    let failure = outcome.fails_with("machine_lost");
    assert_eq!(failure["work_started"], true, "{outcome}");
    assert!(failure["hint"].is_string(), "{outcome}");
    home.wait_until_nothing_is_left();
    home.assert_works();
}

#[test]
fn a_daemon_that_is_killed_leaves_no_machine_to_the_next_one() {
    let home = Home::warm();
    let (running, machine) = begun(&home);
    home.kill_daemon();
    running.finish().exits(1).fails_with("daemon_lost");
    machine.assert_gone();
    home.assert_works();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_stranger_with_the_pid_of_a_lost_machine_is_left_alone() {
    let home = Home::warm();
    let (running, machine) = begun(&home);
    let daemon = home.daemon().expect("a daemon");
    // Neither may see the other's end: each would clear up.
    daemon.signal(Signal::STOP);
    running.signal(Signal::KILL);
    let _killed = running.finish();
    home.kill_daemon();
    machine.vmm.signal(Signal::KILL);
    machine.vmm.assert_ends("the killed VMM");

    // As after a reboot: the number belongs to somebody else now.
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let record = machine.directory.join("runtime.json");
    let mut runtime: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    runtime["process"]["pid"] = stranger.id().into();
    fs::write(&record, serde_json::to_vec(&runtime).unwrap()).unwrap();
    home.assert_works();
    assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_host_without_qemu_is_told_what_to_install() {
    let home = Home::warm();
    let outcome = home
        .run(["true"])
        .json()
        .env("PYRO_QEMU", "/nowhere/qemu-system-x86_64")
        .output()
        .exits(1)
        .without_traceback();
    let failure = outcome.fails_with("host_requirement");
    assert!(failure["error"].as_str().unwrap().contains("/nowhere/qemu-system-x86_64"), "{outcome}");
    home.tolerate_errors_in_the_log();
}

#[test]
fn a_lost_runtime_directory_does_not_lose_the_daemon() {
    let home = Home::warm();
    home.assert_works();
    let daemon = home.daemon().expect("a daemon");
    fs::remove_dir_all(home.runtime_directory()).unwrap();
    home.assert_works();
    assert!(daemon.is_alive(), "the daemon ended with its socket");
    assert_eq!(home.daemon().map(|process| process.pid()), Some(daemon.pid()));
}

#[test]
fn a_runtime_directory_lost_during_a_run_does_not_lose_the_run() {
    let home = Home::warm();
    let mut running = home.sh("echo began; read _; echo ended").stdin_open().start();
    assert_eq!(running.line(), "began");
    fs::remove_dir_all(home.runtime_directory()).unwrap();
    running.write("\n");
    running.finish().succeeds().prints("began\nended\n");
    home.assert_works();
}

#[test]
fn a_home_with_a_path_of_two_hundred_characters_works() {
    let home = Home::with_path_of(200);
    home.assert_works();
}

#[test]
fn a_home_with_spaces_and_quotes_in_its_path_works() {
    let home = Home::with_path_named("my 'own', \"home\"=1");
    home.assert_works();
}

#[test]
fn a_template_that_was_damaged_is_built_again() {
    for (file, damage) in [("memory", flip as fn(&Path)), ("state", truncate), ("template.json", truncate)] {
        let home = Home::warm();
        let template = home.installed_templates().remove(0);
        let path = template.join(file);
        warm::unshare_file(&path);
        damage(&path);
        home.assert_works();
        assert_eq!(home.installed_templates(), [template]);
        home.stop_daemon();
        home.assert_works();
    }
}

#[test]
fn a_restore_that_fails_becomes_a_boot_that_says_so_and_the_next_run_restores() {
    let home = Home::warm();
    home.tolerate_errors_in_the_log();
    home.assert_works();
    let state = home.installed_templates().remove(0).join("state");
    warm::unshare_file(&state);
    fs::write(&state, vec![0; 60_000]).unwrap();
    let outcome = home.run(["echo", "fine"]).json().output().succeeds();
    assert_eq!(outcome.result()["start"], "booted", "{outcome}");
    assert_eq!(outcome.result()["stdout"], "fine\n", "{outcome}");
    home.assert_works();
}

#[test]
fn a_template_that_is_deleted_under_the_daemon_is_made_again() {
    let home = Home::warm();
    home.assert_works();
    let template = home.installed_templates().remove(0);
    fs::remove_dir_all(&template).unwrap();
    home.assert_works();
    assert_eq!(home.installed_templates(), [template]);
}

#[test]
fn a_vmm_that_hangs_is_ended_by_the_next_daemon() {
    let home = Home::warm();
    let (running, machine) = begun(&home);
    machine.vmm.signal(Signal::STOP);
    home.kill_daemon();
    running.finish().fails_with("daemon_lost");
    machine.assert_gone();
    home.assert_works();
    home.wait_until_nothing_is_left();
}

#[test]
fn an_environment_that_was_damaged_is_refused_and_verify_names_the_file() {
    let home = Home::with_own_environment();
    let pulled = home.pyro(["env", "pull", "debian:12", "--json"]).output().succeeds().result();
    for key in ["kernel_image", "rootfs_image"] {
        let path = Path::new(pulled[key].as_str().unwrap()).to_owned();
        assert!(path.starts_with(home.environments()), "{}", path.display());
        warm::unshare_file(&path);
        flip(&path);
        let outcome = home.pyro(["env", "inspect", "debian:12", "--verify", "--json"]).output().exits(1);
        let failure = outcome.fails_with("environment_damaged");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(failure["error"].as_str().unwrap().contains(name), "{name} is not named: {outcome}");
        flip(&path);
        home.pyro(["env", "inspect", "debian:12", "--verify"]).output().succeeds();
    }
    let root = Path::new(pulled["rootfs_image"].as_str().unwrap()).to_owned();
    truncate(&root);
    home.stop_daemon();
    let outcome = home.run(["true"]).json().output();
    outcome.fails_with("environment_damaged");
}

#[test]
fn a_full_disk_is_told_as_such_and_leaves_nothing() {
    let home = Home::bare();
    let outcome = home
        .run(["true"])
        .json()
        .env("PYRO_ENVIRONMENT_CACHE_DIR", warm::warm().environments.as_os_str())
        .under(on_a_small_disk(home.path()))
        .output();
    outcome.fails_with("disk_full");
    assert!(outcome.errors().contains("left: none"), "{outcome}");
}

/// A wrapper that runs its arguments with 24 MiB at `directory`, stops the daemon and tells what is left.
fn on_a_small_disk(directory: &Path) -> Vec<String> {
    fs::create_dir_all(directory).unwrap();
    let directory = directory.display();
    let mount = format!("mount -t tmpfs -o size=24m,mode=0700 small '{directory}'");
    let inside = format!(
        "\"$@\"; code=$?; \"$1\" daemon stop > /dev/null 2>&1; \
         left=$(ls -d '{directory}'/data/machines/* '{directory}'/data/templates/.partial-* 2> /dev/null | tr '\\n' ' '); \
         echo \"left: ${{left:-none}}\" >&2; exit $code"
    );
    mount_wrapper(&mount, &inside)
}

/// Changes one byte in the middle of the file's data; the second time it changes it back.
fn flip(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    // The first data in a sparse file.
    let from = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
    let place = from + 2000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 0xff], place).unwrap();
}

fn truncate(path: &Path) {
    warm::unshare_file(path);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let length = fs::metadata(path).unwrap().size();
    File::options().write(true).open(path).unwrap().set_len(length / 2).unwrap();
}
