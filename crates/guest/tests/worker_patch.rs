//! Patches applied by a worker: all of one or nothing.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod place;
mod work;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use place::{Place, in_namespace};
use pyro_protocol::work::{
    ChangeStatus, Diff, Patch, Patched, Seed, WorkFailureCode, Write, work_reply, work_request::Body,
};
use work::{Answer, Worker, archive, snapshot};

/// A worker on a plain directory that `fill` fills.
fn worker(place: &Place, fill: impl FnOnce(&Path)) -> Worker {
    fill(&place.workspace());
    Worker::start(&place.workspace(), &place.disk(), place::no_mount())
}

fn apply(worker: &mut Worker, patch: &str) -> Answer {
    worker.ask_with(Body::Patch(Patch::default()), patch.as_bytes())
}

fn patched(answer: Answer) -> Patched {
    match answer.fine().last {
        work_reply::Body::Patched(patched) => patched,
        other => panic!("{other:?}"),
    }
}

fn text(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap()
}

fn mode(root: &Path, path: &str) -> u32 {
    fs::symlink_metadata(root.join(path)).unwrap().permissions().mode() & 0o7777
}

const MANY: &str = "\
diff --git a/new.sh b/new.sh
new file mode 100755
--- /dev/null
+++ b/new.sh
@@ -0,0 +1 @@
+#!/bin/sh
diff --git a/deep/old b/deep/old
deleted file mode 100644
--- a/deep/old
+++ /dev/null
@@ -1 +0,0 @@
-old
diff --git a/from b/to/there
similarity index 50%
rename from from
rename to to/there
--- a/from
+++ b/to/there
@@ -1,2 +1,2 @@
 one
-two
+2
diff --git a/kept b/copy
similarity index 100%
copy from kept
copy to copy
diff --git a/link b/link
new file mode 120000
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+kept
\\ No newline at end of file
diff --git a/run b/run
old mode 100644
new mode 100755
diff --git a/edited b/edited
--- a/edited
+++ b/edited
@@ -1,3 +1,3 @@
 a
-b
+B
 c
";

