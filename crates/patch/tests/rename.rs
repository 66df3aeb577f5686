//! Which files are taken for moved ones, and with how much work.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{borrow::Cow, convert::Infallible};

use pyro_patch::{
    FilePath, Mode,
    rename::{Entry, Limits, List, detect},
};

type Files<'a> = &'a [(&'a str, &'a str)];

/// The pairs by name with their similarity, and how often content was asked for.
fn found(
    deleted: Files<'_>,
    added: Files<'_>,
    limits: Limits,
    digests: bool,
) -> (Vec<(String, String, u8)>, usize) {
    let paths = |files: Files<'_>| -> Vec<FilePath> {
        files.iter().map(|(name, _)| FilePath::new(name.as_bytes()).unwrap()).collect()
    };
    let (old_paths, new_paths) = (paths(deleted), paths(added));
    fn entries<'p>(files: Files<'_>, paths: &'p [FilePath], digests: bool) -> Vec<Entry<'p, String>> {
        let entry = |((_, content), path): (&(&str, &str), &'p FilePath)| Entry {
            path,
            mode: if content.starts_with("->") { Mode::Symlink } else { Mode::Regular },
            size_bytes: content.len() as u64,
            digest: digests.then(|| (*content).to_owned()),
        };
        files.iter().zip(paths).map(entry).collect()
    }
    let mut asked = 0;
    let content = |list, index: usize| {
        asked += 1;
        let files = if list == List::Deleted { deleted } else { added };
        Ok::<_, Infallible>(Cow::Borrowed(files[index].1.as_bytes()))
    };
    let (old, new) = (entries(deleted, &old_paths, digests), entries(added, &new_paths, digests));
    let renames = detect(&old, &new, limits, content).unwrap();
    let named = |rename: &pyro_patch::rename::Rename| {
        let (from, to) = (old_paths[rename.deleted].to_string(), new_paths[rename.added].to_string());
        (from, to, rename.similarity.percent())
    };
    (renames.iter().map(named).collect(), asked)
}

fn pairs(deleted: Files<'_>, added: Files<'_>) -> Vec<(String, String, u8)> {
    let with = found(deleted, added, Limits::default(), true).0;
    assert_eq!(with, found(deleted, added, Limits::default(), false).0, "digests only save work");
    with
}

fn expect(found: &[(String, String, u8)], pairs: &[(&str, &str, u8)]) {
    let found: Vec<_> =
        found.iter().map(|(from, to, percent)| (from.as_str(), to.as_str(), *percent)).collect();
    assert_eq!(found, pairs);
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("line {number:04}\n")).collect()
}

#[test]
fn equal_files_prefer_their_name() {
    let deleted = [("old/a", "same\n"), ("old/b", "same\n"), ("old/c", "other")];
    let added = [("new/x", "same\n"), ("new/b", "same\n"), ("new/c", "others")];
    expect(&pairs(&deleted, &added), &[("old/a", "new/x", 100), ("old/b", "new/b", 100)]);
}

#[test]
fn equal_files_need_no_content_when_digests_are_there() {
    let (renames, asked) = found(&[("a", "same")], &[("b", "same")], Limits::default(), true);
    assert_eq!((renames.len(), asked), (1, 0));
}

#[test]
fn sizes_alone_rule_most_out() {
    let large = lines(0..100);
    let (renames, asked) =
        found(&[("a", &large)], &[("b", "x"), ("c", &large[..100])], Limits::default(), false);
    assert_eq!((renames.len(), asked), (0, 0));
}

#[test]
fn similar_files() {
    let (a, b) = (lines(0..100), lines(1000..1100));
    let (a2, b2) = (lines(0..80), lines(1010..1100) + "more\n");
    let deleted = [("a", a.as_str()), ("b", b.as_str())];
    let added = [("1", b2.as_str()), ("2", a2.as_str()), ("3", "unlike\n")];
    expect(&pairs(&deleted, &added), &[("b", "1", 90), ("a", "2", 80)]);
    expect(&pairs(&[("a", &a)], &[("b", &lines(51..150))]), &[]);
}

#[test]
fn the_most_similar_wins() {
    let a = lines(0..100);
    let (near, far) = (lines(0..95), lines(0..60));
    expect(&pairs(&[("a", &a)], &[("far", &far), ("near", &near)]), &[("a", "near", 95)]);
}

#[test]
fn a_name_that_is_the_only_one_of_its_kind_comes_first() {
    let a = lines(0..100);
    let (near, far) = (lines(0..95), lines(0..60));
    expect(&pairs(&[("src/a", &a)], &[("lib/a", &far), ("near", &near)]), &[("src/a", "lib/a", 60)]);
}

#[test]
fn links_and_files_are_different() {
    expect(&pairs(&[("a", "->x"), ("b", "->y")], &[("c", "->x"), ("d", "-+y")]), &[("a", "c", 100)]);
}

#[test]
fn limits_hold() {
    let (a, b) = (lines(0..100), lines(0..90));
    let two = [("a", a.as_str()), ("b", a.as_str())];
    let added = [("c", b.as_str()), ("d", b.as_str())];
    let none = |limits| assert_eq!(found(&two, &added, limits, true), (vec![], 0));
    none(Limits { files: 1, ..Limits::default() });
    none(Limits { file_bytes: 10, ..Limits::default() });
    none(Limits { total_bytes: 10, ..Limits::default() });
    let (renames, asked) = found(&two, &added, Limits::default(), true);
    assert_eq!((renames.len(), asked), (2, 4), "each file is read once");
}

#[test]
fn many_equal_files_are_paired_quickly() {
    let names: Vec<String> = (0..20_000).map(|number| format!("dir{number}/__init__.py")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(found(&files, &files, Limits::default(), false).0.len(), 20_000);
}
