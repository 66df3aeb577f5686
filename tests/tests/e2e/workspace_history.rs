//! What a workspace remembers of its commands, as its user sees it: pages, parts, jobs, and what is not written down.

use std::{fs, path::Path};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Outcome};
use serde_json::Value;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output()
}

fn sequences(logs: &Value) -> Vec<u64> {
    logs["entries"].as_array().unwrap().iter().map(|entry| entry["sequence"].as_u64().unwrap()).collect()
}

/// Values of a variable and of a flag, which no other text holds by accident.
const SECRETS: [&str; 2] = ["hunter2-and-nothing-else", "correct-horse-battery-staple"];

/// Whether any of them stands there.
#[track_caller]
fn assert_no_secret(outcome: &Outcome) {
    assert!(!SECRETS.iter().any(|secret| outcome.text().contains(secret)), "{outcome}");
}

/// Files of the store in which this text stands.
fn files_with(place: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        // Disks and memory belong to the guest, which was given the text; what it boots was there before.
        if kind.is_dir() && !["templates", "machines", "environments", "disk"].contains(&name.as_str()) {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = match fs::read(entry.path()) {
                Ok(bytes) => bytes,
                // Memory that was sealed meanwhile is not there any more as it was.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", entry.path().display()),
            };
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn the_history_is_read_in_pages_and_an_output_in_parts() {
    let home = Home::warm();
    workspace(&home, ["create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    sh(&home, "seq 1 2000; echo complaint >&2").succeeds();
    sh(&home, "exit 3").exits(3);
    sh(&home, "printf 'one \\nTWO\\nthree'").succeeds();
    sh(&home, "kill -9 $$").exits(137);
    sh(&home, "echo last").succeeds();

    let logs = |words: &[&str]| {
        home.pyro(["workspace", "logs", "w", "--json"].iter().chain(words)).output().succeeds().json()
    };
    let newest = logs(&["--limit", "2"]);
    assert_eq!((sequences(&newest), &newest["total_count"]), (vec![4, 5], &5.into()), "{newest}");
    let before = newest["next_before"].to_string();
    let older = logs(&["--limit", "2", "--before", &before]);
    assert_eq!(sequences(&older), [2, 3], "{older}");
    let oldest = logs(&["--limit", "2", "--before", &older["next_before"].to_string()]);
    assert_eq!((sequences(&oldest), &oldest["next_before"]), (vec![1], &Value::Null), "{oldest}");
    let after = logs(&["--limit", "2", "--after", "1"]);
    assert_eq!((sequences(&after), &after["next_after"]), (vec![2, 3], &3.into()), "{after}");
    assert_eq!(sequences(&logs(&["--after", "5"])), [] as [u64; 0]);
    let failed = logs(&["--failed"]);
    assert_eq!((sequences(&failed), &failed["total_count"]), (vec![2, 4], &2.into()), "{failed}");
    assert_eq!(
        (&failed["entries"][1]["exit_code"], &failed["entries"][1]["signal"]),
        (&137.into(), &9.into())
    );
    // Of a long output its end is shown, in the history as in a job's log.
    let ends = logs(&["--max-output-bytes", "10", "--before", "2"]);
    let ends = &ends["entries"][0];
    assert_eq!(
        (&ends["stdout"], &ends["stdout_truncated"]),
        (&"1999\n2000\n".into(), &true.into()),
        "{ends}"
    );
    assert_eq!(
        (&ends["stderr"], &ends["stderr_truncated"]),
        (&"complaint\n".into(), &false.into()),
        "{ends}"
    );
    let job =
        workspace(&home, ["job", "logs", "w", "c1", "--max-bytes", "5", "--json"]).output().succeeds().json();
    assert_eq!((&job["stdout"], &job["stdout_bytes"]), (&"2000\n".into(), &8893.into()), "{job}");
    let silent = logs(&["--no-output", "--before", "2"]);
    assert_eq!(
        (&silent["entries"][0]["stdout"], &silent["entries"][0]["stdout_bytes"]),
        (&"".into(), &8893.into())
    );

    // `logs` with a command and `output` are one.
    for verb in ["output", "logs"] {
        let part = |words: &[&str]| home.pyro(["workspace", verb, "w"].iter().chain(words)).output();
        part(&["1", "--from", "10", "--lines", "2"]).succeeds().prints("10\n11\n");
        part(&["c1", "--tail", "2"]).succeeds().prints("1999\n2000\n");
        part(&["1", "--from-byte", "2", "--max-bytes", "4"]).succeeds().prints("2\n3\n");
        part(&["1", "--stderr"]).succeeds().prints("complaint\n");
        part(&["1", "--grep", "^19.9$"]).succeeds().prints("1909:1909\n1919:1919\n1929:1929\n1939:1939\n1949:1949\n1959:1959\n1969:1969\n1979:1979\n1989:1989\n1999:1999\n");
        part(&["1", "--grep", "^19.9$", "--lines", "2"]).succeeds().prints("1909:1909\n1919:1919\n");
        part(&["1", "--grep", "^19.9$", "--tail", "2"]).succeeds().prints("1989:1989\n1999:1999\n");
        part(&["3", "--grep", "one"]).succeeds().prints("1:one \n");
        part(&["1", "--tail", "2", "--lines", "1", "--json"]).fails_with("usage");
        part(&["3", "--grep", "two", "-i", "--json"]).succeeds();
        part(&["3", "--grep", "two"]).succeeds().prints("");
        part(&["1", "--from", "0", "--json"]).fails_with("invalid_request");
        part(&["1", "--grep", "(", "--json"]).fails_with("bad_pattern");
        part(&["6", "--json"]).fails_with("unknown_sequence");
    }
    let found = workspace(&home, ["output", "w", "3", "--grep", "TWO", "--json"]).output().succeeds().json();
    assert_eq!(
        (&found["matches"][0]["line"], &found["matches"][0]["byte"]),
        (&2.into(), &5.into()),
        "{found}"
    );
    let piece = workspace(&home, ["output", "w", "3", "--json"]).output().succeeds().json();
    assert_eq!((&piece["content"], &piece["line_count"]), (&"one \nTWO\nthree".into(), &3.into()), "{piece}");
    for verb in ["wait", "logs", "kill"] {
        home.pyro(["workspace", "job", verb, "w", "c6", "--json"]).output().fails_with("unknown_job");
    }
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

#[test]
fn a_command_runs_as_it_is_told_and_its_secrets_are_not_kept() {
    let home = Home::warm();
    workspace(&home, ["create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    let script = "id -un; pwd; echo $GREETING; cat";
    workspace(
        &home,
        ["exec", "w", "-q", "--user", "nobody", "--cwd", "/tmp", "--env", "GREETING=good day", "--"],
    )
    .stdin(b"from\0outside\n".as_slice())
    .flag("sh")
    .flag("-c")
    .flag(script)
    .output()
    .succeeds()
    .prints(b"nobody\n/tmp\ngood day\nfrom\0outside\n");
    let stranger = workspace(&home, ["exec", "w", "-n", "--user", "nobody-at-all", "--", "true"]);
    stranger.output().exits(125).complains("nobody-at-all");
    sh(&home, "mkdir sub").succeeds();
    workspace(&home, ["exec", "w", "-n", "-q", "--cwd", "sub", "--", "pwd"])
        .output()
        .prints("/workspace/sub\n");

    // What is secret reaches the command and no record of it.
    let variable = format!("API_TOKEN={}", SECRETS[0]);
    let flag = format!("--password={}", SECRETS[1]);
    let told = workspace(&home, ["exec", "w", "-n", "--env", &variable, "--json", "--", "sh", "-c"])
        .flag("test ${#API_TOKEN} = 24 && test ${#1} = 39")
        .flag("-")
        .flag(&flag)
        .output()
        .succeeds();
    assert_no_secret(&told);
    for words in
        [&["logs", "w", "--json"] as &[&str], &["status", "w", "--json"], &["job", "list", "w", "--json"]]
    {
        let shown = home.pyro(["workspace"].iter().chain(words)).output().succeeds();
        assert_no_secret(&shown);
    }
    let last = workspace(&home, ["status", "w", "--json"]).output().succeeds().json();
    assert!(last["last_command"]["command"].as_str().unwrap().contains("[REDACTED]"), "{last}");
    assert_eq!(SECRETS.map(|secret| files_with(home.path(), secret)), [[] as [&str; 0]; 2]);

    // One key is one command: the same again runs nothing, another one is refused.
    let keyed = |line: &str| {
        workspace(&home, ["exec", "w", "-n", "--idempotency-key", "once", "--json", "--", "sh", "-c", line])
            .output()
    };
    let first = keyed("echo x >> /tmp/k; wc -l < /tmp/k").succeeds().json();
    let again = keyed("echo x >> /tmp/k; wc -l < /tmp/k").succeeds().json();
    assert_eq!((&first["attached"], &again["attached"]), (&false.into(), &true.into()), "{again}");
    assert_eq!((&first["sequence"], &first["stdout"]), (&again["sequence"], &again["stdout"]), "{again}");
    let other = keyed("echo x >> /tmp/k; wc -c < /tmp/k").fails_with("idempotency_conflict");
    assert_eq!(other["retryable"], false, "{other}");
    sh(&home, "wc -l < /tmp/k").prints("1\n");

    // While a command runs the workspace is busy.
    let job = workspace(&home, ["exec", "w", "--detach", "--", "sleep", "600"]).output().succeeds().text();
    let waited =
        workspace(&home, ["job", "wait", "w", job.trim(), "--timeout-seconds", "1", "--json"]).output();
    assert_eq!(
        (&waited.json()["state"], &waited.json()["exit_code"]),
        (&"running".into(), &Value::Null),
        "{waited}"
    );
    let busy = workspace(&home, ["delete", "w", "--json"]).output().fails_with("workspace_busy");
    assert!(busy["hint"].as_str().is_some_and(|hint| hint.contains("force")), "{busy}");
    workspace(&home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
