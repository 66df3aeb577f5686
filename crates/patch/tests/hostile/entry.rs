//! What the fuzz target and the test of mutated inputs call: takes any bytes and panics when a promise is broken.

use pyro_patch::{FilePath, Mode, Side, WriteOptions, apply, parse, stat, write};

/// A patch, a NUL, and the file it is applied to. It may be refused, but not break anything, and what was read
/// stays within its bounds. Then the same bytes are two files, whose difference must apply.
pub(crate) fn patch_parse(input: &[u8]) {
    let cut = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (text, content) = (&input[..cut], &input[(cut + 1).min(input.len())..]);
    if let Ok(patch) = parse(text) {
        assert!(!patch.files.is_empty());
        let changed: usize = patch.files.iter().map(|file| file.stat().added + file.stat().removed).sum();
        let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(changed <= lines, "no line is read twice");
        for file in &patch.files {
            for path in file.source().into_iter().chain([&file.path]) {
                let path = path.as_bytes();
                assert!(!path.is_empty() && !path.starts_with(b"/") && !path.contains(&0));
                assert!(
                    path.split(|byte| *byte == b'/')
                        .all(|component| !matches!(component, b"" | b"." | b".."))
                );
            }
            for old in [content, b""] {
                match apply(file, old) {
                    Ok(applied) => assert_eq!(applied.placements.len(), file.hunks.len()),
                    Err(error) => assert!(error.to_string().len() < 2 * text.len() + 2 * old.len() + 4000),
                }
            }
        }
    }
    difference_applies(text, content);
}

fn difference_applies(old: &[u8], new: &[u8]) {
    let path = FilePath::new(b"file").expect("a plain name");
    let side = |content| Side { path: &path, mode: Mode::Regular, content };
    for context in [0, 3] {
        let mut patch = Vec::new();
        let written = write(&mut patch, Some(side(old)), Some(side(new)), WriteOptions { context });
        assert_eq!(written, stat(Some(side(old)), Some(side(new))));
        if old == new || written.binary {
            continue;
        }
        let parsed = parse(&patch).expect("our own patch");
        assert_eq!(parsed.files[0].stat(), written);
        let applied = apply(&parsed.files[0], old).expect("our own patch");
        assert!(applied.content == new, "the difference is what was there");
        let exact = |placement: &pyro_patch::Placement| placement.offset == 0 && placement.fuzz == 0;
        assert!(applied.placements.iter().all(exact) && !applied.added_cr);
    }
}

/// Small well-formed inputs from which to mutate.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 8] = [
        b"diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@ fn\n 1\n-2\n+two\n 3\n@@ -9 +9 @@\n-9\n+nine\n\0 1\n1\n2\n3\n4\n5\n6\n7\n8\n9\n",
        b"diff --git a/x b/y\nold mode 100644\nnew mode 100755\nsimilarity index 90%\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+y\n\0x",
        b"--- /dev/null\n+++ b/new file\t\n@@ -0,0 +1,2 @@\n+1\n\n+2\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n\0gone\n",
        b"diff --git \"a/t\\tab\" \"b/t\\tab\"\ndeleted file mode 120000\n--- \"a/t\\tab\"\n+++ /dev/null\n@@ -1 +0,0 @@\n-to\n\\ No newline at end of file\n\0to",
        b"--- old/x\t1970-01-01 00:00:00.000000000 +0000\r\n+++ new/x\t2024-01-01 00:00:00.000000000 +0000\r\n@@ -0,0 +1 @@\r\n+x\r\n\0",
        b"From 1 Mon\nSubject: x\n---\n x | 1 +\n\ndiff --git a/x b/x\nnew file mode 100644\n-- \n2.47\n\0\r\nx\r\n",
        b"--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n 1\n\n--- two\n+++ b\n\n 3\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-x\n+y\n\x001\n\n-- two\n\n3\n",
        b"a\nb\nc\na\nb\nc\n\0c\na\nb\na\nc",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}
