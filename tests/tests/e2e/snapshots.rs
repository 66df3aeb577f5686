//! Snapshots of real machines, and going back to them: memory, processes and disk are of one moment, and nothing else is lost.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Outcome, wait_until};
use serde_json::Value;

pub(crate) fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

pub(crate) fn create(home: &Home, name: &str) -> String {
    let made = workspace(home, ["create", ENVIRONMENT, "--name", name, "--json"]).output().succeeds().json();
    made["workspace_id"].as_str().unwrap().to_owned()
}

pub(crate) fn sh(home: &Home, name: &str, script: &str) -> Outcome {
    workspace(home, ["exec", name, "-n", "-q", "--", "sh", "-c", script]).output()
}

/// Deletes every workspace.
pub(crate) fn delete_all(home: &Home) {
    let list = workspace(home, ["list", "--json"]).output().succeeds().json();
    for item in list["workspaces"].as_array().unwrap() {
        let id = item["workspace_id"].as_str().unwrap();
        workspace(home, ["delete", id, "--force"]).output().succeeds();
    }
    home.wait_until_nothing_is_left();
}

#[track_caller]
pub(crate) fn said(home: &Home, name: &str, script: &str) -> String {
    sh(home, name, script).succeeds().text().trim().to_owned()
}

pub(crate) fn snapshot(home: &Home, name: &str) -> Value {
    let taken = workspace(home, ["snapshot", "create", "w", name, "--json"]).output().succeeds().json();
    taken["snapshot"].clone()
}

pub(crate) fn reset(home: &Home, name: &str) -> Value {
    workspace(home, ["reset", "w", "--snapshot", name, "--json"]).output().succeeds().json()
}

/// Goes back to a snapshot, with its memory.
#[track_caller]
pub(crate) fn go_back(home: &Home, name: &str, snapshot: &str) {
    let reset = workspace(home, ["reset", name, "--snapshot", snapshot, "--json"]).output().succeeds().json();
    assert_eq!(reset["workspace_reset"]["resumed"], "memory", "{reset}");
}

/// Snapshots of `w`, the baseline first.
pub(crate) fn names(home: &Home) -> Vec<String> {
    let list = workspace(home, ["snapshot", "list", "w", "--json"]).output().succeeds().json();
    let snapshots = list["snapshots"].as_array().unwrap();
    assert_eq!(list["count"], snapshots.len());
    snapshots.iter().map(|snapshot| snapshot["snapshot_name"].as_str().unwrap().to_owned()).collect()
}

/// A counter that only its process knows, told on request: `nc` is not there, so by a pair of pipes.
const COUNTER: &str = "mkfifo /run/ask /run/say; n=0
     while read -r word < /run/ask; do n=$((n+1)); echo $n > /run/say; done";

/// What the counter of a workspace says next.
#[track_caller]
pub(crate) fn count(home: &Home, name: &str) -> String {
    said(home, name, "echo next > /run/ask; cat /run/say")
}

/// Starts the counter in `w`.
pub(crate) fn start_counter(home: &Home) {
    workspace(home, ["exec", "w", "--detach", "--", "sh", "-c", COUNTER]).output().succeeds();
    said(home, "w", "while ! test -p /run/say; do sleep 0.01; done");
}

/// Makes the call that has the key `k`: how often it was really made, when this one was.
#[track_caller]
pub(crate) fn once(home: &Home, name: &str) -> String {
    let call = workspace(home, ["exec", name, "-n", "-q", "--idempotency-key", "k"]);
    let outcome = call.command(["sh", "-c", "echo made >> /root/calls; wc -l < /root/calls"]).output();
    outcome.succeeds().text().trim().to_owned()
}

/// Files of the workspace's own directory in the store that end so.
pub(crate) fn files(home: &Home, id: &str, directory: &str, ending: &str) -> Vec<PathBuf> {
    let directory = home.path().join("data/workspaces").join(id).join(directory);
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(ending));
    files.sort();
    files
}

