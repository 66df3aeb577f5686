//! Pushes, what differs from what host and guest had in common, comparisons with the host's directory, archives.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod place;
mod work;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;

use place::{Place, in_namespace};
use prost::Message as _;
use pyro_guest::worker;
use pyro_protocol::work::{
    Changes, DATA_BYTES, Diff, EndOfInput, Entry, EntryKind, Pack, PathRef, Push, Pushed, Seed, Synced,
    WorkFailureCode, WorkRequest, work_reply, work_request::Body,
};
use work::{Answer, Worker, archive, snapshot};

fn plain(place: &Place) -> Worker {
    Worker::start(&place.workspace(), &place.disk(), place::no_mount())
}

fn seeded(place: &Place, source: &Path) -> Worker {
    let mut worker = Worker::start(&place.workspace(), &place.disk(), place::mount());
    worker.ask_with(Body::Seed(Seed { has_input: true }), &archive(source)).fine();
    worker
}

fn push(worker: &mut Worker, request: Push, source: &Path) -> Pushed {
    match worker.ask_with(Body::Push(request), &archive(source)).fine().last {
        work_reply::Body::Pushed(pushed) => pushed,
        other => panic!("{other:?}"),
    }
}

/// `STATUS path`, one a line.
fn listed(changes: &[pyro_protocol::work::Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| format!("{:?} {}", change.status(), String::from_utf8_lossy(&change.path)))
        .collect()
}

fn directory(place: &Place, name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let root = place.beside(name);
    write(&root, files);
    root
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), content).unwrap();
    }
}

