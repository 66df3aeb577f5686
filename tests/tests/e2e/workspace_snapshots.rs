//! Snapshots from the outside: taken, gone back to, begun from; and workspaces that sleep.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
};

use pyro_e2e::{ENVIRONMENT, Home, Signal};
use serde_json::{Value, json};

use super::{
    mcp::Chat,
    snapshots::{delete_all, workspace},
};

#[track_caller]
fn does<const N: usize>(home: &Home, words: [&str; N]) -> Value {
    workspace(home, words).json().output().succeeds().result()
}

#[track_caller]
fn sh(home: &Home, name: &str, script: &str) -> String {
    workspace(home, ["exec", name, "-n", "-q", "--", "sh", "-c", script]).output().succeeds().text()
}

/// A workspace `w` with what the reference's snapshots could not bring back.
fn begun() -> Home {
    let home = Home::warm();
    let seed = home.scratch().join("seed");
    fs::create_dir_all(seed.join("node_modules/.bin")).unwrap();
    fs::write(seed.join("run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(seed.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../../run.sh", seed.join("node_modules/.bin/run")).unwrap();
    let create = workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--seed-path"]).flag(&seed);
    create.output().succeeds();
    home
}

/// All that is in `/workspace` and where programs are installed, with kind, mode, time and content.
fn everything(home: &Home, name: &str) -> String {
    sh(
        home,
        name,
        "cd /; find workspace opt usr/local/bin -printf '%p %y %m %U %T@ %l\\n' | sort; \
         find workspace opt usr/local/bin -type f | sort | xargs -r md5sum",
    )
}

/// Writes a number to a file, again and again, ten times a second; nothing but this process knows it.
const COUNTER: &str =
    "echo $$ > /run/counter; n=0; while :; do n=$((n + 1)); echo $n > /run/counted; sleep 0.1; done";

fn counted(home: &Home, name: &str) -> u64 {
    sh(home, name, "cat /run/counted").trim().parse().unwrap()
}

#[test]
fn a_reset_brings_back_every_kind_of_file_what_was_installed_and_what_ran() {
    let home = begun();
    sh(
        &home,
        "w",
        "echo work > work; ln work second; mkfifo fifo; ln -s /nowhere absolute; chmod 4750 run.sh
         mkdir -p /opt/tool; echo 1 > /opt/tool/version; printf '#!/bin/sh\\necho tool\\n' > /usr/local/bin/tool
         chmod 755 /usr/local/bin/tool; sync",
    );
    workspace(&home, ["exec", "w", "-n", "--detach", "--timeout-seconds", "0", "--", "sh", "-c", COUNTER])
        .output()
        .succeeds();
    sh(&home, "w", "while [ ! -s /run/counted ]; do sleep 0.1; done");
    let before = everything(&home, "w");
    let taken = does(&home, ["snapshot", "create", "w", "good", "--comment", "before it goes wrong"]);
    let snapshot = &taken["snapshot"];
    assert_eq!(
        (&snapshot["snapshot_name"], &snapshot["kind"], &snapshot["has_memory"], &snapshot["deletable"]),
        (&json!("good"), &json!("named"), &json!(true), &json!(true)),
        "{taken}"
    );
    assert_eq!((&snapshot["parent"], &snapshot["current"]), (&json!("baseline"), &json!(true)), "{taken}");

    sh(
        &home,
        "w",
        "rm -rf ./* /opt/tool /usr/local/bin/tool; kill $(cat /run/counter); echo wrong > wrong; sync",
    );
    let reset = does(&home, ["reset", "w", "--snapshot", "good"]);
    assert_eq!(
        (&reset["state"], &reset["reset_count"], &reset["workspace_reset"]["resumed"]),
        (&json!("started"), &json!(1), &json!("memory")),
        "{reset}"
    );
    assert_eq!(everything(&home, "w"), before);
    assert_eq!(sh(&home, "w", "./run.sh; node_modules/.bin/run; tool"), "ran\nran\ntool\n");
    // The process that was killed since is there, and counts on.
    let again = counted(&home, "w");
    sh(&home, "w", &format!("while [ $(cat /run/counted) -le {} ]; do sleep 0.1; done", again + 1));

    // The beginning is a snapshot too.
    let reset = does(&home, ["reset", "w"]);
    assert_eq!(
        (
            &reset["workspace_reset"]["snapshot_name"],
            &reset["workspace_reset"]["kind"],
            &reset["reset_count"]
        ),
        (&json!("baseline"), &json!("baseline"), &json!(2)),
        "{reset}"
    );
    assert_eq!((&reset["command_count"], &reset["last_command"]), (&json!(0), &Value::Null), "{reset}");
    workspace(&home, ["diff", "w", "--name-only"]).output().succeeds().prints("");
    assert_eq!(
        sh(&home, "w", "node_modules/.bin/run; ls; test ! -e /opt/tool"),
        "ran\nnode_modules\nrun.sh\n"
    );
    delete_all(&home);
}

#[test]
fn a_reset_that_fails_leaves_the_workspace_as_it_was() {
    let home = begun();
    let id = does(&home, ["status", "w"])["workspace_id"].as_str().unwrap().to_owned();
    sh(&home, "w", "echo kept > kept; sync");
    does(&home, ["snapshot", "create", "w", "good"]);
    sh(&home, "w", "echo newer > newer; sync");
    let layers = home.path().join("data/workspaces").join(&id).join("disk");
    let moved = frozen_layer(&layers);
    fs::rename(&moved, moved.with_extension("away")).unwrap();
    workspace(&home, ["reset", "w", "--snapshot", "good"]).json().output().fails_with("snapshot_damaged");
    workspace(&home, ["reset", "w", "--snapshot", "bad"]).json().output().fails_with("unknown_snapshot");
    let status = does(&home, ["status", "w"]);
    assert_eq!((&status["state"], &status["reset_count"]), (&json!("started"), &json!(0)), "{status}");
    assert_eq!(sh(&home, "w", "cat kept newer"), "kept\nnewer\n");
    fs::rename(moved.with_extension("away"), &moved).unwrap();
    does(&home, ["reset", "w", "--snapshot", "good"]);
    assert_eq!(sh(&home, "w", "cat kept; test ! -e newer"), "kept\n");
    home.tolerate_errors_in_the_log();
    delete_all(&home);
}

/// The layer that was frozen last before the one that is written to now.
fn frozen_layer(layers: &std::path::Path) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(layers)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "qcow2"))
        .collect();
    found.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    assert!(found.len() >= 2, "{found:?}");
    found.swap_remove(found.len() - 2)
}