/// Records of snapshots, and memory in whatever form, can be read by their owner alone.
#[track_caller]
pub(crate) fn assert_private(home: &Home, id: &str) {
    for (directory, ending) in [("snapshots", ".json"), ("memory", "")] {
        let files = files(home, id, directory, ending);
        assert!(!files.is_empty(), "{directory}");
        for path in files {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            // What is the template's too is written by nobody.
            let is_base = mode == 0o400 && path.ends_with("memory/base");
            assert!(mode == 0o600 || is_base, "{} has mode {mode:o}", path.display());
        }
    }
}

#[test]
fn a_reset_brings_back_processes_files_and_what_was_installed() {
    let home = Home::warm();
    let id = create(&home, "w");
    assert_eq!(names(&home), ["baseline"]);
    start_counter(&home);
    said(
        &home,
        "w",
        "echo one > f; chmod 750 f; ln -s ../../etc/hostname up; echo tool > /usr/local/bin/tool; sync",
    );
    assert_eq!(count(&home, "w"), "1");
    assert_eq!([once(&home, "w"), once(&home, "w")], ["1", "1"]);
    let taken = snapshot(&home, "before");
    assert_eq!(
        (&taken["kind"], &taken["parent"], &taken["has_memory"]),
        (&"named".into(), &"baseline".into(), &true.into())
    );
    assert_eq!(taken["running_command_count"], 1);
    // The machine goes on as if nothing had happened.
    assert_eq!(count(&home, "w"), "2");
    said(&home, "w", "echo two > f; rm up /usr/local/bin/tool; echo more > g");
    assert_eq!(count(&home, "w"), "3");

    let reset_now = reset(&home, "before");
    assert_eq!(reset_now["reset_count"], 1);
    assert_eq!(reset_now["workspace_reset"]["resumed"], "memory");
    assert_eq!((&reset_now["workspace_id"], &reset_now["name"]), (&id.as_str().into(), &"w".into()));
    // The same process, with the number that it had then.
    assert_eq!(count(&home, "w"), "2");
    assert_eq!(
        said(&home, "w", "cat f; stat -c %a f; readlink up; cat /usr/local/bin/tool; ls; hostname"),
        format!("one\n750\n../../etc/hostname\ntool\nf\nup\npyro-{id}")
    );
    // Its command is there as a job, and what was run since is not in the history.
    let jobs = workspace(&home, ["job", "list", "w", "--json"]).output().succeeds().json();
    let is_here = |job: &&Value| job["state"] == "running" && job["restored"] == true;
    let running = jobs["jobs"].as_array().unwrap().iter().filter(is_here);
    assert_eq!(running.map(|job| job["job_id"].as_str().unwrap()).collect::<Vec<_>>(), ["c1"], "{jobs}");
    let logs = workspace(&home, ["logs", "w"]).output().succeeds().text();
    assert!(!logs.contains("echo two"), "{logs}");
    assert!(logs.contains("job_id=c1 state=running restored "), "{logs}");
    // Nor is the call with the key, so it is made anew.
    assert_eq!([once(&home, "w"), once(&home, "w")], ["2", "2"]);

    // As often as one likes, and to what was before.
    reset(&home, "before");
    assert_eq!(count(&home, "w"), "2");
    assert_eq!(reset(&home, "baseline")["reset_count"], 3);
    assert_eq!(said(&home, "w", "ls; ls /usr/local/bin; test -e /run/ask || echo none"), "none");
    assert_eq!(names(&home), ["baseline", "before"]);
    reset(&home, "before");
    assert_eq!(count(&home, "w"), "2");
    delete_all(&home);
}

