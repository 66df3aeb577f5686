//! Two workspaces compared: what the one has otherwise, as a patch that git applies to the files of the other.

use std::{fs, process::Command};

use pyro_e2e::{ENVIRONMENT, Home, Outcome};
use serde_json::Value;

use super::{
    snapshots::{delete_all, sh, workspace},
    workspace_faults::status,
};

fn diff(home: &Home, name: &str, other: &str, words: &[&str]) -> Outcome {
    home.pyro(["workspace", "diff", name, "--against", other].iter().chain(words)).output()
}

/// What both begin with.
const SEED: &str = "mkdir -p src; seq 50 > src/moves; seq 2000 > long; echo gone > gone; echo tool > tool; printf 'no end' > endless
     printf '\\0old' > blob; ln -s long link; echo one > same-size; echo kept > kept; echo x > 'with space'; : > empty";

const ONE: &str = "mv src/moves moved; sed -i s/^1000$/thousand/ long; rm gone; chmod 755 tool; echo >> endless
     printf '\\0new' > blob; ln -sfn tool link; echo two > same-size; echo one >> 'with space'; echo full > empty
     echo a > 'a new one'; echo b > \"$(printf 'new\\nline')\"; echo c > \"$(printf 'byte\\377')\"; touch kept";

const OTHER: &str =
    "echo other > mine; rm tool; sed -i '$d' long; printf end > src/other; sed -i s/kept/kept/ kept";

/// Every file but the binary one with its mode, digest or target, in the same words on the host and in a guest.
const PICTURE: &str = "find . -type f ! -name blob -exec stat -c '%a %n' {} + | sort -k2
     find . -type f ! -name blob -exec sha256sum {} + | sort -k2; find . -type l -printf '%p %l\\n' | sort";

#[test]
fn two_that_went_their_ways_are_compared_and_the_patch_leads_from_one_to_the_other() {
    let home = Home::warm();
    let seed = home.scratch().join("seed");
    fs::create_dir(&seed).unwrap();
    let on_host = |place: &str, script: &str| {
        let output =
            Command::new("sh").args(["-ec", script]).current_dir(home.scratch().join(place)).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    on_host("seed", SEED);
    workspace(&home, ["create", ENVIRONMENT, "--name", "w"])
        .flag("--seed-path")
        .flag(&seed)
        .output()
        .succeeds();
    // What was made before the ways parted is no difference either.
    sh(&home, "w", "mkdir made; seq 300 | while read n; do echo $n > made/$n; done").succeeds();
    let forked = workspace(&home, ["fork", "w", "--count", "2", "--name-prefix", "t", "--json"]).output();
    let forked = forked.succeeds().json();
    assert_eq!(diff(&home, "t-1", "t-2", &["--json"]).succeeds().json()["changed"], false);
    sh(&home, "t-1", ONE).succeeds();
    sh(&home, "t-2", OTHER).succeeds();

    // Both sleep; asking for the difference wakes them.
    for name in ["t-1", "t-2"] {
        workspace(&home, ["sleep", name]).output().succeeds();
    }
    let told = diff(&home, "t-1", "t-2", &["--json"]).succeeds().json();
    for name in ["t-1", "t-2"] {
        assert_eq!(status(&home, name)["state"], "started");
    }
    assert_eq!(told["against"], forked["workspaces"][1]["workspace_id"], "{told}");
    let entries = told["entries"].as_array().unwrap();
    let status = |path: &str| {
        let found = entries.iter().find(|entry| entry["path"] == path);
        found.map_or(Value::Null, |entry| entry["status"].clone())
    };
    assert_eq!(status("moved"), "renamed");
    assert_eq!(status("mine"), "deleted");
    assert_eq!(status("tool"), "added");
    for path in ["long", "blob", "link", "same-size", "empty", "endless", "with space"] {
        assert_eq!(status(path), "modified", "{path}: {told}");
    }
    // Touched, or written anew with what was in it: no difference.
    for path in ["kept", "made", "made/7"] {
        assert_eq!(status(path), Value::Null, "{path}: {told}");
    }
    let blob = entries.iter().find(|entry| entry["path"] == "blob").unwrap();
    assert!(blob["binary"] == true && blob["new"]["sha256"] != blob["old"]["sha256"], "{blob}");

    let copy = home.scratch().join("copy");
    workspace(&home, ["export", "t-2", ".", "--output", copy.to_str().unwrap()]).output().succeeds();
    fs::write(home.scratch().join("patch"), told["patch"].as_str().unwrap()).unwrap();
    on_host("copy", "git apply --whitespace=nowarn ../patch");
    let there = sh(&home, "t-1", PICTURE).succeeds();
    let made = on_host("copy", PICTURE);
    assert!(there.stdout == made, "{there}\n{}", String::from_utf8_lossy(&made));

    // Child and parent; a part of it; what is said to people.
    sh(&home, "w", "echo parent > kept").succeeds();
    assert_eq!(diff(&home, "w", "t-2", &["--name-only", "kept", "made"]).succeeds().lines(), ["kept"]);
    assert!(diff(&home, "w", "t-2", &["kept"]).succeeds().text().contains("\n-kept\n+parent\n"));
    let same = diff(&home, "t-1", "t-1", &[]).succeeds().text();
    assert!(same.starts_with("No workspace changes"), "{same}");

    // With no machine there are no files to compare.
    diff(&home, "t-1", "nobody", &["--json"]).fails_with("unknown_workspace");
    workspace(&home, ["stop", "t-2"]).output().succeeds();
    let refused = diff(&home, "t-1", "t-2", &["--json"]).fails_with("workspace_state");
    assert!(refused["hint"].as_str().unwrap().contains("workspace start"), "{refused}");
    delete_all(&home);
}
