//! What is taken for a patch, and what is refused with which words.

use super::*;
use crate::{Applied, LineKind, Mode, PathFault, apply};

fn faults(patch: &str) -> (usize, ParseFault) {
    let error = parse(patch.as_bytes()).unwrap_err();
    (error.line, error.fault)
}

fn one(patch: &str) -> FilePatch<'_> {
    let mut files = parse(patch.as_bytes()).unwrap().files;
    assert_eq!(files.len(), 1);
    files.remove(0)
}

fn applied(patch: &str, old: &str) -> String {
    let Applied { content, .. } = apply(&one(patch), old.as_bytes()).unwrap();
    String::from_utf8(content).unwrap()
}

fn path(file: &FilePatch<'_>) -> String {
    file.path.to_string()
}

const HUNK: &str = "@@ -1 +1 @@\n-x\n+y\n";

#[test]
fn blank_patches_and_text_without_files() {
    assert_eq!(faults(""), (1, ParseFault::Blank));
    assert_eq!(faults(" \n\t\r\n"), (1, ParseFault::Blank));
    assert_eq!(faults("just text\n"), (1, ParseFault::NoFiles));
}

#[test]
fn errors_tell_line_and_file() {
    let error = parse(b"prose\n--- a/src/x.c\n+++ b/src/x.c\n@@ 1,2 @@\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "patch line 4 (src/x.c): hunk header \"@@ 1,2 @@\" is not of the form `@@ -LINE,COUNT +LINE,COUNT @@`"
    );
}

#[test]
fn labels_in_all_their_forms() {
    for (old, new) in [
        ("a/src/x", "b/src/x"),
        ("src/x", "src/x"),
        ("a/src/x", "src/x"),
        ("/workspace/src/x", "/workspace/src/x"),
        ("a//workspace/src/x", "b//workspace/src/x"),
        ("./src/x", "./src/x"),
        ("old/src/x\t2024-01-01 00:00:00.000000000 +0000", "new/src/x\t2024-01-01 00:00:01.000000000 +0000"),
        ("src/x.orig\t2024-01-01", "src/x\t2024-01-01"),
        ("\"a/src/\\170\"", "b/src/x"),
        ("a/src/x ", "b/src/x  "),
    ] {
        let patch = format!("--- {old}\n+++ {new}\n{HUNK}");
        let file = one(&patch);
        assert_eq!((path(&file).as_str(), &file.change), ("src/x", &Change::Modify), "{patch}");
        let patch = format!("--- /dev/null\n+++ {new}\n@@ -0,0 +1 @@\n+y\n");
        if new.starts_with("new/") {
            continue;
        }
        let file = one(&patch);
        assert_eq!((path(&file).as_str(), &file.change), ("src/x", &Change::Add), "{patch}");
    }
}

#[test]
fn epochs_make_additions_and_removals() {
    let (epoch, now) = ("1970-01-01 01:00:00.000000000 +0100", "2024-05-05 01:00:00.000000000 +0100");
    let patch = format!("--- old/x\t{epoch}\n+++ new/x\t{now}\n@@ -0,0 +1 @@\n+y\n");
    assert_eq!(one(&patch).change, Change::Add);
    let patch = format!("--- old/x\t{now}\n+++ new/x\t{epoch}\n@@ -1 +0,0 @@\n-y\n");
    assert_eq!(one(&patch).change, Change::Delete);
}

#[test]
fn an_addition_without_null_label_may_create() {
    assert!(one("--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+y\n").may_create());
    assert!(!one(&format!("--- a/x\n+++ b/x\n{HUNK}")).may_create());
}

