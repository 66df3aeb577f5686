//! What a worker does with single files and directories, asked as the host asks.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod place;
mod work;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use place::{Place, in_namespace, no_mount};
use proptest::prelude::*;
use pyro_protocol::work::{
    Delete, Entry, EntryKind, List, MakeDirectory, PathRef, Read, ReadDone, Replace, Replaced, Seed,
    Transfer, WorkFailureCode, Write, Written, work_reply, work_request::Body,
};
use work::{Answer, Worker};

fn begin() -> (Place, Worker) {
    let place = Place::new();
    let worker = Worker::start(&place.workspace(), &place.disk(), no_mount());
    (place, worker)
}

fn path_ref(path: impl AsRef<[u8]>) -> PathRef {
    PathRef { path: path.as_ref().to_vec(), with_sha256: false }
}

fn read(worker: &mut Worker, read: Read) -> (Vec<u8>, ReadDone) {
    let answer = worker.ask(Body::Read(read)).fine();
    match answer.last {
        work_reply::Body::ReadDone(done) => (answer.data, done),
        other => panic!("{other:?}"),
    }
}

fn write_to(path: &str) -> Write {
    Write { path: path.into(), ..Write::default() }
}

fn written(answer: Answer) -> Written {
    match answer.fine().last {
        work_reply::Body::Written(written) => written,
        other => panic!("{other:?}"),
    }
}

