//! `pyro workspace` against a daemon that answers as each test wants: what is asked, what is shown, where, and with
//! which exit status. Nothing here needs a machine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking, like the test")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    process::{Command, Output, Stdio},
    thread::JoinHandle,
};

use pyro_api::frame::{Decoder, Frame, Kind};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One answer of the daemon.
enum Answer {
    /// One JSON body, with that HTTP status.
    Json(u16, Value),
    /// Frames, and then the end of the connection.
    Frames(Vec<Frame>),
    /// None: the daemon is lost before it says anything.
    Lost,
}

/// A daemon that gives these answers, one for each connection, and remembers what it was asked.
struct Daemon {
    home: TempDir,
    asked: JoinHandle<Vec<(String, Value, Vec<u8>)>>,
}

impl Daemon {
    fn answering(answers: Vec<Answer>) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("run")).unwrap();
        let listener = UnixListener::bind(home.path().join("run/daemon.sock")).unwrap();
        let asked = std::thread::spawn(move || {
            answers.into_iter().map(|answer| serve(&listener.accept().unwrap().0, answer)).collect()
        });
        Self { home, asked }
    }

    fn pyro(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyro"));
        command.args(arguments).env_clear().env("PYRO_HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.current_dir(self.home.path()).spawn().unwrap();
        // A command that reads nothing may be gone before.
        let _written = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    /// What it was asked: path of the operation, request, standard input.
    fn asked(self) -> Vec<(String, Value, Vec<u8>)> {
        self.asked.join().unwrap()
    }
}

fn serve(stream: &UnixStream, answer: Answer) -> (String, Value, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    match answer {
        Answer::Json(status, body) => {
            let mut request = Vec::new();
            while serde_json::from_slice::<Value>(&request).is_err() {
                request.extend(chunk(&mut reader));
            }
            let body = body.to_string();
            let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            (&*stream).write_all(text.as_bytes()).unwrap();
            (path, serde_json::from_slice(&request).unwrap(), Vec::new())
        }
        Answer::Lost => {
            let request = read_frames(&mut reader, stream).0;
            (path, request, Vec::new())
        }
        Answer::Frames(frames) => {
            // As the daemon does: input flows only once it has begun to answer.
            (&*stream).write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").unwrap();
            let (request, stdin) = read_frames(&mut reader, stream);
            for frame in frames {
                (&*stream).write_all(&frame.encode().unwrap()).unwrap();
            }
            (path, request, stdin)
        }
    }
}

/// A chunk of a body with `transfer-encoding: chunked`.
fn chunk(reader: &mut impl std::io::BufRead) -> Vec<u8> {
    let mut length = String::new();
    reader.read_line(&mut length).unwrap();
    let length = usize::from_str_radix(length.trim(), 16).unwrap();
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// The request, and standard input to its end if there is any.
fn read_frames(reader: &mut impl std::io::BufRead, mut client: &UnixStream) -> (Value, Vec<u8>) {
    let (mut decoder, mut request, mut stdin) = (Decoder::default(), None, Vec::new());
    loop {
        decoder.push(&chunk(reader));
        while let Some(frame) = decoder.next_frame().unwrap() {
            match frame.kind {
                Kind::Request => request = Some(serde_json::from_slice::<Value>(&frame.payload).unwrap()),
                Kind::Stdin => {
                    stdin.extend_from_slice(&frame.payload);
                    let taken = u32::try_from(frame.payload.len()).unwrap().to_le_bytes();
                    let credit = Frame { kind: Kind::StdinCredit, payload: taken.to_vec().into() };
                    client.write_all(&credit.encode().unwrap()).unwrap();
                }
                Kind::StdinEof => return (request.unwrap(), stdin),
                other => panic!("{other:?}"),
            }
        }
        if let Some(request) = &request
            && request["stdin"] != true
            && request.get("create_only").is_none()
        {
            return (request.clone(), stdin);
        }
    }
}

fn stdout(bytes: &'static [u8]) -> Frame {
    Frame { kind: Kind::Stdout, payload: bytes.into() }
}

fn event(value: &Value) -> Frame {
    Frame::json(Kind::Event, value).unwrap()
}

fn result(value: &Value) -> Frame {
    Frame::json(Kind::Result, value).unwrap()
}

fn started() -> Frame {
    event(&json!({"event": "started", "sequence": 7, "job_id": "c7", "attached": false}))
}

fn report(exit_code: i32) -> Value {
    json!({
        "workspace_id": "0123456789ab", "environment": "debian:12", "environment_version": null, "command": "x",
        "exit_code": exit_code, "duration_ms": 5, "execution_mode": "guest_vsock", "sequence": 7, "cwd": "/workspace",
        "job_id": "c7", "state": "finished", "attached": false, "signal": null, "timed_out": false,
        "out_of_memory": false, "isolation": "emulated", "stdout_bytes": 5, "stderr_bytes": 4,
    })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn exec_passes_everything_through_and_exits_like_the_command() {
    let stderr = Frame { kind: Kind::Stderr, payload: (&b"oops"[..]).into() };
    let daemon = Daemon::answering(vec![Answer::Frames(vec![
        started(),
        stdout(b"hello"),
        stderr,
        result(&report(3)),
    ])]);
    let output = daemon.pyro(&["workspace", "exec", "fix 42", "--env", "A=1", "--", "cat", "a b"], b"input");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "hello");
    let told = text(&output.stderr);
    assert!(
        told.starts_with("oops[workspace-exec] workspace_id=0123456789ab sequence=7 cwd=/workspace"),
        "{told}"
    );
    let (path, request, stdin) = daemon.asked().remove(0);
    assert_eq!((path.as_str(), stdin.as_slice()), ("/v1/workspace_exec", &b"input"[..]));
    assert_eq!((&request["workspace"], &request["command"]), (&json!("fix 42"), &json!(["cat", "a b"])));
    assert_eq!(request["env"], json!({"A": "1"}));
    assert_eq!(request["idempotency_key"].as_str().unwrap().len(), 32, "every call has a key");
}

#[test]
fn exec_goes_on_with_another_daemon_where_the_first_was_lost() {
    let daemon = Daemon::answering(vec![
        Answer::Frames(vec![started(), stdout(b"hel")]),
        Answer::Lost,
        Answer::Frames(vec![]),
        Answer::Frames(vec![stdout(b"lo"), result(&report(0))]),
    ]);
    let output = daemon.pyro(&["workspace", "exec", "fix", "--json", "-n", "--", "true"], b"");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&shown["stdout"], &shown["exit_code"]), (&json!("hello"), &json!(0)));
    assert_eq!(output.status.code(), Some(0));
    let asked = daemon.asked();
    for (path, request, _) in &asked[1..] {
        assert_eq!(path, "/v1/workspace_job_wait");
        assert_eq!((&request["job"], &request["stdout_from"]), (&json!("c7"), &json!(3)));
    }
}

