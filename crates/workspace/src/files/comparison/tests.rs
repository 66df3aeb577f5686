//! What the host makes of what guests say, honest or not.

use std::collections::HashSet;

use pyro_protocol::work::{Entry, EntryKind};
use pyro_tree::{
    RelativePath,
    archive::{Kind, Member, Writer},
    attributes::{Attributes, Time},
};

use super::{
    differences::{Differences, without_implied_directories},
    digests::digests_in,
    tree::with_path,
};

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

fn entry(kind: EntryKind) -> Entry {
    Entry { kind: kind.into(), mode: 0o644, ..Entry::default() }
}

fn file(size_bytes: u64, stamp: &[u8]) -> Entry {
    Entry { size_bytes, stamp: stamp.to_vec(), ..entry(EntryKind::File) }
}

fn link(target: &[u8]) -> Entry {
    Entry { link_target: target.to_vec(), ..entry(EntryKind::Symlink) }
}

/// How many differ, and how many are in doubt.
fn between(old: &[(&str, Entry)], new: &[(&str, Entry)]) -> (usize, usize) {
    let side =
        |side: &[(&str, Entry)]| side.iter().map(|(name, entry)| (path(name), entry.clone())).collect();
    let found = Differences::between(side(old), side(new));
    (found.certain.len(), found.doubtful.len())
}

#[test]
fn only_files_of_equal_size_without_a_common_stamp_are_in_doubt() {
    let of = |old: Entry, new: Entry| between(&[("a", old)], &[("a", new)]);
    assert_eq!(of(file(3, b"1"), file(3, b"1")), (0, 0));
    assert_eq!(of(file(3, b"1"), file(3, b"2")), (0, 1));
    // Agents of earlier releases give no stamps.
    assert_eq!(of(file(3, b""), file(3, b"")), (0, 1));
    assert_eq!(of(file(0, b"1"), file(0, b"2")), (0, 0));
    assert_eq!(of(file(3, b"1"), file(4, b"1")), (1, 0));
    assert_eq!(of(file(3, b"1"), Entry { mode: 0o755, ..file(3, b"1") }), (1, 0));
    assert_eq!(of(file(1, b""), link(b"x")), (1, 0));
    assert_eq!(of(link(b"x"), link(b"x")), (0, 0));
    assert_eq!(of(link(b"x"), link(b"y")), (1, 0));
    assert_eq!(of(entry(EntryKind::Directory), entry(EntryKind::Directory)), (0, 0));
    let closed = Entry { mode: 0o700, ..entry(EntryKind::Directory) };
    assert_eq!(of(entry(EntryKind::Directory), closed), (1, 0));
    assert_eq!(between(&[("a", file(1, b""))], &[("b", file(1, b""))]), (2, 0));
    // A guest may say anything twice, in any order.
    let twice = [("b", file(1, b"")), ("a", file(2, b"")), ("a", file(1, b"1"))];
    assert_eq!(between(&twice, &[("a", file(1, b"1")), ("a", file(1, b"1"))]), (1, 0));
}

#[test]
fn a_directory_is_told_only_if_nothing_in_it_tells() {
    let side = |names: &[(&str, EntryKind)]| {
        names.iter().map(|(name, kind)| (path(name), entry(*kind))).collect::<Vec<_>>()
    };
    let (directory, file) = (EntryKind::Directory, EntryKind::File);
    let new = side(&[("full", directory), ("full/a", file), ("bare", directory)]);
    let mut found = Differences::between(Vec::new(), new);
    found.certain.sort_by(|one, other| one.path.cmp(&other.path));
    let told: Vec<_> = without_implied_directories(found.certain).into_iter().map(|d| d.path).collect();
    assert_eq!(told, [path("bare"), path("full/a")]);
}

#[test]
fn paths_that_lead_elsewhere_are_not_taken() {
    for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\0"] {
        assert!(with_path(Entry { path: bad.into(), ..file(1, b"") }).is_err(), "{bad:?}");
    }
    assert!(with_path(Entry { path: b"a/b\xff\n".to_vec(), ..file(1, b"") }).is_ok());
}

#[test]
fn digests_are_taken_of_what_was_asked_for_and_of_its_other_names() {
    let mut writer = Writer::new(Vec::new());
    let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, mtime: Time::default() };
    let member = |name: &str, kind| Member { path: path(name), kind, attributes };
    for (name, content) in [("a", "one"), ("not-asked", "two")] {
        let member = member(name, Kind::File { size_bytes: content.len() as u64 });
        writer.append_file(&member, &mut content.as_bytes(), &mut |error| panic!("{error}")).unwrap();
    }
    writer.append(&member("other", Kind::HardLink { target: path("a") })).unwrap();
    writer.append(&member("stray", Kind::HardLink { target: path("nowhere") })).unwrap();
    writer.append(&member("link", Kind::Symlink { target: b"a".to_vec() })).unwrap();
    let archive = writer.finish().unwrap();
    let asked: HashSet<_> = ["a", "other", "stray", "link", "missing"].map(path).into();
    let digests = digests_in(archive.as_slice(), &asked).unwrap();
    assert_eq!(digests.len(), 2);
    assert_eq!(digests[&path("a")], digests[&path("other")]);
    assert!(digests_in(&archive[..700], &asked).is_err(), "cut off");
}
