//! The program as a process: what it prints, how it exits, how its daemon comes and goes. Nothing here needs a machine.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, like the test")]

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A home of pyro's own, whose daemon ends with it.
struct Home {
    directory: TempDir,
    home: std::path::PathBuf,
}

impl Home {
    fn new() -> Self {
        Self::named("home")
    }

    fn named(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join(name);
        Self { directory, home }
    }

    fn pyro(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyro"));
        command.args(arguments).stdin(Stdio::null()).env_clear();
        command
            .env("PYRO_HOME", &self.home)
            .env("PATH", "/usr/bin:/bin")
            .env("PYRO_DAEMON_IDLE_SECONDS", "600");
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.pyro(arguments).output().unwrap()
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.pyro(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn daemon_pid(&self) -> Option<u64> {
        self.json(&["daemon", "status", "--json"])["pid"].as_u64()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.output(&["daemon", "stop", "--force"]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_version_is_there_at_once() {
    let home = Home::new();
    let quickest = (0..20)
        .map(|_| {
            let begin = Instant::now();
            let output = home.output(&["--version"]);
            assert_eq!(text(&output.stdout), format!("pyro {}\n", env!("CARGO_PKG_VERSION")));
            begin.elapsed()
        })
        .min()
        .unwrap();
    // Ten milliseconds are the budget of a release build on a quiet machine; the benchmark holds it to that.
    assert!(quickest < Duration::from_millis(50), "{quickest:?}");
    assert!(!home.home.exists(), "asking for the version must leave no trace");
}

#[test]
fn failures_are_json_when_json_is_asked_for() {
    let home = Home::new();
    for (arguments, code, status) in [
        (&["run", "--json", "debian:12"][..], "missing_command", 2),
        (&["run", "--json", "--vcpu-count", "9", "debian:12", "--", "true"], "invalid_size", 1),
        (&["run", "debian:12", "--mem-mib", "255", "--json", "--", "true"], "invalid_size", 1),
        (&["run", "debian:12", "--network", "--json", "--", "true"], "not_yet_supported", 1),
        (&["run", "oci:alpine", "--json", "--", "true"], "not_yet_supported", 1),
        (&["run", "--json", "--bogus", "debian:12", "--", "true"], "usage", 2),
        (&["env", "import", "mine", "/nonexistent", "--json"], "file_failed", 1),
        (&["daemon", "status", "--json"], "daemon_unavailable", 1),
    ] {
        let output = home.output(arguments);
        let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(error["code"], code, "{arguments:?}: {error}");
        assert_eq!(error["ok"], false);
        assert!(error["error"].is_string() && error["retryable"].is_boolean() && error.get("hint").is_some());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    }
    assert!(!home.home.exists(), "nothing is made for what cannot succeed");
}

#[test]
fn json_has_the_contracts_shape() {
    let home = Home::new();
    let output = home.output(&["run", "--json", "--vcpu-count", "9", "debian:12", "--", "true"]);
    let expected = r#"{
  "code": "invalid_size",
  "error": "vcpu_count must be from 1 to 8, not 9",
  "hint": null,
  "ok": false,
  "retryable": false
}
"#;
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn failures_are_lines_for_people_otherwise() {
    let home = Home::new();
    let output = home.output(&["run", "debian:12", "--network", "--", "true"]);
    assert!(output.stdout.is_empty());
    let told = text(&output.stderr);
    assert!(told.starts_with("[error] ") && told.contains("\nhint: "), "{told}");
    let output = home.output(&["run", "debian:12", "--bogus", "--", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("[error] unexpected argument '--bogus'"), "{output:?}");
    let output = home.output(&["daemon", "serve", "--"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_reader_that_has_gone_is_no_fault() {
    let home = Home::new();
    for arguments in [&["--help"][..], &["completions", "bash"], &["--version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = home.pyro(arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn help_completions_and_manual_pages_are_made() {
    let home = Home::new();
    let help = text(&home.output(&["help", "run"]).stdout);
    for flag in
        ["--vcpu-count", "--mem-mib", "--timeout-seconds", "--ttl-seconds", "--cwd", "--env", "--user"]
    {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(text(&home.output(&["--help"]).stdout).contains("doctor"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&home.output(&["completions", shell]).stdout).contains("vcpu-count"), "{shell}");
    }
    let output = home.output(&["man", home.directory.path().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for page in ["pyro.1", "pyro-run.1", "pyro-env-pull.1"] {
        assert!(home.directory.path().join(page).exists(), "{page}");
    }
}

#[test]
fn ten_clients_at_once_start_one_daemon() {
    let home = Home::new();
    let clients: Vec<Child> = (0..10).map(|_| home.spawn(&["env", "list", "--json"])).collect();
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["environments"].is_array());
    }
    let log = std::fs::read_to_string(home.home.join("data/daemon.log")).unwrap();
    let begun = log.lines().filter(|line| line.contains("begins")).count();
    assert_eq!(begun, 1, "{log}");
    assert!(home.daemon_pid().is_some());
}

#[test]
fn a_daemon_is_started_as_it_is_asked_to_be() {
    let home = Home::new();
    assert_eq!(home.output(&["daemon", "start", "--max-workspaces", "0"]).status.code(), Some(2));
    assert_eq!(home.daemon_pid(), None);
    let started = home.json(&["daemon", "start", "--max-workspaces", "7", "--json"]);
    let pid = started["pid"].as_u64().unwrap_or_else(|| panic!("{started}"));
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let limit = b"PYRO_MAX_WORKSPACES=7".as_slice();
    assert!(environment.split(|byte| *byte == 0).any(|variable| variable == limit));
    // It stays as it is, and is not taken for what was asked.
    assert_eq!(home.json(&["daemon", "start", "--json"])["pid"], pid);
    let refused = home.json(&["daemon", "start", "--max-workspaces", "8", "--json"]);
    assert_eq!(refused["code"], "daemon_busy", "{refused}");
}

#[test]
fn settings_are_shown_with_what_holds_where_nobody_set_them() {
    let home = Home::new();
    let setting = |command: &mut Command, name: &str| -> (String, String) {
        let shown: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let settings = shown["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["variable"] == name).unwrap().clone();
        let text = |key: &str| setting[key].as_str().unwrap_or_else(|| panic!("{setting}")).to_owned();
        (text("value"), text("source"))
    };
    let show = || home.pyro(&["config", "show", "--json"]);
    let default = |value: &str| (value.to_owned(), "default".to_owned());
    assert_eq!(setting(&mut show(), "PYRO_MAX_WORKSPACES"), default("100"));
    assert_eq!(setting(&mut show(), "PYRO_LOG"), default("info"));
    for drawn_from_the_host in ["PYRO_MEMORY_BUDGET_MIB", "PYRO_DISK_BUDGET_MIB"] {
        let (value, source) = setting(&mut show(), drawn_from_the_host);
        assert_eq!(source, "default");
        assert!((1..u64::MAX >> 20).contains(&value.parse().unwrap()), "{drawn_from_the_host}: {value}");
    }
    let set = setting(show().env("PYRO_MAX_WORKSPACES", "7"), "PYRO_MAX_WORKSPACES");
    assert_eq!(set, ("7".to_owned(), "environment".to_owned()));
}

#[test]
fn a_home_of_two_hundred_characters_works() {
    let home = Home::named(&"h".repeat(200));
    assert!(home.json(&["env", "list", "--json"])["environments"].is_array());
    assert!(home.daemon_pid().is_some());
}

#[test]
fn a_daemon_that_ended_is_replaced() {
    let home = Home::new();
    home.json(&["env", "list", "--json"]);
    let first = home.daemon_pid().unwrap();
    let stopped = home.json(&["daemon", "stop", "--json"]);
    assert_eq!(stopped["pid"].as_u64(), Some(first));
    home.json(&["env", "list", "--json"]);
    assert_ne!(home.daemon_pid().unwrap(), first);
}

#[test]
fn a_killed_daemon_is_replaced() {
    let home = Home::new();
    home.json(&["env", "list", "--json"]);
    let first = home.daemon_pid().unwrap();
    let killed = Command::new("kill").args(["-KILL", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    home.json(&["env", "list", "--json"]);
    assert_ne!(home.daemon_pid().unwrap(), first);
}

#[test]
fn a_lost_runtime_directory_does_not_lose_the_daemon() {
    let home = Home::new();
    home.json(&["env", "list", "--json"]);
    let first = home.daemon_pid().unwrap();
    std::fs::remove_dir_all(home.home.join("run")).unwrap();
    // The next client starts a daemon, which finds that there is one and waits for its socket.
    assert!(home.json(&["env", "list", "--json"])["environments"].is_array());
    assert_eq!(home.daemon_pid().unwrap(), first);
}

#[test]
fn what_is_kept_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    home.json(&["env", "list", "--json"]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for directory in ["data", "run"] {
        assert_eq!(mode(&home.home.join(directory)), 0o700, "{directory}");
    }
    for file in ["run/daemon.sock", "data/daemon.log", "data/daemon.lock"] {
        assert_eq!(mode(&home.home.join(file)) & 0o077, 0, "{file}");
    }
}

#[test]
fn the_daemon_keeps_nothing_of_its_starter() {
    let home = Home::new();
    home.json(&["env", "list", "--json"]);
    let process = format!("/proc/{}", home.daemon_pid().unwrap());
    assert_eq!(std::fs::read_link(format!("{process}/cwd")).unwrap(), Path::new("/"));
    for (descriptor, target) in [(0, "/dev/null".into()), (1, home.home.join("data/daemon.log"))] {
        assert_eq!(std::fs::read_link(format!("{process}/fd/{descriptor}")).unwrap(), target);
    }
    let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap();
    let after_name: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!(after_name[3], home.daemon_pid().unwrap().to_string(), "it leads a session of its own");
}

#[test]
fn the_daemon_may_open_many_files_whatever_its_starter_may() {
    let home = Home::new();
    let line = r#"ulimit -S -n 256 && exec "$0" env list --json"#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_pyro")]).env_clear().env("PYRO_HOME", &home.home);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", home.daemon_pid().unwrap())).unwrap();
    let open_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let numbers: Vec<u64> = open_files.split_whitespace().map_while(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1].min(65_536), "{open_files}");
}

#[test]
fn the_daemon_sees_off_the_orphans_that_it_adopts() {
    let home = Home::new();
    let programs = home.directory.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    // A QEMU that leaves an orphan behind, which says its number and ends when it is told.
    let (orphan, end) = (home.directory.path().join("orphan"), home.directory.path().join("end"));
    assert!(Command::new("mkfifo").arg(&orphan).arg(&end).status().unwrap().success());
    let qemu = programs.join("qemu");
    let script = "#!/bin/sh\n\
        (sh -c 'echo $$ > ORPHAN; exec timeout 60 cat END' >/dev/null 2>&1 &)\n\
        exit 1\n";
    let script = script.replace("ORPHAN", orphan.to_str().unwrap()).replace("END", end.to_str().unwrap());
    std::fs::write(&qemu, script).unwrap();
    std::fs::set_permissions(&qemu, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let started = home.pyro(&["env", "list"]).env("PYRO_QEMU", &qemu).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let told = Command::new("timeout").args(["20", "cat"]).arg(&orphan).output().unwrap();
    let pid = text(&told.stdout);
    assert!(!pid.is_empty(), "that QEMU was never started");
    let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let parent = format!("PPid:\t{}\n", home.daemon_pid().unwrap());
    assert!(status.contains(&parent), "not adopted: {status}");
    std::fs::write(&end, "now\n").unwrap();
    let begin = Instant::now();
    while process.exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "a zombie");
        std::thread::yield_now();
    }
}

#[test]
fn a_log_that_cannot_be_written_harms_nobody() {
    let home = Home::new();
    std::fs::create_dir_all(home.home.join("data")).unwrap();
    std::os::unix::fs::symlink("/dev/full", home.home.join("data/daemon.log")).unwrap();
    let output = home.pyro(&["env", "list", "--json"]).env("PYRO_LOG", "trace").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(home.daemon_pid().is_some());
}

/// A daemon that is there, and answers as the test wants.
fn pretended_daemon(home: &Home) -> UnixListener {
    std::fs::create_dir_all(home.home.join("run")).unwrap();
    UnixListener::bind(home.home.join("run/daemon.sock")).unwrap()
}

/// Takes a request without answering it; the daemon is lost when the connection is dropped.
fn take_request(listener: UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    drop(listener);
    stream
}

#[test]
fn a_run_that_loses_its_daemon_brings_another_one_that_clears_up() {
    let home = Home::new();
    let listener = pretended_daemon(&home);
    let running = home.spawn(&["run", "--json", "debian:12", "--", "true"]);
    drop(take_request(listener));
    let output = running.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&error["code"], &error["work_started"]), (&"daemon_lost".into(), &true.into()), "{error}");
    assert!(error["error"].as_str().unwrap().ends_with("the machine was ended"), "{error}");
    assert!(home.daemon_pid().is_some(), "nobody ended what was left");
}

#[test]
fn signals_that_are_ignored_stay_ignored() {
    let home = Home::new();
    let listener = pretended_daemon(&home);
    let line = r#"trap "" HUP INT && exec "$0" run debian:12 -- true"#;
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", line, env!("CARGO_BIN_EXE_pyro")]).env_clear().env("PYRO_HOME", &home.home);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = shell.spawn().unwrap();
    let connection = take_request(listener);
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let (hang_up, interrupt, terminate) = (1, 1 << 1, 1 << 14);
    let mask = |name| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & (hang_up | interrupt | terminate)
    };
    assert_eq!((mask("SigIgn:"), mask("SigCgt:")), (hang_up | interrupt, terminate), "{status}");
    drop(connection);
    assert_eq!(running.wait().unwrap().code(), Some(1));
}

#[test]
fn confinement_is_tried_by_this_very_program() {
    let home = Home::new();
    let report = home.json(&["doctor", "--json"]);
    let checks = report["checks"].as_array().unwrap();
    let confinement = checks.iter().find(|check| check["name"] == "confinement").unwrap();
    let detail = confinement["detail"].as_str().unwrap();
    assert!(confinement["ok"] == true || detail.starts_with("missing: "), "{confinement}");
}

#[test]
fn an_idle_daemon_ends() {
    let home = Home::new();
    let output = home.pyro(&["env", "list"]).env("PYRO_DAEMON_IDLE_SECONDS", "0.1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // It holds this lock as long as it lives.
    std::fs::File::open(home.home.join("data/daemon.lock")).unwrap().lock().unwrap();
    assert!(!home.home.join("run/daemon.sock").exists());
}

#[test]
fn somebody_elses_answer_is_an_error_and_no_panic() {
    let home = Home::new();
    let listener = pretended_daemon(&home);
    let answering = std::thread::spawn(move || {
        for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{]}", "nonsense\r\n\r\n", ""] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for code in ["internal", "daemon_lost", "daemon_lost"] {
        let error = home.json(&["env", "list", "--json"]);
        assert_eq!(error["code"], code, "{error}");
    }
    answering.join().unwrap();
}