#[test]
fn exec_that_may_not_have_begun_is_asked_for_again_by_its_key() {
    let daemon =
        Daemon::answering(vec![Answer::Frames(vec![]), Answer::Frames(vec![started(), result(&report(0))])]);
    let output = daemon.pyro(&["workspace", "exec", "fix", "-n", "--", "true"], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let asked = daemon.asked();
    assert_eq!(asked[0].1, asked[1].1);
    // Input that was sent is gone, so that is told instead.
    let daemon = Daemon::answering(vec![Answer::Frames(vec![])]);
    let output = daemon.pyro(&["workspace", "exec", "fix", "--json", "--", "cat"], b"x");
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["code"], "daemon_lost");
}

#[test]
fn detached_commands_print_their_job() {
    let mut running = report(0);
    running["exit_code"] = Value::Null;
    running["state"] = "running".into();
    let daemon = Daemon::answering(vec![Answer::Frames(vec![started(), result(&running)])]);
    let output = daemon.pyro(&["workspace", "exec", "fix", "--detach", "--", "sleep 9"], b"");
    assert_eq!((text(&output.stdout), output.status.code()), ("c7\n", Some(0)));
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(daemon.asked()[0].1["detach"], true);
}

#[test]
fn a_job_that_runs_on_is_no_success() {
    let mut running = report(0);
    running["exit_code"] = Value::Null;
    running["state"] = "running".into();
    let daemon = Daemon::answering(vec![Answer::Frames(vec![result(&running)])]);
    let output = daemon.pyro(&["workspace", "job", "wait", "fix", "c7", "--timeout-seconds", "1"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("state=running"), "{output:?}");
}

#[test]
fn create_prints_only_the_id_when_asked_to() {
    let workspace = json!({
        "workspace_id": "0123456789ab", "name": "fix", "labels": {"a": "b"}, "environment": "debian:12",
        "environment_version": "1", "vcpu_count": 1, "mem_mib": 1024, "disk_mib": 4096, "disk_used_bytes": 1,
        "ttl_seconds": 600, "created_at": 1.5, "last_activity_at": 2.5, "expires_at": 602.5, "state": "started",
        "network_policy": "off", "network_enabled": false, "allow_host_compat": false, "guest_ip": null,
        "tap_name": null, "execution_mode": "guest_vsock", "isolation": "emulated", "workspace_path": "/workspace",
        "workspace_seed": {"mode": "directory", "seed_path": "/s", "destination": "/workspace", "entry_count": 1,
            "bytes_written": 2, "notes": ["left out a socket"]},
        "secrets": [], "command_count": 0, "running_command_count": 0, "last_command": null, "reset_count": 0,
        "last_reset_at": null, "snapshot_count": 1, "idle_sleep_seconds": 0, "auto_checkpoint": false, "service_count": 0,
        "running_service_count": 0, "metadata": {},
    });
    let progress =
        json!({"event": "progress", "step": "sending files", "bytes": 1, "entries": 1, "fraction": 0.5});
    let frames = || Answer::Frames(vec![event(&progress), result(&workspace)]);
    let daemon = Daemon::answering(vec![frames(), frames(), frames()]);
    let create =
        ["workspace", "create", "debian:12", "--name", "fix", "--label", "a=b", "--seed-path", "run"];
    let output = daemon.pyro(&[&create[..], &["--id-only"]].concat(), b"");
    assert_eq!(text(&output.stdout), "0123456789ab\n");
    assert!(output.stderr.is_empty(), "no bar without a terminal: {output:?}");
    let output = daemon.pyro(&[&create[..], &["--json"]].concat(), b"");
    let mut expected = pyro_sorted(&workspace);
    expected.push('\n');
    assert_eq!(text(&output.stdout), expected);
    let output = daemon.pyro(&create, b"");
    let shown = text(&output.stdout);
    assert!(shown.contains("\nState: started\n") && shown.contains("\nNote: left out a socket"), "{shown}");
    let seed = daemon.home.path().join("run").to_str().unwrap().to_owned();
    assert_eq!(daemon.asked()[0].1["seed_path"], json!(seed), "the daemon gets an absolute path");
}

/// JSON as the command line prints it.
fn pyro_sorted(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn failures_of_every_verb_are_json_when_that_is_asked_for() {
    let refusal = json!({
        "ok": false, "error": "several workspaces are called fix", "code": "ambiguous_name",
        "hint": "0123456789ab, ba9876543210", "retryable": false,
    });
    let lines: &[&[&str]] = &[
        &["status", "fix"],
        &["list"],
        &["update", "fix", "--clear-name"],
        &["stop", "fix"],
        &["start", "fix"],
        &["delete", "fix"],
        &["logs", "fix"],
        &["logs", "fix", "3"],
        &["output", "fix", "3"],
        &["job", "list", "fix"],
        &["job", "logs", "fix", "c1"],
        &["job", "kill", "fix", "c1"],
        &["file", "list", "fix"],
        &["file", "read", "fix", "a"],
        &["file", "write", "fix", "a", "--text", "x"],
        &["file", "replace", "fix", "a", "--old", "x", "--new", "y"],
        &["file", "stat", "fix", "a"],
        &["file", "glob", "fix", "*"],
        &["file", "grep", "fix", "x"],
        &["file", "mkdir", "fix", "a"],
        &["file", "move", "fix", "a", "b"],
        &["file", "copy", "fix", "a", "b"],
        &["file", "delete", "fix", "a"],
        &["patch", "apply", "fix", "--patch", "x"],
        &["diff", "fix"],
        &["exec", "fix", "-n", "--", "true"],
        &["job", "wait", "fix", "c1"],
        &["create", "debian:12"],
        &["sync", "push", "fix", "."],
        &["sync", "pull", "fix"],
        &["export", "fix", "a", "--output", "x"],
        &["file", "download", "fix", "a", "x"],
    ];
    for line in lines {
        let daemon = Daemon::answering(vec![Answer::Json(422, refusal.clone())]);
        let streams = ["exec", "wait", "create", "sync", "export", "download"];
        let daemon = if line.iter().any(|word| streams.contains(word)) {
            drop(daemon.home);
            let error = Frame::json(Kind::Error, &refusal).unwrap();
            Daemon::answering(vec![Answer::Frames(vec![error])])
        } else {
            daemon
        };
        // Flags stand before the command of the guest.
        let mut arguments = vec!["workspace", line[0]];
        arguments.extend(&line[1..]);
        let at = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
        arguments.insert(at, "--json");
        let output = daemon.pyro(&arguments, b"");
        let shown: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line:?}: {output:?}"));
        assert_eq!(shown, refusal, "{line:?}");
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        assert!(output.stderr.is_empty(), "{line:?}: {output:?}");
    }
}

#[test]
fn files_are_read_as_they_are() {
    let read = |content: &str, encoding: &str| {
        Answer::Json(
            200,
            json!({
                "workspace_id": "0123456789ab", "path": "/workspace/a", "size_bytes": 3, "max_bytes": 65536,
                "content": content, "encoding": encoding, "truncated": false, "execution_mode": "guest_vsock",
                "offset": 0, "bytes_read": 3, "first_line": null, "total_lines": null, "mode": "0644",
            }),
        )
    };
    let daemon = Daemon::answering(vec![read("abc", "utf-8"), read("abc", "utf-8"), read("/wAK", "base64")]);
    let output = daemon.pyro(&["workspace", "file", "read", "fix", "a"], b"");
    assert_eq!(text(&output.stdout), "abc\n");
    assert!(text(&output.stderr).starts_with("[workspace-file-read] "), "{output:?}");
    let output = daemon.pyro(&["workspace", "file", "read", "fix", "a", "--content-only"], b"");
    assert_eq!((text(&output.stdout), output.stderr.len()), ("abc", 0));
    let output = daemon.pyro(&["workspace", "file", "read", "fix", "a", "--content-only"], b"");
    assert_eq!(output.stdout, b"\xff\0\n");
    assert_eq!(daemon.asked()[0].1["max_bytes"], 65_536);
}

#[test]
fn files_of_any_length_go_both_ways() {
    let written = json!({
        "workspace_id": "0123456789ab", "path": "/workspace/a", "size_bytes": 3, "bytes_written": 3,
        "execution_mode": "guest_vsock", "created": true, "mode": "0644",
    });
    let downloaded = json!({
        "workspace_id": "0123456789ab", "path": "/workspace/a", "size_bytes": 5, "mode": "0755",
        "execution_mode": "guest_vsock",
    });
    let download = || Answer::Frames(vec![stdout(b"he\0"), stdout(b"\xffo"), result(&downloaded)]);
    let daemon = Daemon::answering(vec![
        Answer::Frames(vec![result(&written)]),
        Answer::Frames(vec![result(&written)]),
        Answer::Frames(vec![result(&written)]),
        download(),
        download(),
        Answer::Frames(vec![stdout(b"half")]),
    ]);
    let output = daemon.pyro(&["workspace", "file", "upload", "fix", "-", "a"], b"abc");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Too long for one request, and a pipe both times: what was read of it is not there a second time.
    let long = vec![b'x'; (1 << 20) + (1 << 17)];
    for source in [&["--stdin"][..], &["--text-file", "/dev/stdin"]] {
        let write = [&["workspace", "file", "write", "fix", "a"], source].concat();
        let output = daemon.pyro(&write, &long);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let output = daemon.pyro(&["workspace", "file", "read", "fix", "a", "--raw"], b"");
    assert_eq!(output.stdout, b"he\0\xffo");
    let output = daemon.pyro(&["workspace", "file", "download", "fix", "a", "out"], b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let out = daemon.home.path().join("out");
    assert_eq!(std::fs::read(&out).unwrap(), b"he\0\xffo");
    let again = daemon.pyro(&["workspace", "file", "download", "fix", "a", "out", "--json"], b"");
    assert!(text(&again.stdout).contains("output_exists"), "{again:?}");
    let lost = daemon.pyro(&["workspace", "file", "download", "fix", "a", "other"], b"");
    assert_eq!(lost.status.code(), Some(1));
    assert!(!daemon.home.path().join("other").exists(), "half a file is no file");
    let left = std::fs::read_dir(daemon.home.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".partial"));
    assert_eq!(left.count(), 0);
    let asked = daemon.asked();
    assert_eq!((asked[0].0.as_str(), asked[0].2.as_slice()), ("/v1/workspace_file_upload", &b"abc"[..]));
    for (path, _, content) in &asked[1..3] {
        assert_eq!((path.as_str(), content == &long), ("/v1/workspace_file_upload", true));
    }
}

#[test]
fn a_pull_with_conflicts_is_no_success() {
    let pulled = json!({
        "workspace_id": "0123456789ab", "execution_mode": "guest_vsock", "workspace_sync": {
            "source_path": "/workspace", "destination": "/s", "entry_count": 1, "bytes_written": 2,
            "changed_count": 1, "deleted_count": 0, "conflict_count": 1,
            "changes": [{"path": "a", "status": "modified"}],
            "conflicts": [{"path": "b", "guest": "modified", "host": "deleted"}], "dry_run": false,
        },
    });
    let daemon = Daemon::answering(vec![Answer::Frames(vec![result(&pulled)])]);
    let output = daemon.pyro(&["workspace", "sync", "pull", "fix"], b"");
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(
        shown.starts_with("a [modified]\nb [conflict] guest=modified host=deleted\n[workspace-sync] "),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_meant_starts_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, code, status) in [
        (&["create", "debian:12", "--network-policy", "egress"][..], "not_yet_supported", 1),
        (&["create", "debian:12", "--secret", "A=b"], "not_yet_supported", 1),
        (&["create", "debian:12", "--label", "nope"], "usage", 2),
        (&["create", "debian:12", "--vcpu-count", "9"], "invalid_size", 1),
        (&["exec", "fix"], "missing_command", 2),
        (&["update", "fix"], "invalid_request", 1),
        (&["file", "read", "fix", "../x"], "path_escapes", 1),
        (&["file", "read", "fix", "a", "--max-bytes", "0"], "invalid_size", 1),
        (&["logs", "fix", "--limit", "0"], "invalid_size", 1),
        (&["logs", "fix", "--grep", "x"], "usage", 2),
        (&["sync", "push", "fix", "/nonexistent"], "file_failed", 1),
        (&["status"], "usage", 2),
        (&["status", " "], "usage", 2),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyro"));
        command.arg("workspace").args(arguments).arg("--json").stdin(Stdio::null());
        let output = command.env_clear().env("PYRO_HOME", home.path().join("home")).output().unwrap();
        let error: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"));
        assert_eq!(
            (&error["code"], output.status.code()),
            (&json!(code), Some(status)),
            "{arguments:?}: {error}"
        );
    }
    assert!(!home.path().join("home").exists());
}
