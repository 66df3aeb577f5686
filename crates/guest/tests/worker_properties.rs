//! Over real overlays, random trees and random work on them: what is told as changed is what differs, and the patch
//! makes the one of the other.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod place;
mod work;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use place::{Place, in_namespace};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use pyro_protocol::work::{Changes, Diff, Patch, Push, Seed, work_request::Body};
use work::{Worker, archive, snapshot};

/// Something that somebody does in a tree; what cannot be done is not.
#[derive(Clone, Debug)]
enum Act {
    Write(String, String),
    Append(String, String),
    Remove(String),
    MakeDirectory(String),
    Rename(String, String),
    Link(String, String),
    Symlink(String, String),
    Mode(String, bool),
    /// To be copied up without a change.
    Touch(String),
    /// As `cp -r` and `rm -r` do, where a directory cannot be renamed.
    Move(String, String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c d"), Just("e-f"), Just("e")];
    proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn content() -> impl Strategy<Value = String> {
    let line = prop_oneof![Just("one"), Just("two"), Just("three"), Just(""), Just("four\r")];
    (proptest::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, ends)| {
        let text = lines.join("\n");
        if ends && !text.is_empty() { text + "\n" } else { text }
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (path(), content()).prop_map(|(path, content)| Act::Write(path, content)),
        2 => (path(), content()).prop_map(|(path, content)| Act::Append(path, content)),
        3 => path().prop_map(Act::Remove),
        1 => path().prop_map(Act::MakeDirectory),
        4 => (path(), path()).prop_map(|(from, to)| Act::Rename(from, to)),
        2 => (path(), path()).prop_map(|(from, to)| Act::Link(from, to)),
        1 => (path(), path()).prop_map(|(target, path)| Act::Symlink(target, path)),
        1 => (path(), any::<bool>()).prop_map(|(path, on)| Act::Mode(path, on)),
        1 => path().prop_map(Act::Touch),
        1 => (path(), path()).prop_map(|(from, to)| Act::Move(from, to)),
    ]
}

impl Act {
    fn carry_out(&self, root: &Path) {
        let _done = self.attempt(root);
    }

    fn attempt(&self, root: &Path) -> std::io::Result<()> {
        let prepared = |path: &str| -> std::io::Result<PathBuf> {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap())?;
            Ok(path)
        };
        match self {
            Self::Write(path, content) => fs::write(prepared(path)?, content),
            Self::Append(path, content) => {
                use std::io::Write as _;
                fs::File::options().append(true).open(root.join(path))?.write_all(content.as_bytes())
            }
            Self::Remove(path) => {
                let path = root.join(path);
                if path.symlink_metadata()?.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
            Self::MakeDirectory(path) => fs::create_dir_all(root.join(path)),
            Self::Rename(from, to) => fs::rename(root.join(from), prepared(to)?),
            Self::Link(from, to) => fs::hard_link(root.join(from), prepared(to)?),
            Self::Symlink(target, path) => symlink(target, prepared(path)?),
            Self::Mode(path, on) => {
                let path = root.join(path);
                let metadata = path.symlink_metadata()?;
                let mode = if *on || metadata.is_dir() { 0o755 } else { 0o644 };
                if metadata.is_symlink() {
                    Ok(())
                } else {
                    fs::set_permissions(path, Permissions::from_mode(mode))
                }
            }
            Self::Touch(path) => {
                fs::File::options().append(true).open(root.join(path))?.set_modified(std::time::UNIX_EPOCH)
            }
            Self::Move(from, to) => {
                let moved = Command::new("mv").arg("-n").arg(root.join(from)).arg(prepared(to)?).output()?;
                if moved.status.success() { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
            }
        }
    }
}

/// The snapshot without what patches do not know: directories.
fn files(root: &Path) -> Vec<String> {
    snapshot(root).into_iter().filter(|line| !is_directory(line)).collect()
}

fn is_directory(line: &str) -> bool {
    line.rsplit_once(" d").is_some_and(|(_, mode)| u32::from_str_radix(mode, 8).is_ok())
}

/// Paths whose line in the snapshots differs.
fn differing(old: &Path, new: &Path) -> Vec<String> {
    let lines = |root: &Path| -> BTreeMap<String, String> {
        let lines = walk_lines(root);
        lines.into_iter().collect()
    };
    let (old, new) = (lines(old), lines(new));
    let mut paths: Vec<_> =
        old.keys().chain(new.keys()).filter(|path| old.get(*path) != new.get(*path)).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().cloned().collect()
}

fn walk_lines(root: &Path) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let line = if metadata.is_dir() {
                pending.push(path.clone());
                format!("d{mode:o}")
            } else if metadata.is_symlink() {
                format!("l{}", fs::read_link(&path).unwrap().display())
            } else {
                format!("f{mode:o}{}", fs::read_to_string(&path).unwrap())
            };
            lines.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), line));
        }
    }
    lines
}

fn copy_of(root: &Path, copy: PathBuf) -> PathBuf {
    // Without links between names: a patch knows none.
    assert!(Command::new("cp").args(["-R", "-P", "-p"]).arg(root).arg(&copy).status().unwrap().success());
    copy
}

