//! `gc`: what nobody needs is named with its reason, and only then removed; a workspace never is.

use std::{collections::BTreeMap, fs, path::PathBuf};

use pyro_e2e::{ENVIRONMENT, Home};
use serde_json::Value;

/// What a gc names: where it is, and its kind.
fn named(told: &Value) -> BTreeMap<PathBuf, String> {
    let items = told["items"].as_array().unwrap();
    assert_eq!(told["count"], items.len(), "{told}");
    let bytes: u64 = items.iter().map(|item| item["size_bytes"].as_u64().unwrap()).sum();
    assert_eq!(told["bytes_freed"], bytes, "{told}");
    let item = |item: &Value| {
        assert!(item["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "no reason: {told}");
        assert!(item.get("failure").is_none(), "{told}");
        (PathBuf::from(item["path"].as_str().unwrap()), item["kind"].as_str().unwrap().to_owned())
    };
    items.iter().map(item).collect()
}

#[test]
fn garbage_of_every_kind_is_named_and_then_removed_and_a_workspace_never_is() {
    let home = Home::warm();
    let gc = |words: &[&str]| home.pyro(["gc", "--json"].iter().chain(words)).output().succeeds().json();
    home.pyro(["workspace", "create", ENVIRONMENT, "--name", "w"]).output().succeeds();
    home.pyro(["workspace", "exec", "w", "-n", "--", "sh", "-c", "echo kept > kept"]).output().succeeds();
    assert_eq!(gc(&["--dry-run"])["count"], 0, "a store in use has no garbage");

    // What daemons and machines that were killed at the wrong moment would leave, made while a daemon looks on.
    let data = home.path().join("data");
    let garbage: BTreeMap<PathBuf, String> = [
        ("machines/00000000dead", "owner.lock", "machine"),
        ("environments/0000", "vmlinux", "kept_environment"),
        ("templates/0000", "memory", "template"),
        ("templates/.partial-0001", "memory", "template"),
        ("workspaces/00000000beef", "disk", "workspace_files"),
    ]
    .into_iter()
    .map(|(place, file, kind)| {
        let place = data.join(place);
        fs::create_dir(&place).unwrap();
        fs::write(place.join(file), vec![1; 100_000]).unwrap();
        (place, kind.to_owned())
    })
    .collect();
    // Nothing to do with us, or somebody's work: a card says that a workspace was finished.
    fs::write(data.join("workspaces/notes"), "mine").unwrap();
    let unlisted = data.join("workspaces/00000000cafe");
    fs::create_dir(&unlisted).unwrap();
    fs::write(unlisted.join("workspace.json"), "{}").unwrap();

    let dry = gc(&["--dry-run"]);
    assert_eq!((named(&dry), &dry["dry_run"]), (garbage.clone(), &true.into()), "{dry}");
    assert!(dry["bytes_freed"].as_u64().unwrap() >= 500_000, "{dry}");
    assert!(garbage.keys().all(|place| place.exists()), "a dry run removes nothing");
    let done = gc(&[]);
    assert_eq!((named(&done), &done["dry_run"]), (garbage.clone(), &false.into()), "{done}");
    assert!(!garbage.keys().any(|place| place.exists()), "it is still there: {done}");
    assert_eq!(gc(&[])["count"], 0);

    assert!(data.join("workspaces/notes").exists() && unlisted.exists());
    assert_eq!(home.installed_templates().len(), 1, "the template in use stays");
    home.pyro(["workspace", "exec", "w", "-n", "-q", "--", "cat", "kept"])
        .output()
        .succeeds()
        .prints("kept\n");
    home.pyro(["workspace", "stop", "w"]).output().succeeds();
    assert_eq!(gc(&[])["count"], 0, "a stopped workspace is no garbage, nor what it boots from");
    home.pyro(["workspace", "delete", "w"]).output().succeeds();
    // Now nobody boots from it any more.
    assert_eq!(named(&gc(&[])).into_values().collect::<Vec<_>>(), ["kept_environment"]);
    home.wait_until_nothing_is_left();
}