fn stat(worker: &mut Worker, path: impl AsRef<[u8]>) -> Entry {
    match worker.ask(Body::Stat(path_ref(path))).fine().last {
        work_reply::Body::Entry(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn paths(answer: &Answer) -> Vec<String> {
    answer.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn mode(path: impl AsRef<std::path::Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn transfer(from: &str, to: &str) -> Transfer {
    Transfer { from: from.into(), to: to.into(), ..Transfer::default() }
}

#[test]
fn paths_that_are_none_or_lead_out_are_refused_by_every_request() {
    let (place, mut worker) = begin();
    let w = place.workspace();
    fs::create_dir(w.join("inside")).unwrap();
    fs::write(w.join("inside/file"), "in").unwrap();
    fs::write(place.beside("secret"), "out").unwrap();
    symlink("..", w.join("up")).unwrap();
    symlink(place.beside("secret"), w.join("absolute")).unwrap();
    symlink(w.join("inside"), w.join("absolute-inside")).unwrap();
    symlink("inside", w.join("link")).unwrap();
    for (path, code) in [
        ("../secret", WorkFailureCode::Invalid),
        ("inside/../inside/file", WorkFailureCode::Invalid),
        ("/etc/passwd", WorkFailureCode::Invalid),
        ("a\0b", WorkFailureCode::Invalid),
        (".pyro-transaction", WorkFailureCode::Invalid),
        (".pyro-transaction/x", WorkFailureCode::Invalid),
        ("up/secret", WorkFailureCode::Escapes),
        ("absolute-inside/file", WorkFailureCode::Escapes),
    ] {
        let bytes: Vec<u8> = path.into();
        for request in [
            Body::Stat(path_ref(path)),
            Body::List(List { path: bytes.clone(), ..List::default() }),
            Body::Read(Read { path: bytes.clone(), ..Read::default() }),
            Body::Replace(Replace { path: bytes.clone(), old: b"out".into(), ..Replace::default() }),
            Body::Delete(Delete { path: bytes.clone(), recursive: true, missing_ok: true }),
            Body::Move(transfer(path, "taken")),
            Body::Copy(transfer(path, "taken")),
            Body::Move(transfer("inside/file", path)),
            Body::Copy(transfer("inside/file", path)),
        ] {
            let answer = worker.ask(request.clone());
            assert_eq!(answer.failure(), Some(code), "{request:?}: {:?}", answer.last);
        }
        let answer = worker.ask_with(Body::Write(write_to(path)), b"x");
        assert_eq!(answer.failure(), Some(code), "write {path}");
    }
    assert_eq!(
        worker.ask(Body::Read(Read { path: b"absolute".into(), ..Read::default() })).failure(),
        Some(WorkFailureCode::Escapes)
    );
    assert_eq!(fs::read(place.beside("secret")).unwrap(), b"out");
    // What stays inside is fine, and so is the workspace's own name.
    let (data, _) = read(&mut worker, Read { path: b"link/file".into(), ..Read::default() });
    assert_eq!(data, b"in");
    let absolute = w.join("inside/file").into_os_string().into_encoded_bytes();
    assert_eq!(stat(&mut worker, &absolute).path, b"inside/file");
    assert_eq!(stat(&mut worker, "").kind(), EntryKind::Directory);
}

#[test]
fn a_last_link_is_what_is_changed_and_never_where_it_leads() {
    let (place, mut worker) = begin();
    let w = place.workspace();
    fs::write(w.join("file"), "text").unwrap();
    symlink("file", w.join("link")).unwrap();
    let entry = stat(&mut worker, "link");
    assert_eq!(
        (entry.kind(), entry.link_target.as_slice(), entry.size_bytes),
        (EntryKind::Symlink, &b"file"[..], 4)
    );
    assert_eq!(
        worker.ask_with(Body::Write(write_to("link")), b"x").failure(),
        Some(WorkFailureCode::WrongType)
    );
    let replace = Replace { path: b"link".into(), old: b"text".into(), ..Replace::default() };
    assert_eq!(worker.ask(Body::Replace(replace)).failure(), Some(WorkFailureCode::WrongType));
    worker.ask(Body::Copy(transfer("link", "copied"))).fine();
    worker.ask(Body::Move(transfer("link", "moved"))).fine();
    assert_eq!(fs::read_link(w.join("copied")).unwrap(), OsStr::new("file"));
    assert_eq!(fs::read_link(w.join("moved")).unwrap(), OsStr::new("file"));
    worker.ask(Body::Delete(Delete { path: b"moved".into(), ..Delete::default() })).fine();
    assert_eq!(fs::read(w.join("file")).unwrap(), b"text");
}

#[test]
fn a_write_is_whole_keeps_mode_and_owner_and_leaves_no_other_file() {
    let (place, mut worker) = begin();
    let w = place.workspace();
    let made = written(worker.ask_with(Body::Write(write_to("a/b/new")), b"one"));
    assert!(made.created);
    assert_eq!((made.written_bytes, mode(w.join("a/b/new")), mode(w.join("a"))), (3, 0o644, 0o755));
    fs::set_permissions(w.join("a/b/new"), fs::Permissions::from_mode(0o4750)).unwrap();
    let owner = if rustix::process::geteuid().is_root() { 1234 } else { rustix::process::geteuid().as_raw() };
    std::os::unix::fs::chown(w.join("a/b/new"), Some(owner), None).unwrap();
    fs::set_permissions(w.join("a/b/new"), fs::Permissions::from_mode(0o4750)).unwrap();
    let again = written(worker.ask_with(Body::Write(write_to("a/b/new")), b""));
    assert!(!again.created);
    let entry = again.entry.unwrap();
    assert_eq!((entry.mode, entry.uid, entry.size_bytes), (0o4750, owner, 0));
    let metadata = fs::metadata(w.join("a/b/new")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.len()), (0o4750, owner, 0));
    let with_mode = Write { mode: Some(0o2777), ..write_to("a/b/new") };
    assert_eq!(written(worker.ask_with(Body::Write(with_mode), b"x")).entry.unwrap().mode, 0o2777);
    assert_eq!(mode(w.join("a/b/new")), 0o2777);
    let names: Vec<_> =
        fs::read_dir(w.join("a/b")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["new"]);
    let only_new = Write { create_only: true, ..write_to("a/b/new") };
    assert_eq!(worker.ask_with(Body::Write(only_new), b"x").failure(), Some(WorkFailureCode::Exists));
    let only_new = Write { create_only: true, ..write_to("a/b/other") };
    assert!(written(worker.ask_with(Body::Write(only_new), b"x")).created);
    assert_eq!(worker.ask_with(Body::Write(write_to("a")), b"x").failure(), Some(WorkFailureCode::WrongType));
    assert_eq!(
        worker.ask_with(Body::Write(write_to("a/b/new/x")), b"x").failure(),
        Some(WorkFailureCode::WrongType)
    );
    let bounded = Write { max_bytes: 2, ..write_to("a/b/new") };
    assert_eq!(worker.ask_with(Body::Write(bounded), b"xyz").failure(), Some(WorkFailureCode::TooLarge));
    assert_eq!(fs::read(w.join("a/b/new")).unwrap(), b"x");
}

#[test]
fn content_that_the_host_gives_up_changes_nothing() {
    let (place, mut worker) = begin();
    fs::write(place.workspace().join("file"), "old").unwrap();
    for request in [write_to("file"), write_to("new"), Write { append: true, ..write_to("file") }] {
        worker.send(Body::Write(request));
        worker.send_input(&[7; 300_000], "the disk of the host is gone");
        let answer = worker.answer();
        assert_eq!(answer.failure(), Some(WorkFailureCode::Abandoned));
        let work_reply::Body::Failure(failure) = answer.last else { panic!() };
        assert_eq!(failure.message, "the disk of the host is gone");
    }
    let names: Vec<_> =
        fs::read_dir(place.workspace()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read(place.workspace().join("file")).unwrap(), b"old");
}

#[test]
fn large_contents_go_both_ways() {
    let (place, mut worker) = begin();
    let content: Vec<u8> = (0..5_000_001_u32).map(|index| (index ^ index >> 9).to_le_bytes()[0]).collect();
    written(worker.ask_with(Body::Write(write_to("large")), &content));
    assert!(fs::read(place.workspace().join("large")).unwrap() == content);
    let (data, done) = read(&mut worker, Read { path: b"large".into(), ..Read::default() });
    assert!(data == content && !done.truncated && done.total_lines.is_none());
    let part = Read { path: b"large".into(), offset: 4_999_990, max_bytes: 5, ..Read::default() };
    let (data, done) = read(&mut worker, part);
    assert!(data == content[4_999_990..4_999_995] && done.truncated);
    assert_eq!(done.entry.unwrap().size_bytes, 5_000_001);
    let behind = Read { path: b"large".into(), offset: u64::MAX, max_bytes: 5, ..Read::default() };
    let (data, done) = read(&mut worker, behind);
    assert!(data.is_empty() && !done.truncated);
}

#[test]
fn what_is_no_regular_file_is_not_read_and_holds_nobody_up() {
    let (place, mut worker) = begin();
    let w = place.workspace();
    let pipe = w.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = UnixListener::bind(w.join("socket")).unwrap();
    symlink("loop", w.join("loop")).unwrap();
    for (path, code) in [
        ("pipe", WorkFailureCode::WrongType),
        ("socket", WorkFailureCode::WrongType),
        ("", WorkFailureCode::WrongType),
        ("loop", WorkFailureCode::Invalid),
        ("missing", WorkFailureCode::NotFound),
    ] {
        let answer = worker.ask(Body::Read(Read { path: path.into(), ..Read::default() }));
        assert_eq!(answer.failure(), Some(code), "{path}: {:?}", answer.last);
    }
    assert_eq!(
        worker.ask_with(Body::Write(write_to("pipe")), b"x").failure(),
        Some(WorkFailureCode::WrongType)
    );
    assert_eq!(stat(&mut worker, "pipe").kind(), EntryKind::Special);
    let listed = worker.ask(Body::List(List { recursive: true, ..List::default() })).fine();
    assert_eq!(paths(&listed), ["loop", "pipe", "socket"]);
}

#[test]
fn a_digest_is_of_the_content() {
    let (_place, mut worker) = begin();
    written(worker.ask_with(Body::Write(write_to("abc")), b"abc"));
    let work_reply::Body::Entry(entry) =
        worker.ask(Body::Stat(PathRef { path: b"abc".into(), with_sha256: true })).fine().last
    else {
        panic!()
    };
    assert_eq!(entry.sha256[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(entry.sha256.len(), 32);
}

#[test]
fn a_text_is_replaced_only_if_it_is_there_as_often_as_said() {
    let (place, mut worker) = begin();
    let file = place.workspace().join("file");
    fs::write(&file, "one\r\ntwo one\r\nthree\none").unwrap();
    let replace = |count| Replace { path: b"file".into(), old: b"one".into(), new: b"1".into(), count };
    let answer = worker.ask(Body::Replace(replace(2)));
    assert_eq!(answer.failure(), Some(WorkFailureCode::CountMismatch));
    let work_reply::Body::Failure(failure) = answer.last else { panic!() };
    let told = "replace text in `file`: the text is there 3 times (lines 1, 2, 4), not 2 times";
    assert_eq!((failure.message.as_str(), failure.path.as_slice()), (told, &b"file"[..]));
    let none = Replace { old: b"four".into(), ..replace(0) };
    assert_eq!(worker.ask(Body::Replace(none)).failure(), Some(WorkFailureCode::CountMismatch));
    let empty = Replace { old: Vec::new(), ..replace(0) };
    assert_eq!(worker.ask(Body::Replace(empty)).failure(), Some(WorkFailureCode::Invalid));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let work_reply::Body::Replaced(Replaced { count, lines, entry }) =
        worker.ask(Body::Replace(replace(3))).fine().last
    else {
        panic!()
    };
    assert_eq!((count, lines, entry.unwrap().size_bytes), (3, vec![1, 2, 4], 17));
    assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"1\r\ntwo 1\r\nthree\n1".to_vec(), 0o755));
    // A result that would be larger than any file that can be edited.
    fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    let explodes = Replace { path: b"file".into(), old: b"x".into(), new: vec![b'y'; 1 << 19], count: 0 };
    assert_eq!(worker.ask(Body::Replace(explodes)).failure(), Some(WorkFailureCode::TooLarge));
    assert_eq!(fs::metadata(&file).unwrap().len(), 1 << 20);
}

#[test]
fn directories_are_made_with_those_above() {
    let (place, mut worker) = begin();
    let make = |path: &str, mode, must_create| MakeDirectory { path: path.into(), mode, must_create };
    worker.ask(Body::MakeDirectory(make("a/b/c", Some(0o1777), true))).fine();
    assert_eq!((mode(place.workspace().join("a/b")), mode(place.workspace().join("a/b/c"))), (0o755, 0o1777));
    worker.ask(Body::MakeDirectory(make("a/b", None, false))).fine();
    worker.ask(Body::MakeDirectory(make("", None, false))).fine();
    let again = worker.ask(Body::MakeDirectory(make("a/b", None, true)));
    assert_eq!(again.failure(), Some(WorkFailureCode::Exists));
    fs::write(place.workspace().join("file"), "").unwrap();
    let over = worker.ask(Body::MakeDirectory(make("file", None, false)));
    assert_eq!(over.failure(), Some(WorkFailureCode::Exists));
    let under = worker.ask(Body::MakeDirectory(make("file/x", None, false)));
    assert_eq!(under.failure(), Some(WorkFailureCode::WrongType));
}

#[test]
fn a_move_replaces_a_file_only_if_told_and_a_directory_never() {
    let (place, mut worker) = begin();
    let w = place.workspace();
    for (path, text) in [("a", "a"), ("b", "b"), ("d/x", "x")] {
        written(worker.ask_with(Body::Write(write_to(path)), text.as_bytes()));
    }
    let mut code = |transfer: Transfer| worker.ask(Body::Move(transfer)).failure();
    assert_eq!(code(transfer("a", "b")), Some(WorkFailureCode::Exists));
    assert_eq!(code(Transfer { overwrite: true, ..transfer("a", "d") }), Some(WorkFailureCode::Exists));
    assert_eq!(code(Transfer { overwrite: true, ..transfer("d", "a") }), Some(WorkFailureCode::WrongType));
    assert_eq!(code(transfer("d", "d/y/z")), Some(WorkFailureCode::Invalid));
    assert_eq!(code(transfer("missing", "new/place")), Some(WorkFailureCode::NotFound));
    assert_eq!(code(transfer("", "x")), Some(WorkFailureCode::Invalid));
    assert!(!w.join("new").exists() && !w.join("d/y").exists());
    assert_eq!(code(Transfer { overwrite: true, ..transfer("a", "b") }), None);
    assert_eq!(code(transfer("d", "new/place/d")), None);
    assert_eq!((fs::read(w.join("b")).unwrap(), w.join("a").exists()), (b"a".to_vec(), false));
    assert_eq!(fs::read(w.join("new/place/d/x")).unwrap(), b"x");
    // Two names of one file: the old one goes. One name twice: nothing does.
    fs::hard_link(w.join("b"), w.join("c")).unwrap();
    assert_eq!(code(Transfer { overwrite: true, ..transfer("c", "b") }), None);
    assert!(w.join("b").exists() && !w.join("c").exists());
    symlink("new", w.join("link")).unwrap();
    fs::write(w.join("new/f"), "f").unwrap();
    assert_eq!(code(Transfer { overwrite: true, ..transfer("new/f", "link/f") }), None);
    assert_eq!(fs::read(w.join("new/f")).unwrap(), b"f");
    assert_eq!(code(transfer("new", "link/place/n")), Some(WorkFailureCode::Invalid));
}

#[test]
fn a_copy_keeps_modes_times_links_holes_and_shared_files() {
    let (place, mut worker) = begin();
    let w = place.workspace();
    fs::create_dir_all(w.join("tree/sub/empty")).unwrap();
    fs::write(w.join("tree/sub/file"), "text").unwrap();
    fs::set_permissions(w.join("tree/sub/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(w.join("tree/sub/file"), w.join("tree/other")).unwrap();
    symlink("../nowhere", w.join("tree/link")).unwrap();
    let holes = fs::File::create(w.join("tree/holes")).unwrap();
    std::os::unix::fs::FileExt::write_at(&holes, b"end", 10 << 20).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_000_000);
    fs::File::open(w.join("tree/sub/file")).unwrap().set_modified(old).unwrap();
    let _socket = UnixListener::bind(w.join("tree/socket")).unwrap();
    fs::set_permissions(w.join("tree/sub"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::File::open(w.join("tree/sub")).unwrap().set_modified(old).unwrap();
    let recursive = |from: &str, to: &str| Transfer { recursive: true, ..transfer(from, to) };
    assert_eq!(worker.ask(Body::Copy(transfer("tree", "x"))).failure(), Some(WorkFailureCode::WrongType));
    for into in ["tree", "tree/sub/x", "tree/y"] {
        assert_eq!(worker.ask(Body::Copy(recursive("tree", into))).failure(), Some(WorkFailureCode::Invalid));
    }
    let work_reply::Body::Unpacked(unpacked) =
        worker.ask(Body::Copy(recursive("tree", "to/copy"))).fine().last
    else {
        panic!()
    };
    assert_eq!((unpacked.entry_count, unpacked.content_bytes), (7, 4 + (10 << 20) + 3));
    assert_eq!(unpacked.notes, ["`tree/socket` left out, it is a socket"]);
    let copy = w.join("to/copy");
    let metadata = |path: &str| fs::symlink_metadata(copy.join(path)).unwrap();
    assert_eq!((mode(copy.join("sub/file")), metadata("sub/file").modified().unwrap()), (0o4711, old));
    assert_eq!((mode(copy.join("sub")), metadata("sub").modified().unwrap()), (0o500, old));
    assert_eq!(metadata("sub/file").ino(), metadata("other").ino());
    assert_ne!(metadata("sub/file").ino(), fs::metadata(w.join("tree/other")).unwrap().ino());
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), OsStr::new("../nowhere"));
    assert!(metadata("holes").blocks() * 512 < 1 << 20);
    assert!(fs::read(copy.join("holes")).unwrap() == fs::read(w.join("tree/holes")).unwrap());
    assert_eq!(worker.ask(Body::Copy(recursive("tree", "to/copy"))).failure(), Some(WorkFailureCode::Exists));
    worker.ask(Body::Copy(Transfer { overwrite: true, ..transfer("tree/link", "to/copy/holes") })).fine();
    assert!(fs::symlink_metadata(copy.join("holes")).unwrap().is_symlink());
    symlink("tree", w.join("way")).unwrap();
    assert_eq!(worker.ask(Body::Copy(recursive("tree", "way/in"))).failure(), Some(WorkFailureCode::Invalid));
    let names: Vec<_> = fs::read_dir(w.join("to")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["copy"]);
}

#[test]
fn a_directory_is_deleted_with_all_it_holds_only_if_told() {
    let (place, mut worker) = begin();
    written(worker.ask_with(Body::Write(write_to("d/e/f")), b"x"));
    symlink("d", place.workspace().join("link")).unwrap();
    let delete =
        |path: &str, recursive, missing_ok| Body::Delete(Delete { path: path.into(), recursive, missing_ok });
    assert_eq!(worker.ask(delete("d", false, false)).failure(), Some(WorkFailureCode::NotEmpty));
    assert_eq!(worker.ask(delete("x", true, false)).failure(), Some(WorkFailureCode::NotFound));
    assert_eq!(worker.ask(delete("", true, false)).failure(), Some(WorkFailureCode::Invalid));
    worker.ask(delete("x/y", true, true)).fine();
    worker.ask(delete("link", true, false)).fine();
    assert!(place.workspace().join("d/e/f").exists());
    worker.ask(delete("d/e", true, false)).fine();
    worker.ask(delete("d", false, false)).fine();
    assert_eq!(fs::read_dir(place.workspace()).unwrap().count(), 0);
}

#[test]
fn a_tree_is_deep_and_names_are_bytes() {
    let (place, mut worker) = begin();
    let long = "x".repeat(255);
    for name in [&b"\xff\xfe"[..], b"new\nline", long.as_bytes(), b" ", b"-"] {
        let request = Write { path: name.into(), ..Write::default() };
        written(worker.ask_with(Body::Write(request), name));
        assert_eq!(fs::read(place.workspace().join(OsStr::from_bytes(name))).unwrap(), name);
        assert_eq!(stat(&mut worker, name).path, name);
    }
    let too_long = Write { path: vec![b'x'; 256], ..Write::default() };
    assert_eq!(worker.ask_with(Body::Write(too_long), b"").failure(), Some(WorkFailureCode::Invalid));
    let deep = format!("{}file", "d/".repeat(1500));
    written(worker.ask_with(Body::Write(write_to(&deep)), b"deep"));
    let listed = worker.ask(Body::List(List { recursive: true, ..List::default() })).fine();
    assert_eq!(listed.entries.len(), 5 + 1501);
    worker.ask(Body::Copy(Transfer { recursive: true, ..transfer("d", "copy") })).fine();
    let deep_copy = format!("copy/{}file", "d/".repeat(1499));
    assert_eq!(read(&mut worker, Read { path: deep_copy.into(), ..Read::default() }).0, b"deep");
    worker.ask(Body::Delete(Delete { path: b"d".into(), recursive: true, missing_ok: false })).fine();
    assert!(!place.workspace().join("d").exists());
}

#[test]
fn a_seeded_file_is_written_and_replaced_on_the_overlay() {
    in_namespace("a_seeded_file_is_written_and_replaced_on_the_overlay", || {
        let place = Place::new();
        let mut worker = Worker::start(&place.workspace(), &place.disk(), place::mount());
        let source = place.beside("source");
        fs::create_dir_all(source.join("d")).unwrap();
        fs::write(source.join("d/seeded"), "old text\n").unwrap();
        fs::set_permissions(source.join("d/seeded"), fs::Permissions::from_mode(0o750)).unwrap();
        worker.ask_with(Body::Seed(Seed { has_input: true }), &work::archive(&source)).fine();
        written(worker.ask_with(Body::Write(write_to("d/new")), b"new"));
        written(worker.ask_with(Body::Write(Write { append: true, ..write_to("d/seeded") }), b"more"));
        let replace = Replace { path: b"d/seeded".into(), old: b"old".into(), new: b"new".into(), count: 1 };
        worker.ask(Body::Replace(replace)).fine();
        let w = place.workspace();
        assert_eq!(
            (fs::read(w.join("d/seeded")).unwrap(), mode(w.join("d/seeded"))),
            (b"new text\nmore".to_vec(), 0o750)
        );
        worker.ask(Body::Copy(Transfer { recursive: true, ..transfer("d", "e") })).fine();
        worker.ask(Body::Move(transfer("d", "f/g"))).fine();
        worker.ask(Body::Delete(Delete { path: b"e".into(), recursive: true, missing_ok: false })).fine();
        let listed = worker.ask(Body::List(List { recursive: true, ..List::default() })).fine();
        assert_eq!(paths(&listed), ["f", "f/g", "f/g/new", "f/g/seeded"]);
        let upper: Vec<_> = fs::read_dir(place.upper().join("f/g")).unwrap().collect();
        assert_eq!(upper.len(), 2, "nothing of ours stays: {upper:?}");
    });
}

#[test]
fn what_replaces_lines_is_lines() {
    let (place, mut worker) = begin();
    let file = place.workspace().join("f");
    let mut write = |old: &str, lines: (u64, u64), new: &str| {
        fs::write(&file, old).unwrap();
        let request = Write { first_line: lines.0, last_line: lines.1, ..write_to("f") };
        let done = written(worker.ask_with(Body::Write(request), new.as_bytes()));
        assert_eq!(done.written_bytes, new.len() as u64);
        fs::read_to_string(&file).unwrap()
    };
    assert_eq!(write("a\nb\nc\n", (2, 2), "x = 1"), "a\nx = 1\nc\n");
    assert_eq!(write("a\r\nb\r\nc\r\n", (2, 2), "x"), "a\r\nx\r\nc\r\n");
    assert_eq!(write("a\r\nb\r\n", (1, 0), "x"), "x\r\na\r\nb\r\n");
    assert_eq!(write("a\nb", (3, 2), "c"), "a\nb\nc");
    assert_eq!(write("a\nb", (2, 2), "x"), "a\nx");
    assert_eq!(write("a\nb", (1, 1), ""), "b");
}

/// The lines of a text, each with its end.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn lines_are_read_as_they_are(text in text(), first in 1_u64..12, more in 0_u64..12, to_the_end: bool) {
        let (place, mut worker) = begin();
        fs::write(place.workspace().join("f"), &text).unwrap();
        let last_line = if to_the_end { 0 } else { first + more };
        let request = Read { path: b"f".into(), first_line: first, last_line, ..Read::default() };
        let (data, done) = read(&mut worker, request);
        let all = lines(&text);
        let last = if to_the_end { usize::MAX } else { usize::try_from(last_line).unwrap() };
        let from = usize::try_from(first - 1).unwrap().min(all.len());
        prop_assert_eq!(data, all[from..last.min(all.len()).max(from)].concat());
        prop_assert_eq!(done.total_lines.is_some(), last >= all.len(), "{:?}", done.total_lines);
        prop_assert!(done.total_lines.is_none_or(|total| total == all.len() as u64));
    }

    #[test]
    fn lines_are_written_as_they_are(text in text(), new in text(), first in 1_u64..12, count in 0_u64..8) {
        let (place, mut worker) = begin();
        let file = place.workspace().join("f");
        fs::write(&file, &text).unwrap();
        let request = Write { first_line: first, last_line: first + count - 1, ..write_to("f") };
        let answer = worker.ask_with(Body::Write(request), &new);
        let all = lines(&text);
        let (start, end) = (usize::try_from(first - 1).unwrap(), usize::try_from(first - 1 + count).unwrap());
        if end > all.len() {
            prop_assert_eq!(answer.failure(), Some(WorkFailureCode::Invalid));
            prop_assert_eq!(fs::read(&file).unwrap(), text);
        } else {
            let ended = |lines: &[&[u8]]| lines.iter().copied().find(|line| line.ends_with(b"\n")).map(<[u8]>::to_vec);
            let reversed: Vec<_> = all[..end].iter().rev().copied().collect();
            let near = ended(&reversed).or_else(|| ended(&all[end..])).unwrap_or_default();
            let ending: &[u8] = if near.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
            let mut expected = all[..start].concat();
            for (more, is_needed) in [(new.clone(), !new.is_empty()), (all[end..].concat(), end < all.len())] {
                if is_needed && !expected.is_empty() && !expected.ends_with(b"\n") {
                    expected.extend(ending);
                }
                expected.extend(more);
            }
            prop_assert!(answer.failure().is_none());
            prop_assert_eq!(fs::read(&file).unwrap(), expected);
        }
    }

    #[test]
    fn a_replacement_is_that_of_the_standard_library(text in "[ab\n]{0,40}", old in "[ab\n]{1,3}", new in "[abc]{0,3}") {
        let (place, mut worker) = begin();
        let file = place.workspace().join("f");
        fs::write(&file, &text).unwrap();
        let request = Replace { path: b"f".into(), old: old.clone().into(), new: new.clone().into(), count: 0 };
        let answer = worker.ask(Body::Replace(request));
        let starts: Vec<_> = text.match_indices(&old).map(|(at, _)| at).collect();
        prop_assert_eq!(answer.failure().is_some(), starts.is_empty());
        if let work_reply::Body::Replaced(replaced) = answer.last {
            prop_assert_eq!(fs::read(&file).unwrap(), text.replace(&old, &new).into_bytes());
            let lines: Vec<_> = starts.iter().map(|at| text[..*at].matches('\n').count() as u64 + 1).collect();
            prop_assert_eq!((replaced.count, replaced.lines), (starts.len() as u64, lines));
        }
    }
}
