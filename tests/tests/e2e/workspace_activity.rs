//! What counts as use of a workspace: every operation says so here, and is seen to keep to it.

use std::fs;

use pyro_e2e::{Home, Invocation};

use super::workspaces::ENVIRONMENT;

/// Written from the program's own table of operations.
const OPERATIONS: &str = include_str!("../../../docs/reference/operations.md");

/// What an operation is to the time to live of the workspace that it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Activity {
    /// The time to live begins anew.
    Use,
    /// Looking at it is no use.
    Look,
    /// It names no workspace, makes one, or is the end of one.
    None,
}
use Activity::{Look, None, Use};

/// How an operation is done from the command line; `w` is the workspace, `D` a directory of the host.
type Row = (&'static str, Activity, &'static [&'static str]);

/// Every operation, in an order in which one makes what the next one needs.
const TABLE: &[Row] = &[
    ("run", None, &["run", ENVIRONMENT, "--", "true"]),
    ("env_list", None, &["env", "list"]),
    ("env_inspect", None, &["env", "inspect", ENVIRONMENT]),
    ("env_pull", None, &["env", "pull", ENVIRONMENT]),
    ("env_prune", None, &[]),
    ("env_import", None, &[]),
    ("status", None, &["daemon", "status"]),
    ("shutdown", None, &[]),
    ("gc", None, &["gc", "--dry-run"]),
    ("vm_create", None, &[]),
    ("vm_start", None, &[]),
    ("vm_exec", None, &[]),
    ("vm_stop", None, &[]),
    ("vm_delete", None, &[]),
    ("vm_status", None, &[]),
    ("vm_network_info", None, &[]),
    ("vm_reap_expired", None, &[]),
    ("workspace_create", None, &[]),
    ("workspace_update", Use, &["workspace", "update", "w", "--label", "a=b"]),
    // Before there is a history, which it would take.
    ("workspace_reset", Use, &["workspace", "reset", "w"]),
    // A reset too, where there is something to undo.
    ("workspace_undo", None, &[]),
    ("workspace_exec", Use, &["workspace", "exec", "w", "-n", "--", "echo", "printed"]),
    ("workspace_job_wait", Use, &["workspace", "job", "wait", "w", "1"]),
    ("workspace_job_kill", Use, &["workspace", "job", "kill", "w", "JOB"]),
    ("workspace_file_mkdir", Use, &["workspace", "file", "mkdir", "w", "made"]),
    ("workspace_file_write", Use, &["workspace", "file", "write", "w", "made/a", "--text", "a\n"]),
    (
        "workspace_file_replace",
        Use,
        &["workspace", "file", "replace", "w", "made/a", "--old", "a", "--new", "b"],
    ),
    ("workspace_file_read", Use, &["workspace", "file", "read", "w", "made/a"]),
    ("workspace_file_stat", Use, &["workspace", "file", "stat", "w", "made/a"]),
    ("workspace_file_list", Use, &["workspace", "file", "list", "w"]),
    ("workspace_file_glob", Use, &["workspace", "file", "glob", "w", "**/a"]),
    ("workspace_file_grep", Use, &["workspace", "file", "grep", "w", "b"]),
    ("workspace_file_copy", Use, &["workspace", "file", "copy", "w", "made/a", "made/c"]),
    ("workspace_file_move", Use, &["workspace", "file", "move", "w", "made/c", "made/d"]),
    ("workspace_file_upload", Use, &["workspace", "file", "upload", "w", "D/host", "made/e"]),
    ("workspace_file_download", Use, &["workspace", "file", "download", "w", "made/e", "D/downloaded"]),
    (
        "workspace_patch_apply",
        Use,
        &["workspace", "patch", "apply", "w", "--patch", "--- a/made/a\n+++ b/made/a\n@@ -1 +1 @@\n-b\n+c\n"],
    ),
    ("workspace_diff", Use, &["workspace", "diff", "w", "--name-only"]),
    ("workspace_summary", Use, &["workspace", "summary", "w"]),
    ("workspace_sync_push", Use, &["workspace", "sync", "push", "w", "D/pushed"]),
    ("workspace_sync_pull", Use, &["workspace", "sync", "pull", "w", "D/pushed"]),
    ("workspace_export", Use, &["workspace", "export", "w", "made", "--output", "D/exported"]),
    ("workspace_file_delete", Use, &["workspace", "file", "delete", "w", "made/a"]),
    ("snapshot_create", Use, &["workspace", "snapshot", "create", "w", "s"]),
    ("workspace_fork", Use, &["workspace", "fork", "w", "--name-prefix", "twin"]),
    // To let it sleep is what its owner does who is done with it.
    ("workspace_sleep", Look, &["workspace", "sleep", "w"]),
    ("workspace_start", Use, &["workspace", "start", "w"]),
    ("workspace_stop", Use, &["workspace", "stop", "w"]),
    // Nothing that came before can be late when it is stopped.
    ("workspace_timeline", Look, &["workspace", "timeline", "w"]),
    ("workspace_list", Look, &["workspace", "list"]),
    ("workspace_status", Look, &["workspace", "status", "w"]),
    ("workspace_wait", Look, &["workspace", "wait", "w"]),
    ("workspace_logs", Look, &["workspace", "logs", "w"]),
    ("workspace_output", Look, &["workspace", "output", "w", "1"]),
    ("workspace_job_list", Look, &["workspace", "job", "list", "w"]),
    ("workspace_job_logs", Look, &["workspace", "job", "logs", "w", "1"]),
    ("workspace_disk_list", Look, &["workspace", "disk", "list", "w"]),
    ("workspace_disk_read", Look, &["workspace", "disk", "read", "w", "made/e"]),
    ("workspace_disk_export", Look, &["workspace", "disk", "export", "w", "--output", "D/disk"]),
    ("workspace_save", Look, &["workspace", "save", "w", "D/archive"]),
    ("workspace_load", Look, &["workspace", "load", "D/archive", "--name", "other"]),
    ("snapshot_list", Look, &["workspace", "snapshot", "list", "w"]),
    ("snapshot_inspect", Look, &["workspace", "snapshot", "inspect", "w", "s"]),
    ("snapshot_delete", Use, &["workspace", "snapshot", "delete", "w", "s"]),
    ("workspace_delete", None, &[]),
];

#[test]
fn every_operation_is_in_the_table_and_no_other() {
    let name = |line: &'static str| line.strip_prefix("| `/v1/")?.split('`').next();
    let mut declared: Vec<&str> = OPERATIONS.lines().filter_map(name).collect();
    let mut here: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    declared.sort_unstable();
    here.sort_unstable();
    assert_eq!(here, declared, "a new operation has to say whether it is use of a workspace");
}

/// Whether the table of operations says that it needs the workspace's machine.
fn needs_the_machine(name: &str) -> bool {
    let row = OPERATIONS.lines().find(|line| line.starts_with(&format!("| `/v1/{name}`"))).unwrap();
    row.split('|').nth(5).unwrap().trim() == "machine"
}

/// The words of a row with a job and a directory of this test.
fn given(words: &[&str], host: &str, job: &str) -> Vec<String> {
    let word = |word: &&str| match *word {
        "JOB" => job.to_owned(),
        word => word.strip_prefix("D/").map_or_else(|| word.to_owned(), |rest| format!("{host}/{rest}")),
    };
    words.iter().map(word).collect()
}

#[test]
fn each_operation_is_use_of_a_workspace_or_is_not_as_the_table_says() {
    let home = Home::warm();
    let invoke = |words: &[&str]| -> Invocation {
        match words.iter().position(|word| *word == "--") {
            Some(at) => home.pyro(&words[..at]).command(&words[at + 1..]),
            Option::None => home.pyro(words),
        }
    };
    invoke(&["workspace", "create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    let host = home.scratch().join("host-side");
    fs::create_dir_all(host.join("pushed")).unwrap();
    fs::write(host.join("host"), "host").unwrap();
    fs::write(host.join("pushed/file"), "file").unwrap();
    let host = host.display().to_string();
    let last_activity = || {
        let status = invoke(&["workspace", "status", "w"]).json().output().succeeds().json();
        status["last_activity_at"].as_f64().unwrap()
    };
    let check = |name: &str, activity: Activity, words: &[&str]| {
        let before = last_activity();
        invoke(words).output().succeeds();
        let after = last_activity();
        assert_eq!(after > before, activity == Use, "{name}: {before} before and {after} after it");
    };
    let mut job = String::new();
    for (name, activity, words) in TABLE {
        if words.is_empty() {
            continue;
        }
        if *name == "workspace_job_kill" {
            // One that has ended, so that its end is not use beside it.
            let ended = ["workspace", "exec", "w", "-n", "--detach", "--", "true"];
            job = invoke(&ended).output().succeeds().text().trim().to_owned();
            invoke(&["workspace", "job", "wait", "w", &job]).output().succeeds();
        }
        let words = given(words, &host, &job);
        check(name, *activity, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // What is there already would be told first.
    fs::remove_file(format!("{host}/downloaded")).unwrap();
    fs::remove_dir_all(format!("{host}/exported")).unwrap();
    // It is stopped now: whatever needs its machine says so. A job has ended with it, and to say that no machine is needed.
    let asks_the_guest = |name: &str| needs_the_machine(name) && name != "workspace_job_kill";
    for (name, _, words) in TABLE.iter().filter(|(name, ..)| asks_the_guest(name)) {
        let words = given(words, &host, &job);
        invoke(&words.iter().map(String::as_str).collect::<Vec<_>>())
            .json()
            .output()
            .fails_with("workspace_state");
        assert!(!words.is_empty(), "{name}");
    }
    // What finds nothing to do was wished for all the same.
    check("a second stop", Use, &["workspace", "stop", "w"]);
    check("an update of a stopped one", Use, &["workspace", "update", "w", "--label", "a=c"]);
    for name in ["w", "twin-1", "other"] {
        invoke(&["workspace", "delete", name]).output().succeeds();
    }
    home.wait_until_nothing_is_left();
}
