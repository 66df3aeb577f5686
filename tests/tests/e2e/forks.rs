//! Workspaces that are forked from another one: they share what it was, and nothing that must be one's own.

use std::collections::HashSet;

use pyro_e2e::{Home, Signal};
use serde_json::Value;

use super::snapshots::{create, delete_all, sh, snapshot, workspace};

fn fork(home: &Home, words: &[&str]) -> Value {
    home.pyro(["workspace", "fork", "w"].iter().chain(words).chain(&["--json"])).output().succeeds().json()
}

/// What no two machines may have in common.
const OF_ONES_OWN: &str =
    "hostname; cat /etc/machine-id /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid
     head -c 16 /dev/urandom | od -An -tx1; perl -e 'print rand, qq{\\n}'";

#[test]
fn twins_go_on_with_what_runs_and_have_an_identity_of_their_own() {
    let home = Home::warm();
    let id = create(&home, "w");
    let server = "n=0; mkfifo /run/ask /run/say; while read -r word < /run/ask; do n=$((n+1)); echo $n > /run/say; done";
    workspace(&home, ["exec", "w", "--detach", "--", "sh", "-c", server]).output().succeeds();
    let next = |name: &str| {
        sh(&home, name, "echo next > /run/ask; cat /run/say").succeeds().text().trim().to_owned()
    };
    sh(&home, "w", "while ! test -p /run/say; do sleep 0.01; done; echo shared > f; echo tool > /opt/tool")
        .succeeds();
    assert_eq!(next("w"), "1");

    let forked = fork(&home, &["--count", "3", "--name-prefix", "t", "--label", "try=1"]);
    assert_eq!((&forked["count"], &forked["resumed"]), (&3.into(), &"memory".into()));
    let twins = forked["workspaces"].as_array().unwrap();
    for twin in twins {
        assert_eq!(twin["parent"]["workspace_id"], id.as_str());
        assert_eq!((&twin["state"], &twin["labels"]["try"]), (&"started".into(), &"1".into()));
    }
    let names = ["w", "t-1", "t-2", "t-3"];
    let mut seen = HashSet::new();
    for name in names {
        for line in sh(&home, name, OF_ONES_OWN).succeeds().text().lines() {
            assert!(seen.insert(line.trim().to_owned()), "{name} has {line} of another one");
        }
        assert_eq!(next(name), "2");
        assert_eq!(sh(&home, name, "cat f /opt/tool").succeeds().text(), "shared\ntool\n");
        sh(&home, name, &format!("echo {name} > f")).succeeds();
    }
    for name in names {
        assert_eq!(sh(&home, name, "cat f").succeeds().text().trim(), name);
    }

    // One that breaks has broken nobody else; its baseline is where it began.
    sh(&home, "t-1", "rm -rf /workspace/* /opt /usr/bin/awk").succeeds();
    workspace(&home, ["reset", "t-1"]).output().succeeds();
    assert_eq!(sh(&home, "t-1", "cat f /opt/tool").succeeds().text(), "shared\ntool\n");
    assert_eq!(next("t-1"), "2");
    assert_eq!(next("t-2"), "3");

    // Without the parent they are whole, also after another start of everything.
    workspace(&home, ["delete", "w", "--force"]).output().succeeds();
    let daemon = home.daemon().unwrap();
    daemon.signal(Signal::KILL);
    daemon.assert_ends("the killed daemon");
    for name in ["t-2", "t-3"] {
        workspace(&home, ["reset", name]).output().succeeds();
        assert_eq!(sh(&home, name, "cat f").succeeds().text(), "shared\n");
        workspace(&home, ["stop", name]).output().succeeds();
        workspace(&home, ["start", name]).output().succeeds();
        assert_eq!(sh(&home, name, "cat f").succeeds().text(), "shared\n");
    }
    delete_all(&home);
}

#[test]
fn forks_from_a_snapshot_begin_there_and_can_be_forked_again() {
    let home = Home::warm();
    create(&home, "w");
    sh(&home, "w", "echo then > f").succeeds();
    snapshot(&home, "then");
    sh(&home, "w", "echo now > f").succeeds();
    let forked = fork(&home, &["--snapshot", "then", "--name-prefix", "child"]);
    assert_eq!(forked["workspaces"][0]["parent"]["snapshot_name"], "then");
    assert_eq!(sh(&home, "child-1", "cat f; echo child > g").succeeds().text(), "then\n");
    let again = home.pyro(["workspace", "fork", "child-1", "--name-prefix", "grand", "--json"]).output();
    again.succeeds();
    assert_eq!(sh(&home, "grand-1", "cat f g").succeeds().text(), "then\nchild\n");
    workspace(&home, ["delete", "child-1"]).output().succeeds();
    workspace(&home, ["reset", "grand-1"]).output().succeeds();
    assert_eq!(sh(&home, "grand-1", "cat f g").succeeds().text(), "then\nchild\n");
    assert_eq!(sh(&home, "w", "cat f").succeeds().text(), "now\n");
    delete_all(&home);
}

#[test]
fn more_than_fits_is_refused_before_anything_starts() {
    let home = Home::warm();
    create(&home, "w");
    home.stop_daemon();
    let fork = workspace(&home, ["fork", "w", "--count", "9", "--json"]);
    let refused = fork.env("PYRO_MEMORY_BUDGET_MIB", "4096").output();
    refused.fails_with("limit_reached");
    let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
    assert_eq!(list["count"], 1);
    let listed = workspace(&home, ["snapshot", "list", "w", "--json"]).output().succeeds().json();
    assert_eq!(listed["count"], 1);
    delete_all(&home);
}