#[test]
fn names_of_git_headers() {
    for (header, name) in [
        ("a/x y b/x y", "x y"),
        ("a/x a/x", "a/x"),
        ("x x", "x"),
        ("i/x w/x", "x"),
        ("\"a/\\303\\251\" \"b/\\303\\251\"", "é"),
        ("/workspace/x /workspace/x", "x"),
    ] {
        let patch = format!("diff --git {header}\nold mode 100644\nnew mode 100755\n");
        let file = one(&patch);
        assert_eq!((path(&file).as_str(), file.new_mode), (name, Some(Mode::Executable)), "{header}");
    }
}

#[test]
fn names_that_do_not_agree() {
    let (line, fault) = faults(&format!("--- a/x\n+++ b/y\n{HUNK}"));
    assert!(line == 1 && matches!(fault, ParseFault::NamesDiffer { .. }));
    let (_, fault) = faults(&format!("diff --git a/x b/x\n--- a/y\n+++ b/y\n{HUNK}"));
    assert!(matches!(fault, ParseFault::NamesDiffer { .. }));
    let (_, fault) = faults("diff --git a/x b/y\nindex 1..2\n");
    assert!(matches!(fault, ParseFault::NamesDiffer { .. }));
    let moved = "diff --git a/x b/y\nrename from x\nrename to y\n";
    let (_, fault) = faults(&format!("{moved}--- a/x\n+++ b/z\n{HUNK}"));
    assert!(matches!(fault, ParseFault::NamesDiffer { .. }));
    assert_eq!(faults("--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n").1, ParseFault::BothNull);
}

#[test]
fn refused_names() {
    for (name, fault) in [
        ("a/../x", PathFault::Climbs),
        ("a/x/../../y", PathFault::Climbs),
        ("/etc/passwd", PathFault::Outside),
        ("a//etc/passwd", PathFault::Outside),
        ("a/./", PathFault::Empty),
        ("\"a/x\\000\"", PathFault::Nul),
    ] {
        let (_, found) = faults(&format!("--- {name}\n+++ {name}\n{HUNK}"));
        assert!(matches!(&found, ParseFault::Path { fault: f, .. } if *f == fault), "{name}: {found}");
        let (_, found) =
            faults(&format!("diff --git a/x b/x\nrename from x\nrename to {}\n", &name.replace("a/", "")));
        assert!(matches!(&found, ParseFault::Path { fault: f, .. } if *f == fault), "{name}: {found}");
    }
    assert_eq!(faults(&format!("--- \"a/x\n+++ b/x\n{HUNK}")), (1, ParseFault::Quotes));
    assert_eq!(faults(&format!("--- a/x\n+++ \"b/\\x\"\n{HUNK}")), (2, ParseFault::Quotes));
}

#[test]
fn renames_copies_and_modes() {
    let file = one("diff --git a/x b/dir/y\nsimilarity index 100%\nrename from x\nrename to dir/y\n");
    assert_eq!(
        (path(&file).as_str(), file.change),
        ("dir/y", Change::Rename { from: FilePath::new(b"x").unwrap() })
    );
    let file = one("diff --git a/x b/y\nsimilarity index 100%\ncopy from x\ncopy to y\n");
    assert_eq!(file.change, Change::Copy { from: FilePath::new(b"x").unwrap() });
    let file = one(
        "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+to\n\\ No newline at end of file\n",
    );
    assert_eq!((file.change, file.new_mode), (Change::Add, Some(Mode::Symlink)));
    let patch = format!("diff --git a/x b/x\nindex 1111111..2222222 100755\n--- a/x\n+++ b/x\n{HUNK}");
    let file = one(&patch);
    assert_eq!((file.old_mode, file.new_mode), (Some(Mode::Executable), None), "a statement, not a change");
}