#[test]
fn snapshots_form_a_tree_that_survives_deletions_and_restarts() {
    let home = Home::warm();
    let id = create(&home, "w");
    for name in ["a", "b", "c"] {
        said(&home, "w", &format!("echo {name} > {name}; head -c 2000000 /dev/urandom > /dev/shm/{name}"));
        let taken = snapshot(&home, name);
        // Only what was touched since is stored: 2 MB here, and a little of the system's.
        assert!(taken["size_bytes"].as_u64().unwrap() < 8 << 20, "{taken}");
    }
    assert_private(&home, &id);
    let sums = said(&home, "w", "md5sum /dev/shm/*");
    reset(&home, "a");
    said(&home, "w", "echo d > d");
    snapshot(&home, "d");
    let list = workspace(&home, ["snapshot", "list", "w", "--json"]).output().succeeds().json();
    let parents: Vec<(String, String)> = list["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| {
            (
                snapshot["snapshot_name"].as_str().unwrap().to_owned(),
                snapshot["parent"].as_str().unwrap_or("-").to_owned(),
            )
        })
        .collect();
    let pair = |name: &str, parent: &str| (name.to_owned(), parent.to_owned());
    assert_eq!(
        parents,
        [pair("baseline", "-"), pair("d", "a"), pair("c", "b"), pair("b", "a"), pair("a", "baseline")]
    );

    for name in ["a", "b"] {
        workspace(&home, ["snapshot", "delete", "w", name]).output().succeeds();
    }
    home.stop_daemon();
    assert_eq!(names(&home), ["baseline", "d", "c"]);
    reset(&home, "c");
    assert_eq!(said(&home, "w", "ls; md5sum /dev/shm/*"), format!("a\nb\nc\n{sums}"));
    reset(&home, "d");
    assert_eq!(said(&home, "w", "ls"), "a\nd");
    workspace(&home, ["snapshot", "delete", "w", "c"]).output().succeeds();
    workspace(&home, ["snapshot", "delete", "w", "d"]).output().succeeds();
    reset(&home, "baseline");
    // Nothing is left that only they needed, soon after the answer.
    let left = |directory: &str, ending: &str| files(&home, &id, directory, ending).len();
    let memory = home.path().join("data/workspaces").join(&id).join("memory");
    wait_until("what nobody needs is gone", &memory, Duration::from_secs(60), || {
        left("memory", ".delta") == 1
    });
    let disk = memory.with_file_name("disk");
    wait_until("layers that nobody needs are gone", &disk, Duration::from_secs(60), || {
        left("disk", ".qcow2") == 2
    });
    delete_all(&home);
}

#[test]
fn a_stopped_workspace_has_a_snapshot_of_its_disk_and_a_reset_starts_it() {
    let home = Home::warm();
    create(&home, "w");
    said(&home, "w", "echo kept > f");
    workspace(&home, ["stop", "w"]).output().succeeds();
    let taken = snapshot(&home, "cold");
    assert_eq!((&taken["has_memory"], &taken["paused_ms"]), (&false.into(), &Value::Null));
    workspace(&home, ["start", "w"]).output().succeeds();
    said(&home, "w", "echo lost > f");
    let booted = reset(&home, "cold");
    assert_eq!(booted["workspace_reset"]["resumed"], "boot");
    assert!(booted["workspace_reset"]["boot_reason"].as_str().unwrap().contains("no machine"), "{booted}");
    assert_eq!(said(&home, "w", "cat f"), "kept");
    workspace(&home, ["stop", "w"]).output().succeeds();
    let back = reset(&home, "baseline");
    assert_eq!((&back["state"], &back["workspace_reset"]["resumed"]), (&"started".into(), &"memory".into()));
    assert_eq!(said(&home, "w", "ls"), "");
    delete_all(&home);
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let home = Home::warm();
    create(&home, "w");
    said(&home, "w", "echo kept > f");
    snapshot(&home, "one");
    let refused = |words: &[&str], code: &str| {
        home.pyro(["workspace"].iter().chain(words)).json().output().fails_with(code);
    };
    refused(&["snapshot", "create", "w", "one"], "snapshot_exists");
    refused(&["snapshot", "create", "w", "baseline"], "invalid_request");
    refused(&["snapshot", "delete", "w", "baseline"], "invalid_request");
    refused(&["snapshot", "delete", "w", "none"], "unknown_snapshot");
    refused(&["snapshot", "inspect", "w", "none"], "unknown_snapshot");
    refused(&["reset", "w", "--snapshot", "none"], "unknown_snapshot");
    refused(&["fork", "w", "--snapshot", "none"], "unknown_snapshot");
    refused(&["fork", "w", "--count", "0"], "invalid_size");
    refused(&["snapshot", "create", "nobody", "one"], "unknown_workspace");
    for name in ["", "a b", "../up", ".hidden"] {
        workspace(&home, ["snapshot", "create", "w", name]).output().exits(2);
    }
    assert_eq!(names(&home), ["baseline", "one"]);
    assert_eq!(said(&home, "w", "cat f"), "kept");
    delete_all(&home);
}