#[test]
fn a_push_makes_the_directory_like_the_stream_and_touches_nothing_else() {
    let place = Place::new();
    let root = place.workspace();
    write(&root, &[("same", "s"), ("changed", "old"), ("as-long", "old"), ("mode", "m"), ("mine/only", "x")]);
    write(&root, &[("file-to-dir", "f"), ("dir-to-file/a/b", "x"), ("link-to-file", "t"), ("d/same", "s")]);
    symlink("same", root.join("to-link")).unwrap();
    let source = directory(
        &place,
        "source",
        &[("same", "s"), ("changed", "longer"), ("as-long", "new"), ("mode", "m")],
    );
    write(
        &source,
        &[("file-to-dir/x", "x"), ("dir-to-file", "now"), ("d/same", "s"), ("new/deep/file", "n")],
    );
    symlink("elsewhere", source.join("to-link")).unwrap();
    symlink("../../nowhere", source.join("link-to-file")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    fs::hard_link(source.join("changed"), source.join("z-other-name")).unwrap();
    fs::set_permissions(source.join("mode"), Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(source.join("new/deep"), Permissions::from_mode(0o500)).unwrap();
    let identity = |path: &str| {
        let metadata = fs::symlink_metadata(root.join(path)).unwrap();
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime_nsec())
    };
    let untouched = (identity("same"), identity("d/same"), identity("mine/only"), identity("d").0);
    let before = snapshot(&root);
    let mut worker = plain(&place);
    let would = push(&mut worker, Push { dry_run: true, ..Push::default() }, &source);
    assert_eq!(snapshot(&root), before);
    let did = push(&mut worker, Push::default(), &source);
    assert_eq!(did, would);
    let mut expected = snapshot(&source);
    expected.extend(before.into_iter().filter(|line| line.starts_with("mine")));
    expected.sort();
    assert_eq!(snapshot(&root), expected);
    assert_eq!(untouched, (identity("same"), identity("d/same"), identity("mine/only"), identity("d").0));
    assert_eq!(identity("changed").0, identity("z-other-name").0);
    assert_eq!((did.changed_count, did.deleted_count, did.received.unwrap().entry_count), (13, 0, 16));
    let changes = [
        "Modified as-long",
        "Modified changed",
        "TypeChanged dir-to-file",
        "Added empty",
        "TypeChanged file-to-dir",
        "Added file-to-dir/x",
        "TypeChanged link-to-file",
        "Modified mode",
        "Added new",
        "Added new/deep",
        "Added new/deep/file",
        "Modified to-link",
        "Added z-other-name",
    ];
    assert_eq!(listed(&did.changes), changes);
    assert!(!root.join(".pyro-transaction").exists());
    let again = push(&mut worker, Push::default(), &source);
    assert_eq!((again.changed_count, again.changes.len()), (0, 0));
    fs::set_permissions(source.join("new/deep"), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(root.join("new/deep"), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_the_stream_does_not_have_goes_but_for_what_is_kept() {
    let place = Place::new();
    let root = place.workspace();
    write(
        &root,
        &[
            ("gone", "g"),
            ("gone-dir/a/b", "x"),
            ("target/debug/x", "x"),
            ("logs/a.log", "l"),
            ("logs/b", "b"),
        ],
    );
    write(&root, &[("sub/node_modules/m", "m"), ("sub/old", "o"), ("sub/kept", "k"), ("outside", "o")]);
    let source = directory(&place, "source", &[("kept", "k"), ("new", "n")]);
    let mut worker = plain(&place);
    let request =
        Push { path: b"sub".to_vec(), delete: true, keep: vec!["node_modules".into()], ..Push::default() };
    let pushed = push(&mut worker, request, &source);
    assert_eq!(listed(&pushed.changes), ["Added sub/new", "Deleted sub/old"].map(str::to_owned));
    assert!(root.join("sub/node_modules/m").exists() && root.join("outside").exists());
    let request = Push { delete: true, keep: vec!["/target/".into(), "*.log".into()], ..Push::default() };
    let pushed = push(&mut worker, request.clone(), &source);
    let gone = ["gone", "gone-dir", "gone-dir/a", "gone-dir/a/b", "logs/b", "outside", "sub"];
    assert_eq!(pushed.deleted_count, gone.len() as u64 + 4);
    assert!(gone.iter().all(|path| listed(&pushed.changes).contains(&format!("Deleted {path}"))));
    let left: Vec<_> =
        snapshot(&root).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(left, ["kept", "logs", "logs/a.log", "new", "target", "target/debug", "target/debug/x"]);
    let bad = Push { keep: vec!["a[z-b]".into()], ..request };
    let answer = worker.ask_with(Body::Push(bad), &archive(&source));
    assert_eq!(answer.failure(), Some(WorkFailureCode::BadPattern));
}

#[test]
fn a_push_that_fails_changes_nothing() {
    let place = Place::new();
    let root = place.workspace();
    write(&root, &[("a", "old"), ("file", "f")]);
    symlink("/etc", root.join("out")).unwrap();
    let source = directory(&place, "source", &[("a", "new"), ("b", "b")]);
    let whole = archive(&source);
    let before = snapshot(&root);
    let mut worker = plain(&place);
    let request = |path: &str| Body::Push(Push { path: path.into(), delete: true, ..Push::default() });
    let check = |answer: Answer, code| {
        assert_eq!(answer.failure(), Some(code), "{:?}", answer.last);
        assert_eq!(snapshot(&root), before);
    };
    check(worker.ask_with(request(""), &whole[..whole.len() - 1500]), WorkFailureCode::BadArchive);
    check(worker.ask_with(request(""), b"no archive"), WorkFailureCode::BadArchive);
    check(worker.ask_with(request("file"), &whole), WorkFailureCode::WrongType);
    check(worker.ask_with(request("out"), &whole), WorkFailureCode::Escapes);
    check(worker.ask_with(request("out/below"), &whole), WorkFailureCode::Escapes);
    check(worker.ask_with(request("../x"), &whole), WorkFailureCode::Invalid);
    check(worker.ask_with(request(".pyro-transaction"), &whole), WorkFailureCode::Invalid);
    worker.send(request(""));
    worker.send_input(&whole, "the source changed");
    check(worker.answer(), WorkFailureCode::Abandoned);
    // A host that dies in the middle.
    worker.send(request(""));
    worker.send(Body::Data(whole[..whole.len() / 2].to_vec().into()));
    drop(worker);
    assert_eq!(snapshot(&root), before);
}

#[test]
fn a_file_that_is_written_while_it_is_compared_becomes_no_mix() {
    const FILE_BYTES: usize = 8 << 20;
    let place = Place::new();
    let file = place.workspace().join("file");
    fs::write(&file, vec![b'a'; FILE_BYTES]).unwrap();
    fs::File::options().append(true).open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let source = directory(&place, "source", &[("another", "")]);
    let mut content = vec![b'a'; FILE_BYTES];
    content[FILE_BYTES - 1] = b'z';
    fs::write(source.join("file"), content).unwrap();
    let mut worker = plain(&place);
    worker.send(Body::Push(Push::default()));
    let whole = archive(&source);
    let (most, rest) = whole.split_at(FILE_BYTES - (1 << 20));
    for piece in most.chunks(DATA_BYTES) {
        // All but what fits into a socket was compared when this is done.
        worker.send(Body::Data(piece.to_vec().into()));
    }
    let mut theirs = fs::File::options().write(true).open(&file).unwrap();
    io::Write::write_all(&mut theirs, b"theirs").unwrap();
    worker.send_input(rest, "");
    assert_eq!(worker.answer().failure(), Some(WorkFailureCode::Changed));
    assert!(fs::read(&file).unwrap().starts_with(b"theirsa"));
    assert!(!place.workspace().join(".pyro-transaction").exists());
}

#[test]
fn a_change_is_told_before_its_worker_can_be_ended() {
    /// Whether this thread keeps SIGTERM away, asked whenever something is said.
    struct Watched(Vec<bool>);
    impl io::Write for Watched {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let status = fs::read_to_string("/proc/thread-self/status")?;
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
            self.0.push(u64::from_str_radix(blocked, 16).unwrap() & 1 << 14 != 0);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new();
    let source = directory(&place, "source", &[("a", "a")]);
    let message = |body| {
        let bytes = WorkRequest { body: Some(body) }.encode_to_vec();
        [u32::try_from(bytes.len()).unwrap().to_le_bytes().as_slice(), &bytes].concat()
    };
    let stat = || message(Body::Stat(PathRef { path: b"a".to_vec(), ..PathRef::default() }));
    let push = [
        message(Body::Push(Push::default())),
        message(Body::Data(archive(&source).into())),
        message(Body::End(EndOfInput::default())),
    ];
    let input = [stat(), push.concat(), stat()].concat();
    let mut output = Watched(Vec::new());
    let disk = fs::File::open(place.disk()).unwrap().into();
    worker::run_with(&place.workspace(), disk, place::no_mount(), input.as_slice(), &mut output).unwrap();
    assert_eq!(output.0, [false, true, false]);
    assert_eq!(fs::read(place.workspace().join("a")).unwrap(), b"a");
}

#[test]
fn what_differs_from_what_was_in_common() {
    in_namespace("what_differs_from_what_was_in_common", || {
        let place = Place::new();
        let files =
            [("theirs", "1"), ("ours", "1"), ("both", "1"), ("d/gone", "1"), ("quiet", "1"), ("back", "1")];
        let source = directory(&place, "source", &files);
        let mut worker = seeded(&place, &source);
        let root = place.workspace();
        let changes = |worker: &mut Worker| worker.ask(Body::Changes(Changes::default())).fine().changes;
        assert_eq!(listed(&changes(&mut worker)), Vec::<String>::new());
        // The host pushes.
        write(&source, &[("theirs", "2"), ("both", "2"), ("new", "2"), ("back", "2")]);
        // Only the file: what an ordinary user mounts does not move directories of the seed.
        fs::remove_file(source.join("d/gone")).unwrap();
        let request = Push { delete: true, is_seed_directory: true, ..Push::default() };
        push(&mut worker, request.clone(), &source);
        assert_eq!(listed(&changes(&mut worker)), Vec::<String>::new(), "it is in common now");
        // The guest works on, from what was pushed.
        write(&root, &[("ours", "3"), ("both", "3"), ("added/x", "3"), ("back", "1")]);
        fs::remove_file(root.join("new")).unwrap();
        write(&root, &[("d/gone", "1")]);
        let found = changes(&mut worker);
        let expected = [
            "Added added",
            "Added added/x",
            "Modified back",
            "Modified both",
            "Added d/gone",
            "Deleted new",
            "Modified ours",
        ];
        assert_eq!(listed(&found), expected);
        let digest = |content: &str| <sha2::Sha256 as sha2::Digest>::digest(content).to_vec();
        let both = found.iter().find(|change| change.path == b"both").unwrap();
        assert_eq!(both.base.as_ref().unwrap().sha256, digest("2"));
        assert_eq!(both.now.as_ref().unwrap().sha256, digest("3"));
        let ours = found.iter().find(|change| change.path == b"ours").unwrap();
        assert_eq!(ours.base.as_ref().unwrap().sha256, digest("1"));
        let only = Changes { path: b"added".to_vec() };
        assert_eq!(worker.ask(Body::Changes(only)).fine().changes.len(), 2);
        // The host takes some of it.
        let entries = found.iter().filter(|change| change.path != b"ours").map(|change| match &change.now {
            Some(now) => now.clone(),
            None => Entry { path: change.path.clone(), kind: EntryKind::Special.into(), ..Entry::default() },
        });
        worker.ask(Body::Synced(Synced { entries: entries.collect() })).fine();
        assert_eq!(listed(&changes(&mut worker)), ["Modified ours"]);
        drop(worker);
        let mut worker = Worker::start(&root, &place.disk(), place::mount());
        assert_eq!(listed(&changes(&mut worker)), ["Modified ours"], "another worker knows it too");
    });
}

#[test]
fn a_workspace_without_a_seed_is_compared_with_the_hosts_directory_only() {
    let place = Place::new();
    let source = directory(
        &place,
        "source",
        &[("same", "s\n"), ("edited", "a\nb\n"), ("gone", "gone\nfor\ngood\n"), ("moved", "m\n1\n2\n")],
    );
    write(&source, &[("mode", "m\n"), ("long", &"x\n".repeat(300_000)), ("dir/f", "f\n"), ("n1", "name\n")]);
    fs::hard_link(source.join("n1"), source.join("n2")).unwrap();
    fs::hard_link(source.join("n1"), source.join("n3")).unwrap();
    symlink("a", source.join("link")).unwrap();
    let root = place.workspace();
    write(
        &root,
        &[
            ("same", "s\n"),
            ("edited", "a\nB\n"),
            ("to", "m\n1\n2\n"),
            ("mode", "m\n"),
            ("added", "+\n"),
            ("dir/f", "f\n"),
        ],
    );
    write(
        &root,
        &[("long", &("x\n".repeat(299_999) + "y\n")), ("n1", "other\n"), ("n2", "name\n"), ("n3", "NAME\n")],
    );
    fs::set_permissions(root.join("mode"), Permissions::from_mode(0o755)).unwrap();
    symlink("b", root.join("link")).unwrap();
    let mut worker = plain(&place);
    assert_eq!(worker.ask(Body::Diff(Diff::default())).failure(), Some(WorkFailureCode::Unsupported));
    assert_eq!(worker.ask(Body::Changes(Changes::default())).failure(), Some(WorkFailureCode::Unsupported));
    assert_eq!(worker.ask(Body::Synced(Synced::default())).failure(), Some(WorkFailureCode::Unsupported));
    let request = Diff { with_counts: true, ..Diff::default() };
    let answer = worker.ask_with(Body::DiffAgainst(request), &archive(&source)).fine();
    let expected = [
        "Added added",
        "Modified edited",
        "Deleted gone",
        "Modified link",
        "Modified long",
        "Modified mode",
        "Modified n1",
        "Modified n3",
        "Renamed to",
    ];
    assert_eq!(listed(&answer.changes), expected);
    let patch = answer.text();
    assert!(
        patch.contains("-b\n+B\n") && patch.contains("rename from moved") && patch.contains("-name\n+NAME\n")
    );
    let long = &answer.changes[4];
    assert_eq!((long.added_lines, long.removed_lines), (Some(1), Some(1)));
    let at = usize::try_from(long.patch_offset.unwrap()).unwrap();
    let part = &patch[at..at + usize::try_from(long.patch_bytes).unwrap()];
    assert!(part.starts_with("diff --git a/long b/long\n") && part.ends_with("-x\n+y\n"), "{part}");
    let request = Diff { paths: vec![b"dir".to_vec(), b"edited".to_vec()], ..Diff::default() };
    let answer = worker.ask_with(Body::DiffAgainst(request), &archive(&source)).fine();
    assert_eq!(listed(&answer.changes), ["Modified edited"]);
}

#[test]
fn an_archive_of_the_workspace_has_what_was_asked_for() {
    let place = Place::new();
    let root = place.workspace();
    write(&root, &[("d/a", "a"), ("d/sub/b", "b"), ("other", "o"), (".pyro-transaction/x", "x")]);
    fs::hard_link(root.join("d/a"), root.join("d/z")).unwrap();
    symlink("../../outside", root.join("d/link")).unwrap();
    symlink("d", root.join("to-d")).unwrap();
    let mut worker = plain(&place);
    let pack = |worker: &mut Worker, base: &str, paths: &[&str], not_recursive| {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        worker.ask(Body::Pack(Pack { paths, base: base.into(), not_recursive }))
    };
    let members = |answer: Answer| {
        let mut reader = pyro_tree::archive::Reader::new(
            io::Cursor::new(answer.fine().data),
            pyro_tree::archive::Limits::default(),
            pyro_tree::archive::Special::Refuse,
        );
        let mut names = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            let sign =
                if matches!(member.kind, pyro_tree::archive::Kind::HardLink { .. }) { "=" } else { "" };
            names.push(format!("{}{sign}", member.path));
        }
        names
    };
    assert_eq!(members(pack(&mut worker, "d", &["d"], false)), [".", "a", "link", "sub", "sub/b", "z="]);
    assert_eq!(members(pack(&mut worker, "", &["d/sub", "other"], false)), ["d/sub", "d/sub/b", "other"]);
    assert_eq!(members(pack(&mut worker, "", &["d", "to-d"], true)), ["d", "to-d"]);
    assert!(!members(pack(&mut worker, "", &[""], false)).iter().any(|name| name.contains("transaction")));
    let none = pack(&mut worker, "", &["none"], false);
    assert_eq!(none.failure(), Some(WorkFailureCode::NotFound));
    assert_eq!(pack(&mut worker, "d", &["other"], false).failure(), Some(WorkFailureCode::Invalid));
}
