//! Write, parse and apply are the identity: on pairs of files, on trees with renames, and after the file moved on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{borrow::Cow, collections::BTreeMap, convert::Infallible};

use proptest::{collection, prelude::*, sample::select};
use pyro_patch::{
    Change, FilePath, Mode, Side, WriteOptions, apply, parse,
    rename::{Entry, Limits, List, detect},
    stat, write,
};

type Tree = BTreeMap<FilePath, (Mode, Vec<u8>)>;

/// Lines that are alike, so that they match in several places, and that look like parts of a patch.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let usual: Vec<&[u8]> = vec![
        b"",
        b"a",
        b"b",
        b"  a",
        b"fn main() {",
        b"}",
        b"\r",
        b"a\r",
        b"-- a",
        b"++ b",
        b"-- a/f",
        b"++ b/f",
        b"-- /dev/null",
        b"@@ -1 +1 @@",
        b"diff --git a/f b/f",
        b"\\ No newline at end of file",
        b"\xff\xfe",
        b"\xe2\x80\xa8",
        b"\x0b\x0c\x85",
        b"- ",
        b"--",
        b" ",
    ];
    prop_oneof![
        8 => select(usual).prop_map(<[u8]>::to_vec),
        1 => collection::vec(1_u8..=255, 0..40)
            .prop_map(|bytes| bytes.into_iter().filter(|byte| *byte != b'\n').collect()),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    (collection::vec(line(), 0..30), any::<bool>()).prop_map(|(lines, terminated)| {
        let mut content = lines.join(&b'\n');
        if terminated && !lines.is_empty() {
            content.push(b'\n');
        }
        content
    })
}

/// Two files, mostly with much in common.
fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let edits =
        collection::vec((any::<prop::sample::Index>(), 0..3_usize, collection::vec(line(), 0..3)), 0..5);
    let edited = (content(), edits, any::<bool>()).prop_map(|(old, edits, newline)| {
        let mut lines: Vec<Vec<u8>> = old.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        for (at, removed, added) in edits {
            let at = at.index(lines.len() + 1);
            let end = (at + removed).min(lines.len());
            drop(lines.splice(at..end, added));
        }
        let mut new = lines.join(&b'\n');
        if newline && new.last().is_some_and(|last| *last != b'\n') {
            new.push(b'\n');
        }
        (old, new)
    });
    prop_oneof![3 => edited, 1 => (content(), content())]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Regular), 1 => Just(Mode::Executable), 1 => Just(Mode::Symlink)]
}

/// Names from a small set, so that they meet, or of any bytes.
fn path() -> impl Strategy<Value = FilePath> {
    let usual = vec![
        "a/a",
        "b/a",
        "f",
        "a b",
        "b b/b b",
        "workspace/x",
        "dev/null",
        "é",
        "\"",
        "t\tt",
        "n\nn",
        "x ",
        "x.orig",
        "x",
        "c\r",
    ];
    prop_oneof![
        5 => select(usual).prop_map(|name| FilePath::new(name.as_bytes()).unwrap()),
        1 => collection::vec(1_u8..=255, 1..20).prop_filter_map("a name", |name| FilePath::new(&name).ok()),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    collection::btree_map(path(), (mode(), content()), 0..6)
}

/// A tree, and what became of it: some files changed, some moved, some gone, some new.
fn trees() -> impl Strategy<Value = (Tree, Tree)> {
    let fate = prop_oneof![
        2 => Just(0_u8), // stays
        2 => Just(1), // content of another
        2 => Just(2), // moves
        1 => Just(3), // goes
        1 => Just(4), // changes mode
    ];
    (tree(), tree(), collection::vec((fate, path(), mode(), any::<bool>()), 6)).prop_map(
        |(old, mut new, fates)| {
            for ((from, (mode, content)), (fate, to, other_mode, touched)) in old.iter().zip(fates) {
                let mut content = content.clone();
                if touched {
                    content.extend_from_slice(b"touched\n");
                }
                match fate {
                    0 => drop(new.insert(from.clone(), (*mode, content))),
                    2 => drop(new.insert(to, (*mode, content))),
                    4 => drop(new.insert(from.clone(), (other_mode, content))),
                    _ => {}
                }
            }
            (old, new)
        },
    )
}

fn side<'t>((path, (mode, content)): (&'t FilePath, &'t (Mode, Vec<u8>))) -> Side<'t> {
    Side { path, mode: *mode, content }
}

/// The patch from one tree to the other, with renames.
fn difference(old: &Tree, new: &Tree, options: WriteOptions) -> Vec<u8> {
    let deleted: Vec<Side<'_>> = old.iter().filter(|(path, _)| !new.contains_key(path)).map(side).collect();
    let added: Vec<Side<'_>> = new.iter().filter(|(path, _)| !old.contains_key(path)).map(side).collect();
    fn entries<'t>(sides: &[Side<'t>]) -> Vec<Entry<'t, ()>> {
        let entry = |side: &Side<'t>| Entry {
            path: side.path,
            mode: side.mode,
            size_bytes: side.content.len() as u64,
            digest: None,
        };
        sides.iter().map(entry).collect()
    }
    let content = |list, index: usize| {
        let side = if list == List::Deleted { deleted[index] } else { added[index] };
        Ok::<_, Infallible>(Cow::Borrowed(side.content))
    };
    let renames = detect(&entries(&deleted), &entries(&added), Limits::default(), content).unwrap();
    let mut out = Vec::new();
    for (index, side) in deleted.iter().enumerate() {
        if !renames.iter().any(|rename| rename.deleted == index) {
            write(&mut out, Some(*side), None, options);
        }
    }
    for (index, side) in added.iter().enumerate() {
        let from = renames.iter().find(|rename| rename.added == index).map(|rename| deleted[rename.deleted]);
        write(&mut out, from, Some(*side), options);
    }
    for (path, file) in old {
        if let Some(changed) = new.get(path) {
            write(&mut out, Some(side((path, file))), Some(side((path, changed))), options);
        }
    }
    out
}

