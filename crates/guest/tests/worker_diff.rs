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
    let mut worker = Worker::start(&place.workspace(), &place.disk(), place::mount());
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
        // What looks like a note of the overlay's, and is a program's; where it would be one, the kernel refuses.
        let flags = rustix::fs::XattrFlags::empty();
        let _is_a_programs =
            rustix::fs::setxattr(place.workspace().join("d"), "user.overlay.opaque", b"y", flags);
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

#[test]
fn directories_as_package_managers_and_git_move_them() {
    in_namespace("directories_as_package_managers_and_git_move_them", || {
        let place = Place::new();
        let mut worker = seeded(&place, |seed| {
            tree(
                seed,
                &[
                    "node_modules/left/index.js",
                    "node_modules/left/lib/a.js",
                    "src/old/mod.rs",
                    "src/old/x.rs",
                ],
            );
            tree(seed, &["target/debug/deps/one", "keep"]);
            fs::hard_link(seed.join("target/debug/deps/one"), seed.join("target/debug/two")).unwrap();
        });
        let root = place.workspace();
        let moved = |from: &str, to: &str| {
            let (from, to) = (root.join(from), root.join(to));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            assert!(Command::new("mv").args(["-T"]).arg(from).arg(to).status().unwrap().success());
        };
        // npm puts the old directory aside, the new one in its place, and removes the old one.
        moved("node_modules/left", "node_modules/.left-XyZ");
        tree(&root, &["node_modules/left/index.js", "node_modules/left/new.js"]);
        fs::remove_dir_all(root.join("node_modules/.left-XyZ")).unwrap();
        // A directory in a directory that was itself renamed, as with git mv, and back to where it was.
        moved("src/old", "source/inner");
        moved("source", "code");
        moved("code/inner", "code/other");
        moved("keep", "aside");
        moved("aside", "keep");
        // cargo writes through one of two names.
        fs::write(root.join("target/debug/two"), content("target/debug/two")).unwrap();
        let answer = diff(&mut worker);
        let mut expected = vec![
            "R code/other/mod.rs <- src/old/mod.rs",
            "R code/other/x.rs <- src/old/x.rs",
            "D node_modules/left/lib/a.js",
            "A node_modules/left/new.js",
            // It was all that `src` had.
        ];
        if place.is_whole_overlay() {
            expected.push("M target/debug/deps/one");
        }
        expected.push("M target/debug/two");
        let told = summary(&answer);
        let told: Vec<_> = told.lines().filter(|line| !line.ends_with(" src")).collect();
        assert_eq!(told, expected);
        fs::remove_dir(root.join("src")).unwrap();
        git_apply_gives_the_workspace(&place, &answer.data);
    });
}

#[test]
fn what_patches_cannot_say_is_told_all_the_same() {
    in_namespace("what_patches_cannot_say_is_told_all_the_same", || {
        let place = Place::new();
        let mut worker = seeded(&place, |seed| {
            tree(seed, &["mode", "a/f", "b/f"]);
            fs::create_dir(seed.join("empty")).unwrap();
            fs::create_dir(seed.join("dir-mode")).unwrap();
            fs::write(seed.join("binary"), b"\0one").unwrap();
            fs::write(seed.join("large"), vec![b'x'; 33 << 20]).unwrap();
        });
        let root = place.workspace();
        fs::set_permissions(root.join("mode"), Permissions::from_mode(0o600)).unwrap();
        fs::remove_dir(root.join("empty")).unwrap();
        fs::create_dir_all(root.join("new/empty")).unwrap();
        fs::set_permissions(root.join("dir-mode"), Permissions::from_mode(0o700)).unwrap();
        fs::write(root.join("binary"), b"\0other").unwrap();
        fs::write(root.join("large"), vec![b'y'; 33 << 20]).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let answer = diff(&mut worker);
        let expected = "M binary\nM dir-mode\nD empty\nM large\nM mode\nA new/empty\nA pipe";
        assert_eq!(summary(&answer), expected);
        let binary = &answer.changes[0];
        assert!(binary.binary && binary.added_lines.is_none());
        let now = binary.now.as_ref().unwrap();
        let digest = <sha2::Sha256 as sha2::Digest>::digest(b"\0other").to_vec();
        assert_eq!((now.size_bytes, &now.sha256), (6, &digest));
        let large = &answer.changes[3];
        assert!(large.binary && large.patch_offset.is_some());
        assert_eq!(large.base.as_ref().unwrap().sha256.len(), 32);
        let text = answer.text();
        assert!(
            text.contains("diff --git a/large b/large\nBinary files a/large and b/large differ\n"),
            "{text}"
        );
        for without_text in [1, 2, 4, 5, 6] {
            assert_eq!(answer.changes[without_text].patch_offset, None);
        }
    });
}

#[test]
fn a_diff_is_narrowed_bounded_and_shortened() {
    in_namespace("a_diff_is_narrowed_bounded_and_shortened", || {
        let place = Place::new();
        let mut worker = seeded(&place, |seed| tree(seed, &["a/one", "a/two", "b/one", "from"]));
        let root = place.workspace();
        for path in ["a/one", "a/two", "b/one"] {
            fs::write(root.join(path), content(path).replace('3', "three")).unwrap();
        }
        fs::rename(root.join("from"), root.join("to")).unwrap();
        let mut ask = |request: Diff| worker.ask(Body::Diff(request)).fine();
        let paths = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>();
        let narrowed = ask(Diff { paths: paths(&["a", "b/none", "to"]), ..Diff::default() });
        assert_eq!(summary(&narrowed), "M a/one\nM a/two\nA to", "what was moved from elsewhere came");
        let whole = ask(Diff::default());
        assert_eq!(summary(&whole), "M a/one\nM a/two\nM b/one\nR to <- from");
        let plain = ask(Diff { no_renames: true, names_only: true, ..Diff::default() });
        assert_eq!(
            (summary(&plain).as_str(), plain.data.len()),
            ("M a/one\nM a/two\nM b/one\nD from\nA to", 0)
        );
        let part_bytes = whole.changes[0].patch_bytes;
        let bounded = ask(Diff { max_bytes: part_bytes * 2 + 1, ..Diff::default() });
        let work_reply::Body::DiffDone(done) = &bounded.last else { panic!("{:?}", bounded.last) };
        assert_eq!(done.left_out, paths(&["b/one", "to"]));
        assert_eq!(bounded.data.len() as u64, part_bytes * 2);
        assert_eq!(bounded.changes.len(), 4, "but they are told");
        let short = ask(Diff { context: Some(0), names_only: false, ..Diff::default() });
        assert!(short.text().contains("@@ -3 +3 @@"), "{}", short.text());
        let counts = ask(Diff { names_only: true, with_counts: true, ..Diff::default() });
        assert_eq!((counts.changes[0].added_lines, counts.changes[0].removed_lines), (Some(1), Some(1)));
        let outside = worker.ask(Body::Diff(Diff { paths: paths(&["/etc"]), ..Diff::default() }));
        assert_eq!(outside.failure(), Some(WorkFailureCode::Invalid));
    });
}
