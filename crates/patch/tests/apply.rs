//! Where hunks go, and what is said when they do not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pyro_patch::{Applied, ApplyFault, Placement, apply, parse};

fn patched(hunks: &str, old: &str) -> Result<Applied, ApplyFault> {
    let patch = format!("--- a/x\n+++ b/x\n{hunks}");
    apply(&parse(patch.as_bytes()).unwrap().files[0], old.as_bytes()).map_err(|error| error.fault)
}

fn text(applied: &Applied) -> &str {
    std::str::from_utf8(&applied.content).unwrap()
}

fn numbers(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

const TEN: &str = "@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n";

#[test]
fn exact() {
    let applied = patched(TEN, &numbers(1..=20)).unwrap();
    assert_eq!(text(&applied), numbers(1..=20).replace("10\n", "ten\n"));
    assert_eq!(applied.placements, [Placement { line: 7, offset: 0, fuzz: 0 }]);
}

#[test]
fn moved() {
    let old = format!("a\nb\n{}", numbers(1..=20));
    let applied = patched(TEN, &old).unwrap();
    assert_eq!(text(&applied), old.replace("10\n", "ten\n"));
    assert_eq!(applied.placements, [Placement { line: 9, offset: 2, fuzz: 0 }]);
    let applied = patched(TEN, &numbers(5..=20)).unwrap();
    assert_eq!(applied.placements, [Placement { line: 3, offset: -4, fuzz: 0 }]);
}

#[test]
fn a_move_is_carried_to_the_next_hunk() {
    // Both places have the lines; the nearer one to where the first hunk went is right.
    let old = format!("{}{}", "pad\n".repeat(10), "x\n1\n2\ny\nz\nz\n1\n2\nw\n");
    let hunks = "@@ -1,4 +1,4 @@\n x\n-1\n+one\n 2\n y\n@@ -7,2 +7,2 @@\n-1\n+uno\n 2\n";
    let applied = patched(hunks, &old).unwrap();
    let lines: Vec<_> =
        applied.placements.iter().map(|placement| (placement.line, placement.offset)).collect();
    assert_eq!(lines, [(11, 10), (17, 10)]);
}

#[test]
fn fuzz_leaves_the_outermost_context_aside() {
    let one = numbers(1..=20).replace("7\n8\n", "seven\n8\n");
    assert_eq!(patched(TEN, &one).unwrap().placements, [Placement { line: 7, offset: 0, fuzz: 1 }]);
    let two = numbers(1..=20).replace("\n12\n", "\ntwelve\n");
    let applied = patched(TEN, &two).unwrap();
    assert_eq!(applied.placements, [Placement { line: 7, offset: 0, fuzz: 2 }]);
    assert_eq!(text(&applied), two.replace("10\n", "ten\n"), "context comes from the file");
    let three = numbers(1..=20).replace("\n11\n", "\neleven\n");
    assert!(matches!(patched(TEN, &three), Err(ApplyFault::Mismatch { hunk: 1, .. })));
}

#[test]
fn fuzz_never_leaves_all_old_lines_aside() {
    let hunk = "@@ -2,2 +2,3 @@\n 2\n+new\n 3\n";
    assert!(patched(hunk, "a\nb\nc\nd\n").is_err());
}

#[test]
fn at_the_start_and_the_end() {
    let end = "@@ -18,3 +18,4 @@\n 18\n 19\n 20\n+21\n";
    assert_eq!(text(&patched(end, &numbers(1..=20)).unwrap()), numbers(1..=21));
    assert_eq!(text(&patched(end, &numbers(11..=20)).unwrap()), numbers(11..=21));
    // Of two equal places the end is meant.
    let twice = format!("{}{}", numbers(11..=20), numbers(11..=20));
    assert_eq!(text(&patched(end, &twice).unwrap()), format!("{}{}", numbers(11..=20), numbers(11..=21)));
    // Lopsided context of somebody who wrote it by hand goes where it is found, if that is one place.
    let applied = patched("@@ -50,2 +50,2 @@\n 9\n-10\n+ten\n", &numbers(1..=20)).unwrap();
    assert_eq!(applied.placements, [Placement { line: 9, offset: -41, fuzz: 0 }]);
    let start = "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n";
    assert_eq!(text(&patched(start, &numbers(1..=20)).unwrap()), numbers(0..=20));
}

#[test]
fn hunks_without_old_lines() {
    let applied = patched("@@ -2,0 +3,2 @@\n+a\n+b\n", "1\n2\n3\n").unwrap();
    assert_eq!(text(&applied), "1\n2\na\nb\n3\n");
    assert_eq!(applied.placements, [Placement { line: 2, offset: 0, fuzz: 0 }]);
    assert_eq!(text(&patched("@@ -0,0 +1 @@\n+a\n", "1\n").unwrap()), "a\n1\n");
    assert_eq!(text(&patched("@@ -1,0 +1 @@\n+a\n", "").unwrap()), "a\n");
    let fault = patched("@@ -9,0 +9 @@\n+a\n", "1\n").unwrap_err();
    assert_eq!(fault, ApplyFault::BehindEnd { hunk: 1, line: 9, lines: 1 });
}

#[test]
fn final_newlines() {
    let marker = "\\ No newline at end of file\n";
    for (hunk, old, new) in [
        (format!("@@ -1 +1 @@\n-x\n+x\n{marker}"), "x\n", "x"),
        (format!("@@ -1 +1 @@\n-x\n{marker}+x\n"), "x", "x\n"),
        (format!("@@ -1 +1,2 @@\n-x\n{marker}+x\n+y\n{marker}"), "x", "x\ny"),
        (format!("@@ -1,2 +1,2 @@\n-x\n+y\n z\n{marker}"), "x\nz", "y\nz"),
    ] {
        let applied = patched(&hunk, old).unwrap();
        assert_eq!((text(&applied), applied.placements[0].fuzz), (new, 0), "{hunk}");
    }
    // What loses its newline must be the end.
    assert!(patched(&format!("@@ -1 +1 @@\n-x\n+y\n{marker}"), "x\nz\n").is_err());
    assert!(patched(&format!("@@ -1 +1 @@\n-x\n{marker}+y\n"), "x\n").is_err());
    // Nobody said that the file ends without one: tolerated, and lines do not run together.
    let applied = patched("@@ -1,2 +1,3 @@\n x\n y\n+z\n", "x\ny").unwrap();
    assert_eq!((text(&applied), applied.placements[0].fuzz), ("x\ny\nz\n", 1));
}

#[test]
fn carriage_returns() {
    let hunk = "@@ -1,2 +1,3 @@\n x\n-y\n+z\n+w\n";
    let applied = patched(hunk, "x\r\ny\r\n").unwrap();
    assert_eq!((text(&applied), applied.added_cr), ("x\r\nz\r\nw\r\n", true));
    assert!(patched(hunk, "x\ny\r\n").is_err(), "a file that mixes is taken as it is");
    let applied = patched("@@ -1 +1 @@\n-x\r\n+x\n", "x\r\n").unwrap();
    assert_eq!((text(&applied), applied.added_cr), ("x\n", false), "a patch that has them means them");
    let applied = patched("@@ -1,0 +2 @@\n+y\n", "x\r\n").unwrap();
    assert_eq!((text(&applied), applied.added_cr), ("x\r\ny\n", false), "without old lines nothing tells");
}

#[test]
fn a_mismatch_names_what_differs() {
    let fault = patched(TEN, &numbers(1..=20).replace("10\n", "1O\tend\n")).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "hunk 1 does not apply: patch line 7 expects \"10\" at line 10, where the file has \"1O\\tend\""
    );
    // At the place that fits best, not at the one that is stated.
    let moved = format!("{}{}", "pad\n".repeat(30), numbers(1..=20).replace("10\n", "x\n"));
    let ApplyFault::Mismatch { file_line, .. } = patched(TEN, &moved).unwrap_err() else { panic!() };
    assert_eq!(file_line, 40);
    let fault = patched("@@ -1,2 +1 @@\n 1\n-2\n", "1\n").unwrap_err();
    assert!(fault.to_string().ends_with("expects \"2\" at line 2, where the file has ended"), "{fault}");
    let fault = patched("@@ -1 +1 @@\n-x\n+y\n", "x\r").unwrap_err();
    assert!(fault.to_string().ends_with("the file has \"x\\\\r (no newline at end of file)\""), "{fault}");
}