fn apply_all(patch: &[u8], old: &Tree) -> Tree {
    if patch.is_empty() {
        return old.clone();
    }
    let (mut left, mut written) = (old.clone(), Tree::new());
    for file in &parse(patch).unwrap().files {
        let (mode, content) = file.source().map_or((Mode::Regular, Vec::new()), |source| old[source].clone());
        let applied = apply(file, &content).unwrap();
        assert!(applied.placements.iter().all(|placement| placement.offset == 0 && placement.fuzz == 0));
        if let Some(source) = file.source() {
            left.remove(source);
        }
        if file.change != Change::Delete {
            written.insert(file.path.clone(), (file.new_mode.unwrap_or(mode), applied.content));
        }
    }
    left.extend(written);
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_files((old, new) in pair(), path in path(), context in 0..5_usize) {
        let side = |content| Side { path: &path, mode: Mode::Regular, content };
        let mut patch = Vec::new();
        let written = write(&mut patch, Some(side(&old)), Some(side(&new)), WriteOptions { context });
        prop_assert_eq!(written, stat(Some(side(&old)), Some(side(&new))));
        if old == new {
            prop_assert!(patch.is_empty());
            return Ok(());
        }
        let parsed = parse(&patch).unwrap();
        let file = &parsed.files[0];
        prop_assert_eq!((&file.path, file.stat()), (&path, written));
        prop_assert!(file.hunks.iter().all(|hunk| !hunk.recounted));
        let applied = apply(file, &old).unwrap();
        prop_assert_eq!(applied.content.escape_ascii().to_string(), new.escape_ascii().to_string());
        prop_assert!(applied.placements.iter().all(|placement| placement.offset == 0 && placement.fuzz == 0));
    }

    #[test]
    fn of_files_that_moved_on((old, new) in pair(), above in 1..9_usize) {
        // Lines that occur nowhere else come first: the hunks must find their way.
        let path = FilePath::new(b"f").unwrap();
        let side = |content| Side { path: &path, mode: Mode::Regular, content };
        let middle = |content: &[u8]| [&b"first\nsecond\nthird\n"[..], content, b"\nlast but two\nlast but one\nlast\n"].concat();
        let (old, new) = (middle(&old), middle(&new));
        let mut patch = Vec::new();
        write(&mut patch, Some(side(&old)), Some(side(&new)), WriteOptions { context: usize::MAX });
        prop_assume!(!patch.is_empty());
        let moved = |content: &[u8]| [b"above\n".repeat(above).as_slice(), content].concat();
        let applied = apply(&parse(&patch).unwrap().files[0], &moved(&old)).unwrap();
        prop_assert_eq!(applied.placements[0].offset, above.cast_signed());
        prop_assert_eq!(applied.content, moved(&new));
    }

    #[test]
    fn of_counts_that_are_wrong((old, new) in pair(), counts in any::<(u8, u8)>()) {
        // Without `--` and `++` lines: those are what counts are there for.
        let plain = |content: &[u8]| content.split_inclusive(|byte| *byte == b'\n')
            .filter(|line| !line.starts_with(b"-") && !line.starts_with(b"+")).collect::<Vec<_>>().concat();
        let (old, new) = (plain(&old), plain(&new));
        prop_assume!(old != new);
        let path = FilePath::new(b"f").unwrap();
        let side = |content| Side { path: &path, mode: Mode::Regular, content };
        let mut patch = Vec::new();
        write(&mut patch, Some(side(&old)), Some(side(&new)), WriteOptions { context: usize::MAX });
        let header = patch.windows(4).position(|window| window == b"@@ -").unwrap();
        let end = header + patch[header..].iter().position(|byte| *byte == b'\n').unwrap();
        let wrong = format!("@@ -1,{} +1,{} @@", counts.0, counts.1);
        drop(patch.splice(header..end, wrong.into_bytes()));
        let applied = apply(&parse(&patch).unwrap().files[0], &old).unwrap();
        prop_assert_eq!(applied.content.escape_ascii().to_string(), new.escape_ascii().to_string());
    }

    #[test]
    fn of_trees((old, new) in trees(), context in 0..4_usize) {
        let patch = difference(&old, &new, WriteOptions { context });
        let applied = apply_all(&patch, &old);
        prop_assert!(applied == new, "{}\n{old:?}\n{new:?}\n{applied:?}", patch.escape_ascii());
    }

    #[test]
    fn of_trees_one_after_the_other((old, new) in trees()) {
        // With prose between them, as in a mail or an answer.
        let patch = difference(&old, &new, WriteOptions::default());
        prop_assume!(!patch.is_empty());
        let around = [&b"Subject: x\n\nchanges:\n- some\n\n"[..], &patch, b"-- \n2.47.3\n\nthat is all\n- and a bullet\n"].concat();
        prop_assert_eq!(apply_all(&around, &old), new);
    }
}