#[test]
fn headers_that_make_no_sense() {
    let header = |lines: &str| faults(&format!("diff --git a/x b/x\n{lines}")).1;
    assert_eq!(header("index 1..2\n"), ParseFault::NoChanges);
    assert_eq!(header("old mode 100644\nnew mode 100644\n"), ParseFault::NoChanges);
    assert_eq!(header("new file mode 100644\ndeleted file mode 100644\n"), ParseFault::Contradiction);
    assert_eq!(header("rename from x\n"), ParseFault::HalfRename { present: "rename from" });
    assert_eq!(header("rename from x\nrename to x\n"), ParseFault::Contradiction);
    assert_eq!(header("new file mode 100644\nrename from x\nrename to y\n"), ParseFault::Contradiction);
    assert_eq!(header("old mode 100644\nnew mode 120000\n"), ParseFault::KindChange);
    for mode in ["160000", "040000", "abc", "", "+100644", "77777777777777777777"] {
        assert!(matches!(header(&format!("new file mode {mode}\n")), ParseFault::Mode { .. }), "{mode}");
    }
}

#[test]
fn binary_is_refused_by_name() {
    let name = |patch: &str| match faults(patch).1 {
        ParseFault::Binary { name } => name,
        fault => panic!("{fault}"),
    };
    assert_eq!(
        name("diff --git a/x.png b/x.png\nindex 1..2\nBinary files a/x.png and b/x.png differ\n"),
        "x.png"
    );
    assert_eq!(name("diff --git a/x y b/x y\nindex 1..2\nGIT binary patch\nliteral 1\nIcmZQz\n\n"), "x y");
    assert_eq!(name("diff -ru old/x new/x\nBinary files /dev/null and b/x differ\n"), "x");
}

#[test]
fn labels_and_hunks_belong_together() {
    assert_eq!(faults(&format!("--- a/x\n{HUNK}")), (1, ParseFault::NoNewLabel));
    assert_eq!(faults(&format!("+++ b/x\n{HUNK}")), (1, ParseFault::NoOldLabel));
    assert_eq!(faults(&format!("diff --git a/x b/x\n--- a/x\n{HUNK}")), (2, ParseFault::NoNewLabel));
    assert_eq!(faults(&format!("diff --git a/x b/x\n{HUNK}")), (2, ParseFault::StrayHunk));
    assert_eq!(faults(HUNK), (1, ParseFault::StrayHunk));
    assert_eq!(faults("--- a/x\n+++ b/x\n"), (2, ParseFault::NoHunks));
    assert_eq!(faults("--- a/x\n+++ b/x\n@@ -1 +1 @@\n"), (3, ParseFault::EmptyHunk));
    assert_eq!(faults("--- a/x\n+++ b/x\n@@ -1 +1 @@\n x\n").1, ParseFault::NoChanges);
    assert_eq!(faults("diff --cc x\nindex 1,2..3\n@@@ -1 -1 +1 @@@\n").1, ParseFault::Combined);
}

#[test]
fn hunk_headers() {
    for header in [
        "@@ -1,x +1 @@",
        "@@ -1 @@",
        "@@ -1 +1",
        "@@",
        "@@ -99999999999 +1 @@",
        "@@ -1,2,3 +1 @@",
        "@@ ... @@",
    ] {
        let (line, fault) = faults(&format!("--- a/x\n+++ b/x\n{header}\n-x\n+y\n"));
        assert!(line == 3 && matches!(fault, ParseFault::HunkHeader { .. }), "{header}: {fault}");
    }
    let patch = "--- a/x\n+++ b/x\n@@ -7,1 +8,1 @@ fn heading() @@\n-x\n+y\n";
    let hunk = &one(patch).hunks[0];
    assert_eq!((hunk.old_start, hunk.new_start, hunk.line, hunk.recounted), (7, 8, 3, false));
}

