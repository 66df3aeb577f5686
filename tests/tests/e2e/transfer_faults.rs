//! Push, patch, pull and export, cut off at each of their steps: before or after, never between, and nothing of them is
//! left. What looks first is a command, or the host itself: no operation on files, which would have to make it whole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Running, Signal};
use serde_json::Value;

use super::fault_points::{full_at, killed_at};

/// What may be there after a daemon was killed at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    Before,
    After,
    /// The guest goes on without the host, as far as it got.
    Either,
}

use Left::{After, Before, Either};

/// Steps of the talk with the guest.
const PUSH: [(&str, Left); 4] =
    [("push.asked", Before), ("push.read", Before), ("push.sent", Either), ("push.answered", After)];
const PATCH: [(&str, Left); 3] = [("patch.asked", Before), ("patch.sent", Either), ("patch.answered", After)];
/// Steps of a pull, among them those of its transaction; what is left when the next daemon has started.
const PULL: [(&str, Left); 14] = [
    ("pull.planned", Before),
    ("pull.recorded", Before),
    ("transaction-stage", Before),
    ("transaction-backup", Before),
    ("pull.received", Before),
    ("transaction-verify", Before),
    ("transaction-journal-write", Before),
    ("transaction-journal-commit", Before),
    ("transaction-place", After),
    ("transaction-remove", After),
    ("transaction-prune", After),
    ("transaction-attributes", After),
    ("transaction-journal-remove", After),
    ("transaction-clean", After),
];
/// Steps that only a failure leads to: until they are begun to be taken back, changes can still be completed.
const PULL_UNDONE: [(&str, Left); 2] = [("transaction-undo-begin", After), ("transaction-undo-step", Before)];
/// Steps of a pull into the directory that the workspace was filled from.
const PULL_TO_SEED: [(&str, Left); 2] = [("pull.carried-out", After), ("pull.agreed", After)];
const EXPORT: [(&str, Left); 4] = [
    ("export.claimed", Before),
    ("export.made", Before),
    ("export.written", Before),
    ("export.placed", After),
];

/// All of them.
pub(crate) fn points() -> impl Iterator<Item = &'static &'static str> {
    let steps =
        PUSH.iter().chain(&PATCH).chain(&PULL).chain(&PULL_UNDONE).chain(&PULL_TO_SEED).chain(&EXPORT);
    steps.map(|(point, _)| point)
}

/// Files that a version of the tree has.
const FILES: usize = 20;

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn create(home: &Home, seed: &Path) {
    workspace(home, ["create", ENVIRONMENT, "--name", "w"])
        .flag("--seed-path")
        .flag(seed)
        .output()
        .succeeds();
}

fn delete(home: &Home) {
    workspace(home, ["delete", "w", "--force"]).output().succeeds();
    home.wait_until_nothing_is_left();
}

fn exec(home: &Home, script: &str) -> Invocation {
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script])
}

fn directory(home: &Home, name: &str) -> PathBuf {
    let place = home.scratch().join(name);
    fs::create_dir(&place).unwrap();
    place
}

/// Makes all files of a tree be of one version.
fn fill(place: &Path, version: &str) {
    for number in 0..FILES {
        fs::write(place.join(format!("f{number:02}")), format!("{version}\n")).unwrap();
    }
}

/// The patch from one version to the other.
fn patch(from: &str, to: &str) -> String {
    let file = |number| format!("--- a/f{number:02}\n+++ b/f{number:02}\n@@ -1 +1 @@\n-{from}\n+{to}\n");
    (0..FILES).map(file).collect()
}

/// The version that a command sees in every file; fails if it sees anything besides.
#[track_caller]
fn version(home: &Home) -> String {
    let seen = exec(home, "cat f* | sort | uniq -c; ls -A | wc -l").output().succeeds().text();
    let words: Vec<&str> = seen.split_whitespace().collect();
    let files = FILES.to_string();
    match words.as_slice() {
        [count, version, all] if [count, all] == [&files, &files] => (*version).to_owned(),
        _ => panic!("a mix: {seen}"),
    }
}

fn push(home: &Home, seed: &Path) -> Invocation {
    workspace(home, ["sync", "push", "w", "--json"]).flag(seed)
}

fn patch_apply(home: &Home, from: &str, to: &str) -> Invocation {
    workspace(home, ["patch", "apply", "w", "--stdin", "--json"]).stdin(patch(from, to))
}

#[test]
fn a_push_or_a_patch_whose_daemon_is_killed_is_done_or_not() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fill(&seed, "v0");
    create(&home, &seed);
    home.stop_daemon();
    let mut now = "v0".to_owned();
    for (number, (point, left)) in PUSH.iter().chain(&PATCH).enumerate() {
        let next = format!("v{}", number + 1);
        let request = if point.starts_with("push") {
            fill(&seed, &next);
            push(&home, &seed)
        } else {
            patch_apply(&home, &now, &next)
        };
        killed_at(&home, point, request).fails_with("daemon_lost");
        let then = version(&home);
        let expected: &[&String] = match left {
            Before => &[&now],
            After => &[&next],
            Either => &[&now, &next],
        };
        assert!(expected.contains(&&then), "at {point}: {then}, and not {expected:?}");
        now = then;
        home.stop_daemon();
    }
    delete(&home);
}

