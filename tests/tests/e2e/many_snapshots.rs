//! Snapshots that others need, and as many as there may be.

use std::time::Duration;

use pyro_e2e::{Home, wait_until};
use serde_json::Value;

use super::snapshots::{create, delete_all, go_back, names, reset, said, snapshot, workspace};

/// All that was done in it, on the disk and in memory.
const ALL: &str = "cat on-disk /dev/shm/in-memory; md5sum /dev/shm/noise-* | cut -c1-32";

/// Does something that only who comes after it has.
fn work(home: &Home, name: &str, word: &str) {
    let script = format!(
        "echo {word} | tee -a on-disk >> /dev/shm/in-memory; head -c 1000000 /dev/urandom > /dev/shm/noise-{word}"
    );
    said(home, name, &script);
}

#[test]
fn a_snapshot_that_others_come_from_can_be_deleted() {
    let home = Home::warm();
    create(&home, "w");
    let all: Vec<String> = ["a", "b", "c"]
        .map(|name| {
            work(&home, "w", name);
            snapshot(&home, name);
            said(&home, "w", ALL)
        })
        .into();
    let fork = workspace(&home, ["fork", "w", "--snapshot", "b", "--name-prefix", "twin"]);
    fork.output().succeeds();
    work(&home, "twin-1", "own");
    let own = said(&home, "twin-1", ALL);
    workspace(&home, ["snapshot", "create", "twin-1", "own"]).output().succeeds();

    // The one that a twin began from, that another snapshot came from, and that the workspace is at.
    reset(&home, "b");
    workspace(&home, ["snapshot", "delete", "w", "b"]).output().succeeds();
    workspace(&home, ["snapshot", "delete", "w", "a"]).output().succeeds();
    assert_eq!(said(&home, "w", ALL), all[1]);
    work(&home, "w", "d");
    snapshot(&home, "d");
    let d = said(&home, "w", ALL);
    home.kill_daemon();

    assert_eq!(names(&home), ["baseline", "d", "c"]);
    for (name, at, all) in
        [("w", "c", &all[2]), ("w", "d", &d), ("twin-1", "baseline", &all[1]), ("twin-1", "own", &own)]
    {
        go_back(&home, name, at);
        assert_eq!(&said(&home, name, ALL), all, "{name} at {at}");
    }
    // Without the parent too.
    workspace(&home, ["delete", "w"]).output().succeeds();
    go_back(&home, "twin-1", "baseline");
    assert_eq!(said(&home, "twin-1", ALL), all[1]);
    delete_all(&home);
}

#[test]
fn a_snapshot_that_is_deleted_while_others_begin_from_it_is_whole_or_gone_for_them() {
    let home = Home::warm();
    create(&home, "w");
    work(&home, "w", "a");
    let all = said(&home, "w", ALL);
    snapshot(&home, "a");
    work(&home, "w", "b");
    let fork =
        workspace(&home, ["fork", "w", "--snapshot", "a", "--count", "2", "--name-prefix", "twin", "--json"])
            .start();
    wait_until("a twin starts", &home.machines_directory(), Duration::from_secs(60), || {
        home.machines_directory().read_dir().unwrap().count() > 1
    });
    workspace(&home, ["snapshot", "delete", "w", "a"]).output().succeeds();
    let forked = fork.finish();
    let list = workspace(&home, ["list", "--json"]).output().succeeds().json();
    if forked.code() == 0 {
        assert_eq!(list["count"], 3, "{list}");
        for twin in ["twin-1", "twin-2"] {
            assert_eq!(said(&home, twin, ALL), all);
            go_back(&home, twin, "baseline");
            assert_eq!(said(&home, twin, ALL), all);
        }
    } else {
        // It was asked for when there was none any more.
        forked.fails_with("unknown_snapshot");
        assert_eq!(list["count"], 1, "{forked}");
        assert_eq!(home.machines().len(), 1);
    }
    assert_eq!(names(&home), ["baseline"]);
    assert!(said(&home, "w", ALL).starts_with("a\nb\na\nb\n"));
    snapshot(&home, "c");
    go_back(&home, "w", "c");
    delete_all(&home);
}

#[test]
fn the_sixty_fifth_snapshot_is_refused_and_the_largest_is_named() {
    let home = Home::warm();
    create(&home, "w");
    let take = |name: &str| workspace(&home, ["snapshot", "create", "w", name, "--json"]).output();
    said(&home, "w", "head -c 9000000 /dev/urandom > noise; sync");
    // What has no machine is taken at once.
    workspace(&home, ["stop", "w"]).output().succeeds();
    take("large").succeeds();
    for number in 2..=64 {
        take(&format!("s{number}")).succeeds();
    }
    let refused = take("one-more");
    refused.fails_with("limit_reached");
    for word in ["64", "`large`"] {
        assert!(refused.text().contains(word), "{word} is not in {refused}");
    }
    let list = workspace(&home, ["snapshot", "list", "w", "--json"]).output().succeeds().json();
    let largest = |list: &Value| {
        let snapshots = list["snapshots"].as_array().unwrap().iter().filter(|one| one["deletable"] == true);
        let largest = snapshots.max_by_key(|one| one["size_bytes"].as_u64()).unwrap();
        largest["snapshot_name"].clone()
    };
    assert_eq!((&list["count"], largest(&list)), (&65.into(), "large".into()));
    workspace(&home, ["snapshot", "delete", "w", "large"]).output().succeeds();
    take("one-more").succeeds();
    take("two-more").fails_with("limit_reached");
    // So many layers are still a disk.
    let back = reset(&home, "s2");
    assert_eq!(back["workspace_reset"]["resumed"], "boot", "{back}");
    assert_eq!(said(&home, "w", "stat -c %s noise"), "9000000");
    delete_all(&home);
}