#[test]
fn a_list_of_snapshots_asks_nobody() {
    let home = begun();
    fs::remove_dir_all(home.scratch().join("seed")).unwrap();
    for name in ["first", "second"] {
        does(&home, ["snapshot", "create", "w", name]);
    }
    // Neither the guest nor the files of the seed are needed to tell what there is.
    let machine = home.machine();
    machine.vmm.signal(Signal::STOP);
    let listed = workspace(&home, ["snapshot", "list", "w"]).json().output().succeeds().within_s(5).json();
    machine.vmm.signal(Signal::CONT);
    let snapshots = listed["snapshots"].as_array().unwrap();
    let names: Vec<&str> = snapshots.iter().map(|one| one["snapshot_name"].as_str().unwrap()).collect();
    assert_eq!((names.as_slice(), &listed["count"]), (["baseline", "second", "first"].as_slice(), &json!(3)));
    assert_eq!(
        (&snapshots[0]["entry_count"], &snapshots[0]["deletable"]),
        (&does(&home, ["status", "w"])["workspace_seed"]["entry_count"], &json!(false)),
        "{listed}"
    );

    // What a deleted one had in common with another stays.
    let deleted = does(&home, ["snapshot", "delete", "w", "first"]);
    assert_eq!((&deleted["snapshot_name"], &deleted["deleted"]), (&json!("first"), &json!(true)));
    let reset = does(&home, ["reset", "w", "--snapshot", "second"]);
    assert_eq!(reset["workspace_reset"]["resumed"], "memory", "{reset}");
    delete_all(&home);
}

#[test]
fn a_chat_goes_back_and_tries_side_by_side() {
    let home = begun();
    let mut chat = Chat::with(&home, &["--profile", "workspace-full"]);
    let w = |more: &Value| {
        let mut arguments = json!({"workspace_id": "w"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let taken = chat.call("snapshot_create", &w(&json!({"snapshot_name": "good", "comment": "as it was"})));
    assert_eq!(taken["snapshot"]["comment"], "as it was", "{taken}");
    chat.call("workspace_file_write", &w(&json!({"path": "wrong", "text": "x"})));
    let reset = chat.call("workspace_reset", &w(&json!({"snapshot": "good"})));
    assert_eq!((&reset["reset_count"], &reset["metadata"]), (&json!(1), &json!({})), "{reset}");
    assert_eq!(chat.call("workspace_diff", &w(&json!({})))["changed"], false);
    let listed = chat.call("snapshot_list", &w(&json!({})));
    assert_eq!((&listed["count"], &listed["snapshots"][1]["current"]), (&json!(2), &json!(true)), "{listed}");
    let forked = chat
        .call("workspace_fork", &w(&json!({"snapshot": "good", "name_prefix": "try", "labels": {"a": "b"}})));
    assert_eq!(
        (&forked["workspaces"][0]["name"], &forked["snapshot_name"]),
        (&json!("try-1"), &json!("good")),
        "{forked}"
    );
    assert_eq!(chat.call("workspace_sleep", &w(&json!({})))["state"], "sleeping");
    let ran = chat.call("workspace_exec", &w(&json!({"command": "ls"})));
    assert_eq!(ran["stdout"], "node_modules\nrun.sh\n", "{ran}");
    let deleted = chat.call("snapshot_delete", &w(&json!({"snapshot_name": "good"})));
    assert_eq!(deleted["deleted"], true, "{deleted}");
    let unknown = chat.failure("workspace_reset", &w(&json!({"snapshot": "good"})));
    assert_eq!(unknown["code"], "unknown_snapshot", "{unknown}");
    chat.end();
    delete_all(&home);
}