/// Changes a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_snapshot_that_is_damaged_names_the_file_and_the_others_are_good() {
    let home = Home::warm();
    home.tolerate_errors_in_the_log();
    let id = create(&home, "w");
    said(&home, "w", "echo one > one");
    snapshot(&home, "one");
    let known = files(&home, &id, "disk", ".qcow2");
    said(&home, "w", "echo two > two");
    snapshot(&home, "two");
    said(&home, "w", "echo now > now");

    // Both layers are under what `two` was.
    assert!(!known.is_empty());
    for layer in &known {
        let whole = fs::read(layer).unwrap();
        flip(layer);
        let refused = workspace(&home, ["reset", "w", "--snapshot", "two", "--json"]).output();
        refused.fails_with("snapshot_damaged");
        assert!(refused.text().contains(layer.file_name().unwrap().to_str().unwrap()), "{refused}");
        fs::write(layer, whole).unwrap();
    }
    // Nothing has become of the workspace.
    assert_eq!(said(&home, "w", "cat one two now"), "one\ntwo\nnow");
    reset(&home, "two");
    assert_eq!(said(&home, "w", "ls"), "one\ntwo");

    // A memory that is damaged costs what ran, and no file.
    let states = files(&home, &id, "memory", ".state");
    assert!(!states.is_empty());
    states.iter().for_each(|state| flip(state));
    let booted = reset(&home, "one");
    assert_eq!(booted["workspace_reset"]["resumed"], "boot");
    assert!(booted["workspace_reset"]["boot_reason"].as_str().unwrap().contains(".state"), "{booted}");
    assert_eq!(said(&home, "w", "ls"), "one");
    delete_all(&home);
}

#[test]
fn a_snapshot_while_everything_writes_is_whole() {
    let home = Home::warm();
    create(&home, "w");
    // Whoever reads a record finds it whole or not at all, and every number up to the last.
    let writer = "i=0; while :; do i=$((i+1)); printf '%08d %08d\\n' $i $i > t && mv t \"r$((i % 50))\"; sync -f . ; done";
    workspace(&home, ["exec", "w", "--detach", "--", "sh", "-c", writer]).output().succeeds();
    let noise = "while :; do head -c 4000000 /dev/urandom > noise; md5sum noise > sum; done";
    workspace(&home, ["exec", "w", "--detach", "--", "sh", "-c", noise]).output().succeeds();
    said(&home, "w", "while ! test -s sum || ! test -s r9; do sleep 0.05; done");
    let check = "for f in r*; do awk '$1 != $2 || NF != 2 {exit 1}' \"$f\" || { echo torn $f; exit 1; }; done; echo whole";
    for name in ["a", "b", "c"] {
        snapshot(&home, name);
        assert_eq!(said(&home, "w", check), "whole");
    }
    for name in ["b", "a", "c"] {
        go_back(&home, "w", name);
        let before = said(&home, "w", "cat r* | sort | tail -n 1");
        assert_eq!(said(&home, "w", check), "whole");
        // They go on.
        said(
            &home,
            "w",
            &format!("while test \"$(cat r* | sort | tail -n 1)\" = '{before}'; do sleep 0.05; done"),
        );
    }
    delete_all(&home);
}
