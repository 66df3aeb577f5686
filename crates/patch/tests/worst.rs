//! The worst that can be asked for takes seconds, not hours, also without optimisation.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use pyro_patch::{
    ApplyFault, FilePath, MAX_LINES, Mode, Side, WriteOptions, apply, is_binary, parse, stat, write,
};

fn within(limit: Duration, what: &str, work: impl FnOnce()) {
    let begin = Instant::now();
    work();
    assert!(begin.elapsed() < limit, "{what} took {:?}", begin.elapsed());
}

fn round_trip(old: &str, new: &str) {
    let path = FilePath::new(b"f").unwrap();
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let mut patch = Vec::new();
    let side = |content| Side { path: &path, mode: Mode::Regular, content };
    write(&mut patch, Some(side(old)), Some(side(new)), WriteOptions::default());
    assert_eq!(apply(&parse(&patch).unwrap().files[0], old).unwrap().content, new);
}

#[test]
fn differences() {
    let few = |seed: u64, kinds: u64| -> String {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % kinds
        };
        (0..50_000).map(|_| format!("{}\n", next())).collect()
    };
    let limit = Duration::from_secs(30);
    within(limit, "two kinds of lines", || round_trip(&few(1, 2), &few(2, 2)));
    within(limit, "fifty kinds of lines", || round_trip(&few(1, 50), &few(2, 50)));
    within(limit, "lines in reverse", || {
        let lines: Vec<String> = (0..50_000).map(|number| format!("{number}\n")).collect();
        round_trip(&lines.concat(), &lines.iter().rev().cloned().collect::<String>());
    });
    within(limit, "nothing in common", || round_trip(&"a\n".repeat(200_000), &"b\n".repeat(200_000)));
    within(limit, "more lines than are compared", || {
        let path = FilePath::new(b"f").unwrap();
        let side = |content| Side { path: &path, mode: Mode::Regular, content };
        let many = "\n".repeat(MAX_LINES + 1);
        let (mut patch, few) = (Vec::new(), &many.as_bytes()[1..]);
        assert!(!is_binary(few));
        assert!(write(&mut patch, None, Some(side(many.as_bytes())), WriteOptions::default()).binary);
        assert!(stat(Some(side(many.as_bytes())), Some(side(few))).binary);
        let text = b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-\n+x\n";
        let refused = apply(&parse(text).unwrap().files[0], many.as_bytes()).unwrap_err();
        assert_eq!(refused.fault, ApplyFault::TooManyLines);
    });
    within(limit, "one long line", || round_trip(&"a".repeat(10_000_000), &"b".repeat(10_000_000)));
}

#[test]
fn patches() {
    let limit = Duration::from_secs(20);
    let parsed = |text: &str| drop(parse(text.as_bytes()));
    within(limit, "names of spaces", || parsed(&format!("diff --git {}\n", " ".repeat(1 << 20))));
    within(limit, "many headers", || parsed(&"diff --git a/x b/x\n".repeat(50_000)));
    within(limit, "blank lines", || {
        parsed(&format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n+y\n{}", "\n".repeat(1 << 20)));
    });
    within(limit, "wrong counts", || {
        parsed(&format!(
            "--- a/x\n+++ b/x\n{}",
            format!("@@ -1,9 +1 @@\n-x\n+y\n{}", "\n \n".repeat(20)).repeat(10_000)
        ));
    });
    within(limit, "quotes", || parsed(&"diff --git \"\\\n".repeat(70_000)));
    within(limit, "markers", || {
        parsed(&format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n+y\n{}", "\\\n".repeat(1 << 19)));
    });
}