fn before_many(root: &Path) {
    for (path, content) in [
        ("deep/old", "old\n"),
        ("from", "one\ntwo\n"),
        ("kept", "kept\n"),
        ("run", "r\n"),
        ("edited", "x\ny\na\nb\nc\n"),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), content).unwrap();
    }
    fs::set_permissions(root.join("from"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(root.join("edited"), Permissions::from_mode(0o640)).unwrap();
}

#[test]
fn everything_that_git_writes_is_applied_checked_and_taken_back() {
    let place = Place::new();
    let mut worker = worker(&place, before_many);
    let root = place.workspace();
    let before = snapshot(&root);
    let checked =
        patched(worker.ask_with(Body::Patch(Patch { check: true, ..Patch::default() }), MANY.as_bytes()));
    assert_eq!(snapshot(&root), before, "a check changes nothing");
    let done = patched(apply(&mut worker, MANY));
    assert_eq!(done, checked);
    let statuses: Vec<_> = done.files.iter().map(|file| file.status()).collect();
    use ChangeStatus::{Added, Copied, Deleted, Modified, Renamed};
    assert_eq!(statuses, [Added, Deleted, Renamed, Copied, Added, Modified, Modified]);
    assert_eq!(done.files[2].old_path, b"from");
    let shifted = done.files[6].shifted[0];
    assert_eq!((shifted.hunk, shifted.line, shifted.offset, shifted.fuzz), (1, 3, 2, 0));
    assert_eq!(text(&root, "to/there"), "one\n2\n");
    assert_eq!(text(&root, "edited"), "x\ny\na\nB\nc\n");
    assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("kept"));
    assert_eq!(
        (mode(&root, "new.sh"), mode(&root, "to/there"), mode(&root, "edited")),
        (0o755, 0o600, 0o640)
    );
    assert_eq!((mode(&root, "run"), text(&root, "copy")), (0o755, "kept\n".into()));
    assert!(!root.join("deep").exists() && !root.join("from").exists(), "an emptied directory goes");
    // A copy is not taken back by a patch; the rest is.
    let (first, rest) = MANY.split_once("diff --git a/kept").unwrap();
    let rest = rest.split_once("copy to copy\n").unwrap().1;
    let back = Patch { reverse: true, ..Patch::default() };
    patched(worker.ask_with(Body::Patch(back.clone()), format!("{first}{rest}").as_bytes()));
    fs::remove_file(root.join("copy")).unwrap();
    assert_eq!(snapshot(&root), before);
    let refused = worker.ask_with(Body::Patch(back), MANY.as_bytes());
    assert_eq!(refused.failure(), Some(WorkFailureCode::PatchRejected));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let place = Place::new();
    let mut worker = worker(&place, |root| {
        before_many(root);
        fs::create_dir_all(root.join("full/of")).unwrap();
        fs::write(root.join("full/of/it"), "x\n").unwrap();
        symlink("kept", root.join("link-to-kept")).unwrap();
        symlink("deep", root.join("link-to-deep")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
    });
    let before = snapshot(&place.workspace());
    let add = |path: &str| format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+new\n");
    let edit = |path: &str, old: &str| format!("--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+new\n");
    for (patch, code) in [
        (add("kept"), WorkFailureCode::PatchRejected),
        (add("full"), WorkFailureCode::PatchRejected),
        (add("kept/below"), WorkFailureCode::PatchRejected),
        (edit("missing", "x"), WorkFailureCode::PatchRejected),
        (edit("kept", "something else"), WorkFailureCode::PatchRejected),
        (edit("full", "x"), WorkFailureCode::PatchRejected),
        (edit("link-to-kept", "kept"), WorkFailureCode::PatchRejected),
        (edit("link-to-deep/old", "old"), WorkFailureCode::PatchRejected),
        (edit("out/passwd", "x"), WorkFailureCode::Escapes),
        (add("out/new"), WorkFailureCode::Escapes),
        (add("../out"), WorkFailureCode::PatchMalformed),
        (add(".pyro-transaction/journal"), WorkFailureCode::Invalid),
        ("rubbish".to_owned(), WorkFailureCode::PatchMalformed),
        (String::new(), WorkFailureCode::PatchMalformed),
    ] {
        // The first file alone would do.
        let patch = if patch.len() > 10 { format!("{}{patch}", add("fits")) } else { patch };
        let answer = apply(&mut worker, &patch);
        assert_eq!(answer.failure(), Some(code), "{patch}\n{:?}", answer.last);
        assert_eq!(snapshot(&place.workspace()), before, "{patch}");
    }
    let bounded = Patch { max_bytes: 10, ..Patch::default() };
    let answer = worker.ask_with(Body::Patch(bounded), add("fits").as_bytes());
    assert_eq!(answer.failure(), Some(WorkFailureCode::TooLarge));
    worker.send(Body::Patch(Patch::default()));
    worker.send_input(add("fits").as_bytes(), "the host changed its mind");
    assert_eq!(worker.answer().failure(), Some(WorkFailureCode::Abandoned));
    assert_eq!(snapshot(&place.workspace()), before);
    patched(apply(&mut worker, &add("fits")));
}

#[test]
fn kinds_change_and_names_are_exchanged() {
    let place = Place::new();
    let mut worker = worker(&place, |root| {
        fs::create_dir_all(root.join("directory/deep")).unwrap();
        for (path, content) in
            [("directory/deep/a", "a\n"), ("directory/b", "b\n"), ("file", "f\n"), ("x", "1\n"), ("y", "2\n")]
        {
            fs::write(root.join(path), content).unwrap();
        }
        symlink("file", root.join("link")).unwrap();
    });
    let root = place.workspace();
    let delete = |path: &str, content: &str| {
        format!(
            "diff --git a/{path} b/{path}\ndeleted file mode 100644\n--- a/{path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-{content}\n"
        )
    };
    let add = |path: &str, content: &str| {
        format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{content}\n"
        )
    };
    let link = "diff --git a/link b/link\ndeleted file mode 120000\n--- a/link\n+++ /dev/null\n@@ -1 +0,0 @@\n-file\n\\ No newline at end of file\n";
    let rename = |from: &str, to: &str| {
        format!("diff --git a/{from} b/{to}\nsimilarity index 100%\nrename from {from}\nrename to {to}\n")
    };
    let patch = [
        add("directory", "now a file"),
        delete("directory/deep/a", "a"),
        delete("directory/b", "b"),
        delete("file", "f"),
        add("file/below", "now a directory"),
        link.to_owned(),
        add("link", "now a file"),
        rename("x", "y"),
        rename("y", "x"),
    ]
    .concat();
    patched(apply(&mut worker, &patch));
    assert_eq!(text(&root, "directory"), "now a file\n");
    assert_eq!(text(&root, "file/below"), "now a directory\n");
    assert!(root.join("link").symlink_metadata().unwrap().is_file());
    assert_eq!((text(&root, "x"), text(&root, "y")), ("2\n".into(), "1\n".into()));
    assert_eq!(mode(&root, "link"), 0o644);
}