/// Stops everything in the guest when the change is decided and nothing of it is done.
fn stopped_in_the_midst(home: &Home) -> Running {
    let script = "echo watches; until [ -e .pyro-transaction/journal ]; do :; done; \
                  kill -STOP -1; sync; echo stopped";
    let mut watcher = exec(home, script).start();
    assert_eq!(watcher.line(), "watches");
    watcher
}

#[test]
fn a_change_that_dies_half_way_is_whole_before_any_command_sees_it() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fill(&seed, "v0");
    create(&home, &seed);
    for (number, (is_push, is_daemon)) in
        [(true, true), (false, true), (true, false), (false, false)].into_iter().enumerate()
    {
        let (now, next) = (format!("v{number}"), format!("v{}", number + 1));
        let request = if is_push {
            fill(&seed, &next);
            push(&home, &seed)
        } else {
            patch_apply(&home, &now, &next)
        };
        let mut watcher = stopped_in_the_midst(&home);
        let changing = request.start();
        assert_eq!(watcher.line(), "stopped");
        if is_daemon {
            home.kill_daemon();
        } else {
            home.machine().vmm.signal(Signal::KILL);
        }
        let changed = changing.finish();
        assert!(changed.code() != 0, "{changed}");
        watcher.finish();
        if !is_daemon {
            workspace(&home, ["start", "w"]).output().succeeds();
        }
        // It was decided.
        assert_eq!(version(&home), next, "push: {is_push}, daemon: {is_daemon}, {changed}");
    }
    delete(&home);
}

