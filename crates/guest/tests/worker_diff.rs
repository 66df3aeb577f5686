//! What a worker says was changed, over real overlays.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod place;
mod work;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use place::{Place, in_namespace};
use pyro_protocol::work::{ChangeStatus, Diff, Seed, WorkFailureCode, work_reply, work_request::Body};
use work::{Answer, Worker, archive};

/// Small files by path, none like another.
fn tree(root: &Path, paths: &[&str]) {
    for path in paths {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), content(path)).unwrap();
    }
}

fn content(path: &str) -> String {
    (1..6).map(|line| format!("{path} {line}\n")).collect()
}

/// A worker whose workspace was seeded with what `fill` makes.
fn seeded(place: &Place, fill: impl FnOnce(&Path)) -> Worker {
    let source = place.beside("source");
    fs::create_dir(&source).unwrap();
    fill(&source);
    let mut worker = Worker::start(&place.workspace(), &place.disk(), place::mount);
    let unpacked = worker.ask_with(Body::Seed(Seed { has_input: true }), &archive(&source)).fine();
    assert!(matches!(unpacked.last, work_reply::Body::Unpacked(_)));
    worker
}

fn diff(worker: &mut Worker) -> Answer {
    worker.ask(Body::Diff(Diff { with_counts: true, ..Diff::default() })).fine()
}

/// `STATUS path [<- old path]`, one a line.
fn summary(answer: &Answer) -> String {
    let line = |change: &pyro_protocol::work::Change| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let letter = match change.status() {
            ChangeStatus::Added => "A",
            ChangeStatus::Modified => "M",
            ChangeStatus::Deleted => "D",
            ChangeStatus::TypeChanged => "T",
            ChangeStatus::Renamed => "R",
            ChangeStatus::Copied | ChangeStatus::Unspecified => "?",
        };
        let old = if change.old_path.is_empty() {
            String::new()
        } else {
            format!(" <- {}", text(&change.old_path))
        };
        format!("{letter} {}{old}", text(&change.path))
    };
    answer.changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Applies a patch to a copy of the seed with git, and compares with the workspace.
fn git_apply_gives_the_workspace(place: &Place, patch: &[u8]) {
    let copy = place.beside("copy");
    assert!(Command::new("cp").arg("-a").arg(place.seed()).arg(&copy).status().unwrap().success());
    let file = place.beside("patch");
    fs::write(&file, patch).unwrap();
    let git = Command::new("git")
        .args(["apply", "--whitespace=nowarn"])
        .arg(&file)
        .current_dir(&copy)
        .env("GIT_CEILING_DIRECTORIES", place.beside(""))
        .output()
        .unwrap();
    assert!(
        git.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&git.stderr),
        String::from_utf8_lossy(patch)
    );
    let diff = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(&copy)
        .arg(place.workspace())
        .output()
        .unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn nothing_was_changed() {
    in_namespace("nothing_was_changed", || {
        let place = Place::new();
        let mut worker = seeded(&place, |seed| tree(seed, &["a", "d/b"]));
        // Copied up, but as it was: neither a time nor an owner is a change.
        let file = fs::File::options().append(true).open(place.workspace().join("d/b")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let answer = diff(&mut worker);
        assert_eq!((summary(&answer), answer.text()), (String::new(), String::new()));
        assert_eq!(worker.ask(Body::Seed(Seed::default())).failure(), Some(WorkFailureCode::Exists));
    });
}

#[test]
fn every_kind_of_change_is_told_and_git_applies_it() {
    in_namespace("every_kind_of_change_is_told_and_git_applies_it", || {
        let place = Place::new();
        let mut worker = seeded(&place, |seed| {
            tree(
                seed,
                &[
                    "change",
                    "remove",
                    "mode",
                    "again",
                    "to-link",
                    "to-directory",
                    "dir-to-file/x",
                    "odd name\"\n",
                ],
            );
            tree(seed, &["gone/a", "gone/b/c", "remade/old", "remade/same", "move/me", "move/stay"]);
            symlink("nowhere", seed.join("link")).unwrap();
            fs::create_dir(seed.join("empty")).unwrap();
        });
        let root = place.workspace();
        fs::write(root.join("change"), content("change").replace("3", "three")).unwrap();
        fs::remove_file(root.join("remove")).unwrap();
        fs::set_permissions(root.join("mode"), Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(root.join("again")).unwrap();
        fs::write(root.join("again"), content("again").trim_end()).unwrap();
        fs::remove_file(root.join("to-link")).unwrap();
        symlink("change", root.join("to-link")).unwrap();
        fs::remove_file(root.join("to-directory")).unwrap();
        tree(&root, &["to-directory/new"]);
        fs::remove_dir_all(root.join("dir-to-file")).unwrap();
        fs::write(root.join("dir-to-file"), "file\n").unwrap();
        fs::write(root.join("odd name\"\n"), "odd\n").unwrap();
        fs::remove_dir_all(root.join("gone")).unwrap();
        fs::remove_dir_all(root.join("remade")).unwrap();
        tree(&root, &["remade/same", "remade/new"]);
        fs::rename(root.join("move/me"), root.join("moved")).unwrap();
        fs::remove_file(root.join("link")).unwrap();
        symlink("somewhere", root.join("link")).unwrap();
        let answer = diff(&mut worker);
        let expected = [
            "M again",
            "M change",
            "T dir-to-file",
            "D dir-to-file/x",
            "D gone/a",
            "D gone/b/c",
            "M link",
            "M mode",
            "R moved <- move/me",
            "M odd name\"\n",
            "A remade/new",
            "D remade/old",
            "D remove",
            "T to-directory",
            "A to-directory/new",
            "T to-link",
        ];
        assert_eq!(summary(&answer), expected.join("\n"));
        git_apply_gives_the_workspace(&place, &answer.data);
    });
}