#[test]
fn a_file_twice() {
    let modify = format!("--- a/x\n+++ b/x\n{HUNK}");
    assert_eq!(faults(&format!("{modify}{modify}")), (6, ParseFault::Duplicate { first: 1 }));
    let add = "diff --git a/x b/x\nnew file mode 100644\n";
    let delete = "diff --git a/x b/x\ndeleted file mode 120000\n";
    assert_eq!(faults(&format!("{add}{delete}")), (3, ParseFault::Duplicate { first: 1 }));
    assert_eq!(faults(&format!("{modify}{add}")).1, ParseFault::Duplicate { first: 1 });
    let gone = "diff --git a/x b/y\nrename from x\nrename to y\n";
    assert_eq!(faults(&format!("{delete}{gone}")).1, ParseFault::Duplicate { first: 1 });
    assert_eq!(
        faults(&format!("{gone}diff --git a/y b/y\nnew file mode 100644\n")).1,
        ParseFault::Duplicate { first: 1 }
    );
    assert_eq!(parse(format!("{delete}{add}").as_bytes()).unwrap().files.len(), 2, "a change of kind");
    assert_eq!(parse(format!("{gone}{add}").as_bytes()).unwrap().files.len(), 2, "another takes its name");
    let swap = format!("{gone}diff --git a/y b/x\nrename from y\nrename to x\n");
    assert_eq!(parse(swap.as_bytes()).unwrap().files.len(), 2);
}

#[test]
fn mail_and_prose_around() {
    let patch = format!(
        "From 1234 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\nMessage\n---\n x | 2 +-\n 1 file changed\n\n\
         diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n{HUNK}-- \n2.47.3\n\n\
         Now the other file:\n- a bullet\n+ another\n\n--- a/y\n+++ b/y\n{HUNK}```\nthat is it\n"
    );
    let patch = parse(patch.as_bytes()).unwrap();
    assert_eq!(patch.files.iter().map(path).collect::<Vec<_>>(), ["x", "y"]);
    assert!(patch.files.iter().all(|file| !file.hunks[0].recounted && file.hunks[0].lines.len() == 2));
    let stat = crate::Stat { added: 1, removed: 1, binary: false };
    assert!(patch.files.iter().all(|file| file.stat() == stat));
}

#[test]
fn removed_comments_are_no_headers() {
    let patch = "--- a/x.sql\n+++ b/x.sql\n@@ -1,3 +1,2 @@\n--- drop\n--- all\n+++ b\n select 1;\n";
    assert_eq!(applied(patch, "-- drop\n-- all\nselect 1;\n"), "++ b\nselect 1;\n");
    // The same with wrong counts.
    let patch = patch.replace("-1,3 +1,2", "-1,7 +1,9");
    assert!(one(&patch).hunks[0].recounted);
    assert_eq!(applied(&patch, "-- drop\n-- all\nselect 1;\n"), "++ b\nselect 1;\n");
}

#[test]
fn wrong_counts_are_recounted() {
    let old = "1\n2\n3\n4\n5\n";
    for counts in ["-1,3 +1,3", "-1 +1", "-1,9 +1,9", "-1,0 +1,0", "-1,2 +1,3", "-1,3 +1,2", "-1,4 +1,3"] {
        let patch = format!("--- a/x\n+++ b/x\n@@ {counts} @@\n 1\n-2\n+two\n 3\n");
        assert_eq!(applied(&patch, old), "1\ntwo\n3\n4\n5\n", "{counts}");
        assert_eq!(one(&patch).hunks[0].recounted, counts != "-1,3 +1,3", "{counts}");
        // Nor do they take in what follows.
        for next in ["--- a/y\n+++ b/y\n", "diff --git a/y b/y\n--- a/y\n+++ b/y\n"] {
            let both = format!("{patch}{next}{HUNK}");
            let files = parse(both.as_bytes()).unwrap().files;
            assert_eq!(files.iter().map(path).collect::<Vec<_>>(), ["x", "y"], "{counts} {next}");
            assert_eq!((files[0].hunks[0].lines.len(), files[1].hunks[0].lines.len()), (4, 2));
        }
        let two = format!("{patch}@@ -4 +4 @@\n-4\n+four\n-- \n2.47.3\n");
        assert_eq!(applied(&two, old), "1\ntwo\n3\nfour\n5\n", "{counts}");
    }
}