/// Everything about a tree but times of directories.
fn tree(place: &Path) -> String {
    let script = "find . -printf '%p %y %m %l\\n' | sort; find . -type f -exec sha256sum {} + | sort -k2";
    let output = Command::new("sh").args(["-c", script]).current_dir(place).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn pull(home: &Home, target: &Path) -> Invocation {
    workspace(home, ["sync", "pull", "w", "--json"]).flag(target)
}

/// A pull that does not come to its end; the next daemon ends it, whatever it is started for.
fn cut_off(home: &Home, fault: impl FnOnce(Invocation) -> Value, target: &Path) {
    fault(pull(home, target));
    workspace(home, ["list"]).output().succeeds();
    home.stop_daemon();
    assert!(!target.join(".pyro-transaction").exists());
    let records = fs::read_dir(home.path().join("data/pulls")).map_or(0, Iterator::count);
    assert_eq!(records, 0, "what is written down of pulls is left");
}

#[test]
fn a_pull_whose_daemon_is_killed_is_done_or_not() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fill(&seed, "v0");
    for name in ["emptied", "read-only"] {
        fs::create_dir(seed.join(name)).unwrap();
    }
    fs::write(seed.join("emptied/gone"), "gone\n").unwrap();
    fs::set_permissions(seed.join("read-only"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    create(&home, &seed);
    let script = "for f in f*; do echo v1 > $f; done; rm -r emptied; rmdir read-only; echo file > read-only; \
                  mkdir new; echo new > new/file";
    exec(&home, script).output().succeeds();
    let copy = |name: &str| {
        let target = home.scratch().join(name);
        assert!(Command::new("cp").arg("-a").arg(&seed).arg(&target).status().unwrap().success());
        target
    };
    let (before, target) = (tree(&seed), copy("whole"));
    pull(&home, &target).output().succeeds();
    let after = tree(&target);
    assert_ne!(before, after);
    home.stop_daemon();
    let check = |point: &str, left: Left, target: &Path| {
        let expected = if left == After { &after } else { &before };
        assert_eq!(&tree(target), expected, "at {point}");
    };
    for (point, left) in PULL {
        let target = copy(point);
        cut_off(&home, |pull| killed_at(&home, point, pull).fails_with("daemon_lost"), &target);
        check(point, left, &target);
    }
    for (point, left) in PULL_UNDONE {
        let target = copy(point);
        let faults = format!("transaction-prune=disk-full,{point}");
        cut_off(&home, |pull| killed_at(&home, &faults, pull).fails_with("daemon_lost"), &target);
        check(point, left, &target);
    }
    let target = copy("full");
    cut_off(&home, |pull| full_at(&home, "transaction-prune", pull).fails_with("disk_full"), &target);
    check("transaction-prune", Before, &target);
    for (point, left) in PULL_TO_SEED {
        killed_at(&home, point, pull(&home, &seed)).fails_with("daemon_lost");
        check(point, left, &seed);
        home.stop_daemon();
    }
    delete(&home);
}

fn notes(pulled: &Value) -> Vec<&str> {
    // Left out where there are none.
    let notes = pulled["workspace_sync"]["notes"].as_array().into_iter().flatten();
    notes.map(|note| note.as_str().unwrap()).collect()
}

#[test]
fn an_edit_after_a_daemon_was_killed_in_the_midst_of_a_pull_stays() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fill(&seed, "v0");
    create(&home, &seed);
    exec(&home, "for f in f*; do echo v1 > $f; done; rm f19").output().succeeds();
    home.stop_daemon();
    killed_at(&home, "transaction-place", pull(&home, &seed)).fails_with("daemon_lost");
    assert!(seed.join(".pyro-transaction/journal").exists());
    fs::write(seed.join("f07"), "mine\n").unwrap();
    fs::write(seed.join("f19"), "mine too\n").unwrap();
    let pulled = pull(&home, &seed).output();
    assert_eq!(pulled.code(), 1, "both have changed f07 and f19: {pulled}");
    let pulled = pulled.json();
    // f19 had gone before the daemon did, so that what has its name now is nothing that a step meets.
    assert!(matches!(*notes(&pulled), [note] if note.contains("`f07.pyro-new`")), "{pulled}");
    assert_eq!(pulled["workspace_sync"]["conflict_count"], 2);
    let text = |name: &str| fs::read_to_string(seed.join(name)).unwrap();
    assert_eq!(["f00", "f07", "f07.pyro-new", "f19"].map(text), ["v1\n", "mine\n", "v1\n", "mine too\n"]);
    assert_eq!(fs::read_dir(&seed).unwrap().count(), FILES + 1);
    assert_eq!(notes(&pull(&home, &seed).output().json()), [""; 0]);
    delete(&home);
}

#[test]
fn a_journal_that_came_with_a_repository_is_not_carried_out() {
    let home = Home::warm();
    let seed = directory(&home, "seed");
    fill(&seed, "v0");
    create(&home, &seed);
    exec(&home, "for f in f*; do echo v1 > $f; done").output().succeeds();
    home.stop_daemon();
    // The journal of a pull, in a copy of the directory: as a repository may bring one.
    killed_at(&home, "transaction-place", pull(&home, &seed)).fails_with("daemon_lost");
    let copied = home.scratch().join("copied");
    assert!(Command::new("cp").arg("-a").arg(&seed).arg(&copied).status().unwrap().success());
    let before = tree(&copied);
    for dry_run in [true, false] {
        for request in [pull(&home, &copied), push(&home, &copied)] {
            let request = if dry_run { request.flag("--dry-run") } else { request };
            let refused = request.output().fails_with("untrusted_journal");
            assert!(refused["hint"].as_str().unwrap().contains(".pyro-transaction"), "{refused}");
            assert_eq!(tree(&copied), before);
        }
    }
    assert_eq!(fs::read_to_string(seed.join("f00")).unwrap(), "v1\n", "the next daemon ended the real one");
    delete(&home);
}

#[test]
fn an_export_whose_daemon_is_killed_leaves_the_old_or_the_new_and_nothing_beside_it() {
    let home = Home::warm();
    let (seed, out) = (directory(&home, "seed"), directory(&home, "out"));
    fill(&seed, "new");
    create(&home, &seed);
    home.stop_daemon();
    let export = |words: &[&str], to: &str| {
        home.pyro(["workspace", "export", "w", "--json"].iter().chain(words))
            .flag("--output")
            .flag(out.join(to))
    };
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let next_daemon = || drop(workspace(&home, ["list"]).output().succeeds());
    for (point, left) in EXPORT {
        // A tree where nothing was.
        killed_at(&home, point, export(&["."], "tree")).fails_with("daemon_lost");
        next_daemon();
        let tree = (left == After).then(|| "tree".to_owned());
        assert_eq!(names(), Vec::from_iter(tree.clone()), "at {point}");
        if tree.is_some() {
            assert_eq!(fs::read_dir(out.join("tree")).unwrap().count(), FILES);
            fs::remove_dir_all(out.join("tree")).unwrap();
        }
        home.stop_daemon();
        // An archive where a tree was.
        fs::create_dir(out.join("old")).unwrap();
        fs::write(out.join("old/precious"), "old\n").unwrap();
        killed_at(&home, point, export(&[".", "--tar", "--force"], "old")).fails_with("daemon_lost");
        next_daemon();
        assert_eq!(names(), ["old"], "at {point}");
        if left == After {
            assert!(fs::metadata(out.join("old")).unwrap().is_file());
            fs::remove_file(out.join("old")).unwrap();
        } else {
            assert_eq!(fs::read_to_string(out.join("old/precious")).unwrap(), "old\n", "at {point}");
            fs::remove_dir_all(out.join("old")).unwrap();
        }
        home.stop_daemon();
    }
    assert_eq!(fs::read_dir(home.path().join("data/exports")).unwrap().count(), 0, "claims are left");
    delete(&home);
}