#[test]
fn hunks_out_of_order() {
    let hunks = "@@ -8 +8 @@\n-8\n+eight\n@@ -2 +2 @@\n-2\n+two\n";
    let fault = patched(hunks, &numbers(1..=10)).unwrap_err();
    assert_eq!(fault, ApplyFault::Misordered { hunk: 2, line: 2 });
    // Context that two hunks share is in order.
    let hunks = "@@ -1,3 +1,3 @@\n-1\n+one\n 2\n 3\n@@ -2,3 +2,3 @@\n 2\n 3\n-4\n+four\n";
    assert_eq!(text(&patched(hunks, &numbers(1..=4)).unwrap()), "one\n2\n3\nfour\n");
}

#[test]
fn additions_and_removals_are_whole() {
    let file = |patch: &str, old: &str| {
        apply(&parse(patch.as_bytes()).unwrap().files[0], old.as_bytes()).map_err(|error| error.fault)
    };
    let add = "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n";
    assert_eq!(file(add, "").unwrap().content, b"x\n");
    assert_eq!(file(add, "y\n"), Err(ApplyFault::HasContent));
    let delete = "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
    assert_eq!(file(delete, "x\n").unwrap().content, b"");
    assert_eq!(file(delete, "x\ny\n"), Err(ApplyFault::LeavesContent));
}

#[test]
fn a_search_is_given_up_in_time() {
    let old = "x\n".repeat(100_000);
    let hunk = format!("@@ -50000,2000 +50000,2000 @@\n{}-y\n+z\n", " x\n".repeat(1999));
    let before = std::time::Instant::now();
    assert_eq!(patched(&hunk, &old), Err(ApplyFault::TooMuchSearch { hunk: 1 }));
    assert!(before.elapsed().as_secs() < 30);
}