#[test]
fn counts_too_small_lose_no_edits() {
    let patch = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-1\n+one\n 2\n\n-4\n+four\n";
    assert_eq!(applied(patch, "1\n2\n\n4\n"), "one\n2\n\nfour\n");
}

#[test]
fn empty_context_lines_without_their_space() {
    let patch = "--- a/x\n+++ b/x\n@@ -1,5 +1,5 @@\n 1\n\n-3\n+three\n\n 5\n";
    assert_eq!(applied(patch, "1\n\n3\n\n5\n"), "1\n\nthree\n\n5\n");
    // At the end, within and beyond the counts.
    let patch = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n\n";
    assert_eq!(one(patch).hunks[0].lines.len(), 4);
    assert_eq!(applied(patch, "1\n2\n\n"), "1\ntwo\n\n");
    let patch = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n\n\n\n";
    assert_eq!(applied(patch, "1\n2\n\n"), "1\ntwo\n\n");
    // All lines of a new file are added ones.
    let patch = "--- /dev/null\n+++ b/x\n@@ -0,0 +1,3 @@\n+1\n\n+3\n";
    assert_eq!(applied(patch, ""), "1\n\n3\n");
}

#[test]
fn garbage_in_a_hunk_is_named() {
    let patch = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n 1\nno sign\n-2\n+two\n";
    assert_eq!(faults(patch), (5, ParseFault::HunkLine { text: "no sign".to_owned() }));
}

#[test]
fn markers_stand_at_the_end() {
    let hunk = |body: &str| format!("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n{body}");
    let marker = "\\ No newline at end of file\n";
    for broken in [
        format!("{marker}-1\n+1\n 2\n"),
        format!(" 1\n{marker}-2\n+two\n"),
        format!("-1\n{marker}-2\n+1\n+2\n"),
        format!("-1\n+1\n{marker} 2\n"),
        format!("-1\n-2\n+1\n+2\n{marker}{marker}"),
    ] {
        assert_eq!(faults(&hunk(&broken)).1, ParseFault::Marker, "{broken}");
    }
    let patch = hunk(&format!(" 1\n-2\n{marker}+two\n{marker}"));
    assert!(one(&patch).hunks[0].lines.iter().skip(1).all(|line| !line.terminated));
    assert_eq!(applied(&patch, "1\n2"), "1\ntwo");
}

#[test]
fn additions_have_added_lines_only() {
    let (line, fault) = faults("--- /dev/null\n+++ b/x\n@@ -1 +1,2 @@\n x\n+y\n");
    assert_eq!((line, fault), (3, ParseFault::WrongSide { added: true }));
    let (_, fault) = faults("--- a/x\n+++ /dev/null\n@@ -1 +1,2 @@\n-x\n+y\n");
    assert_eq!(fault, ParseFault::WrongSide { added: false });
}

#[test]
fn carriage_returns_of_the_transport_go() {
    let patch = format!("--- a/x\n+++ b/x\n{HUNK}").replace('\n', "\r\n");
    assert_eq!(applied(&patch, "x\n"), "y\n");
    let patch = format!("--- a/x\n+++ b/x\n{}", "@@ -1,2 +1,2 @@\n-x\r\n+y\r\n \r\n");
    let file = one(&patch);
    assert_eq!((file.hunks[0].lines[0].text, file.hunks[0].lines[2].kind), (&b"x\r"[..], LineKind::Context));
}

#[test]
fn lines_end_at_line_feeds_only() {
    let old = "x\u{2028}\u{c}\u{b}\u{85}y\rz\n";
    let patch = format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-{old}+new\u{2028}\n");
    assert_eq!(applied(&patch, old), "new\u{2028}\n");
}

#[test]
fn a_patch_need_not_end_with_a_newline() {
    assert_eq!(applied("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n+y", "x\n"), "y\n");
}