#[test]
fn a_diff_is_taken_back_by_its_own_patch() {
    in_namespace("a_diff_is_taken_back_by_its_own_patch", || {
        let place = Place::new();
        let source = place.beside("source");
        fs::create_dir(&source).unwrap();
        before_many(&source);
        let mut worker = Worker::start(&place.workspace(), &place.disk(), place::mount());
        worker.ask_with(Body::Seed(Seed { has_input: true }), &archive(&source)).fine();
        patched(apply(&mut worker, MANY));
        let diff = worker.ask(Body::Diff(Diff::default())).fine();
        let back = Patch { reverse: true, ..Patch::default() };
        patched(worker.ask_with(Body::Patch(back), &diff.data));
        let diff = worker.ask(Body::Diff(Diff::default())).fine();
        assert_eq!((diff.text(), diff.changes.len()), (String::new(), 0));
    });
}

/// Replaces the file `a` by one that says `new`, and dies at that point.
fn die_while_replacing(workspace: &Path, dies_at: &str) {
    use pyro_tree::beneath::Root;
    use pyro_tree::path::RelativePath;
    use pyro_tree::transaction::{Durability, NewAttributes, Options, Transaction, Trust, crash};

    let root = Root::open(workspace).unwrap();
    let dying = |point| if point == dies_at { Err(crash()) } else { Ok(()) };
    let options = Options { durability: Durability::Machine, owner: None };
    let mut transaction = Transaction::begin(&root, Trust::Owner, options, &dying).unwrap();
    let path = RelativePath::new("a").unwrap();
    transaction.put_file(&path, &mut b"new\n".as_slice(), NewAttributes::default()).unwrap();
    transaction.commit().unwrap_err();
    assert_eq!(text(workspace, "a"), "old\n");
    assert!(workspace.join(".pyro-transaction").exists());
}

#[test]
fn what_is_written_after_a_worker_died_half_way_stays() {
    let place = Place::new();
    fs::write(place.workspace().join("a"), "old\n").unwrap();
    let mut worker = Worker::start(&place.workspace(), &place.disk(), place::no_mount());
    patched(apply(&mut worker, "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+b\n"));
    die_while_replacing(&place.workspace(), "transaction-place");
    let write = Write { path: b"a".to_vec(), ..Write::default() };
    worker.ask_with(Body::Write(write), b"written\n").fine();
    assert!(!place.workspace().join(".pyro-transaction").exists());
    drop(worker);
    let mut next = Worker::start(&place.workspace(), &place.disk(), place::no_mount());
    patched(apply(&mut next, "--- /dev/null\n+++ b/c\n@@ -0,0 +1 @@\n+c\n"));
    assert_eq!(text(&place.workspace(), "a"), "written\n");
}

#[test]
fn what_a_dead_worker_left_half_done_is_ended_by_the_next() {
    for (dies_at, after) in [("transaction-journal-commit", "old\n"), ("transaction-place", "new\n")] {
        let place = Place::new();
        fs::write(place.workspace().join("a"), "old\n").unwrap();
        die_while_replacing(&place.workspace(), dies_at);
        let mut worker = Worker::start(&place.workspace(), &place.disk(), place::no_mount());
        patched(apply(&mut worker, "--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+b\n"));
        assert_eq!(text(&place.workspace(), "a"), after, "{dies_at}");
        assert!(!place.workspace().join(".pyro-transaction").exists());
    }
}