fn run(cases: u32, check: impl Fn(&[Act], &[Act])) {
    let config = Config { cases, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let acts = |count| proptest::collection::vec(act(), 0..count);
    let outcome = TestRunner::new(config).run(&(acts(16), acts(16)), |(before, after)| {
        check(&before, &after);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// A place that was seeded with what `acts` make.
fn seeded(acts: &[Act]) -> (Place, Worker) {
    let place = Place::new();
    let source = place.beside("source");
    fs::create_dir(&source).unwrap();
    acts.iter().for_each(|act| act.carry_out(&source));
    let mut worker = Worker::start(&place.workspace(), &place.disk(), place::mount());
    worker.ask_with(Body::Seed(Seed { has_input: true }), &archive(&source)).fine();
    assert_eq!(snapshot(&source), snapshot(&place.workspace()));
    (place, worker)
}

#[test]
fn what_is_told_is_what_differs_and_the_patch_makes_it() {
    in_namespace("what_is_told_is_what_differs_and_the_patch_makes_it", || {
        run(48, |before, after| {
            let (place, mut worker) = seeded(before);
            let root = place.workspace();
            after.iter().for_each(|act| act.carry_out(&root));
            let told = worker.ask(Body::Changes(Changes::default())).fine();
            let mut told: Vec<_> =
                told.changes.iter().map(|change| String::from_utf8(change.path.clone()).unwrap()).collect();
            told.sort();
            assert_eq!(told, differing(&place.seed(), &root));
            for no_renames in [false, true] {
                let diff = worker.ask(Body::Diff(Diff { no_renames, ..Diff::default() })).fine();
                let against = worker.ask_with(
                    Body::DiffAgainst(Diff { no_renames, ..Diff::default() }),
                    &archive(&place.beside("source")),
                );
                let against = against.fine();
                if no_renames {
                    assert_eq!(diff.text(), against.text());
                    assert_eq!(diff.changes.len(), against.changes.len());
                }
                if diff.data.is_empty() {
                    assert_eq!(files(&place.seed()), files(&root));
                    continue;
                }
                for (name, patch) in [("diff", &diff.data), ("against", &against.data)] {
                    let copy = copy_of(&place.seed(), place.beside(&format!("{name}-{no_renames}")));
                    let mut other = Worker::start(&copy, &place.disk(), place::no_mount());
                    other.ask_with(Body::Patch(Patch::default()), patch).fine();
                    assert_eq!(files(&copy), files(&root), "{}", String::from_utf8_lossy(patch));
                    let back = Patch { reverse: true, ..Patch::default() };
                    other.ask_with(Body::Patch(back), patch).fine();
                    assert_eq!(files(&copy), files(&place.seed()), "{}", String::from_utf8_lossy(patch));
                    let file = place.beside("patch");
                    fs::write(&file, patch).unwrap();
                    let git = Command::new("git")
                        .args(["apply", "--whitespace=nowarn"])
                        .arg(&file)
                        .current_dir(&copy)
                        .env("GIT_CEILING_DIRECTORIES", place.beside(""))
                        .output()
                        .unwrap();
                    let errors = String::from_utf8_lossy(&git.stderr).into_owned();
                    if errors.contains("Too many levels of symbolic links") {
                        // Git looks below a link to itself that a directory is to replace; we do not.
                        continue;
                    }
                    assert!(git.status.success(), "{errors}\n{}", String::from_utf8_lossy(patch));
                    assert_eq!(files(&copy), files(&root), "git: {}", String::from_utf8_lossy(patch));
                }
            }
            if place.is_whole_overlay() {
                // What an ordinary user mounts does not move directories of the seed.
                let request = Push { delete: true, is_seed_directory: true, ..Push::default() };
                worker.ask_with(Body::Push(request), &archive(&place.beside("source"))).fine();
                assert_eq!(snapshot(&root), snapshot(&place.seed()));
                assert_eq!(worker.ask(Body::Changes(Changes::default())).fine().changes, Vec::new());
                assert_eq!(worker.ask(Body::Diff(Diff::default())).fine().changes, Vec::new());
            }
        });
    });
}

#[test]
fn a_push_makes_one_tree_of_another() {
    in_namespace("a_push_makes_one_tree_of_another", || {
        run(48, |before, after| {
            let place = Place::new();
            let source = place.beside("source");
            fs::create_dir(&source).unwrap();
            before.iter().for_each(|act| act.carry_out(&source));
            let root = place.workspace();
            after.iter().for_each(|act| act.carry_out(&root));
            let mut worker = Worker::start(&root, &place.disk(), place::no_mount());
            let request = Push { delete: true, ..Push::default() };
            let would =
                worker.ask_with(Body::Push(Push { dry_run: true, ..request.clone() }), &archive(&source));
            let did = worker.ask_with(Body::Push(request.clone()), &archive(&source)).fine();
            assert_eq!(snapshot(&root), snapshot(&source));
            assert_eq!(did.last, would.fine().last);
            let again = worker.ask_with(Body::Push(request), &archive(&source)).fine();
            let pyro_protocol::work::work_reply::Body::Pushed(again) = again.last else {
                panic!("{again:?}")
            };
            assert_eq!((again.changed_count, again.deleted_count), (0, 0));
        });
    });
}
