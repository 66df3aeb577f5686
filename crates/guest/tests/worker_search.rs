//! What a worker lists and finds, asked as the host asks.

#![allow(clippy::unwrap_used, reason = "a test has nobody to tell")]

mod place;
mod work;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use place::{Place, no_mount};
use pyro_protocol::work::{EntryKind, Glob, Grep, List, WorkFailureCode, work_reply, work_request::Body};
use work::{Answer, Worker};

fn begin(files: &[(&str, &str)]) -> (Place, Worker) {
    let place = Place::new();
    for (path, text) in files {
        put(&place, path, text.as_bytes());
    }
    let worker = Worker::start(&place.workspace(), &place.disk(), no_mount());
    (place, worker)
}

fn put(place: &Place, path: impl AsRef<Path>, content: &[u8]) {
    let path = place.workspace().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn paths(answer: &Answer) -> Vec<String> {
    answer.entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

/// `path:line:text`, a line beside a match as `path-line-text`.
fn found(answer: &Answer) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mark = |is_context| if is_context { '-' } else { ':' };
    answer
        .matches
        .iter()
        .map(|found| {
            let mark = mark(found.is_context);
            format!("{}{mark}{}{mark}{}", text(&found.path), found.line, text(&found.text))
        })
        .collect()
}

fn done(answer: &Answer) -> (bool, Vec<String>) {
    match &answer.last {
        work_reply::Body::Done(listed) => (listed.truncated, listed.notes.clone()),
        other => panic!("{other:?}"),
    }
}

fn glob(pattern: &str) -> Glob {
    Glob { pattern: pattern.into(), ..Glob::default() }
}

fn grep(pattern: &str) -> Grep {
    Grep { pattern: pattern.into(), ..Grep::default() }
}

#[test]
fn a_list_is_depth_first_in_order_and_does_not_follow_links() {
    let (place, mut worker) = begin(&[
        ("b/x", "1"),
        ("a/y", "12"),
        ("a.txt", ""),
        ("a-b", ""),
        (".pyro-transaction/x", ""),
        (".h", ""),
    ]);
    symlink("a", place.workspace().join("link")).unwrap();
    symlink("/", place.workspace().join("out")).unwrap();
    let list = |path: &str, recursive| Body::List(List { path: path.into(), recursive, ..List::default() });
    let flat = worker.ask(list("", false)).fine();
    assert_eq!(paths(&flat), [".h", "a", "a-b", "a.txt", "b", "link", "out"]);
    let all = worker.ask(list("", true)).fine();
    assert_eq!(paths(&all), [".h", "a", "a/y", "a-b", "a.txt", "b", "b/x", "link", "out"]);
    assert_eq!(done(&all), (false, Vec::new()));
    let entry = |path: &str| all.entries.iter().find(|entry| entry.path == path.as_bytes()).unwrap();
    assert_eq!((entry("a/y").size_bytes, entry("a").size_bytes), (2, 0));
    assert_eq!((entry("out").kind(), entry("out").link_target.as_slice()), (EntryKind::Symlink, &b"/"[..]));
    // What is named itself: a link to a directory inside leads there, any other and a file are themselves.
    assert_eq!(paths(&worker.ask(list("link", false)).fine()), ["link/y"]);
    assert_eq!(paths(&worker.ask(list("out", true)).fine()), ["out"]);
    assert_eq!(paths(&worker.ask(list("a.txt", true)).fine()), ["a.txt"]);
    assert_eq!(worker.ask(list("missing", true)).failure(), Some(WorkFailureCode::NotFound));
}

#[test]
fn a_stamp_is_another_one_when_a_file_was_touched_and_only_then() {
    let (place, mut worker) = begin(&[("a", "1"), ("b", "1"), ("c", "1"), ("d/e", "1")]);
    symlink("a", place.workspace().join("link")).unwrap();
    let mut stamps = |with_stamps| {
        let list = Body::List(List { recursive: true, with_stamps, ..List::default() });
        let entries = worker.ask(list).fine().entries.into_iter();
        entries.map(|entry| (String::from_utf8(entry.path).unwrap(), entry.stamp)).collect::<Vec<_>>()
    };
    assert!(stamps(false).iter().all(|(_, stamp)| stamp.is_empty()));
    let before = stamps(true);
    let is_file = |path: &str| !["d", "link"].contains(&path);
    assert!(before.iter().all(|(path, stamp)| stamp.is_empty() != is_file(path)), "{before:?}");
    assert_eq!(stamps(true), before);
    // Same size, and the time of its content put back; another file under the same name; a file that was only read.
    let a = fs::File::options().write(true).open(place.workspace().join("a")).unwrap();
    let modified = a.metadata().unwrap().modified().unwrap();
    put(&place, "a", b"2");
    a.set_modified(modified).unwrap();
    put(&place, "new", b"1");
    fs::rename(place.workspace().join("new"), place.workspace().join("b")).unwrap();
    fs::read(place.workspace().join("c")).unwrap();
    let after = stamps(true);
    let differing = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert_eq!(differing.map(|(before, _)| before.0.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn pages_put_together_are_the_whole_list() {
    let (place, mut worker) =
        begin(&[("x/1/a", ""), ("x/1/b", ""), ("x/1.a", ""), ("x/2", ""), ("y/z/q/r", ""), ("z", "")]);
    for index in 0..300 {
        put(&place, format!("x/many/{index}"), b"");
    }
    for recursive in [false, true] {
        for top in ["", "x"] {
            let list = |limit, after: &[u8]| {
                Body::List(List {
                    path: top.into(),
                    recursive,
                    limit,
                    after: after.into(),
                    ..List::default()
                })
            };
            let whole = worker.ask(list(0, b"")).fine();
            for limit in [1, 2, 7, 1000] {
                if limit < 7 && whole.entries.len() > 100 && limit > 1 {
                    continue;
                }
                let (mut pages, mut after) = (Vec::new(), Vec::new());
                loop {
                    let page = worker.ask(list(limit, &after)).fine();
                    after = page.entries.last().map(|entry| entry.path.clone()).unwrap_or_default();
                    let (truncated, _) = done(&page);
                    assert!(!truncated || page.entries.len() as u64 == limit);
                    pages.extend(page.entries);
                    if !truncated {
                        break;
                    }
                }
                assert!(pages == whole.entries, "{top} {recursive} {limit}");
            }
        }
    }
    // What a page ended with may be gone when the next begins.
    let behind = |after: &str| List { recursive: true, after: after.into(), limit: 2, ..List::default() };
    assert_eq!(paths(&worker.ask(Body::List(behind("x/1/aa"))).fine()), ["x/1/b", "x/1.a"]);
    assert_eq!(paths(&worker.ask(Body::List(behind("y/z/a/b"))).fine()), ["y/z/q", "y/z/q/r"]);
    let elsewhere = List { path: b"x".into(), after: b"y".into(), ..List::default() };
    assert_eq!(worker.ask(Body::List(elsewhere)).failure(), Some(WorkFailureCode::Invalid));
}

#[test]
fn a_directory_of_a_hundred_thousand_is_listed_by_pages() {
    let (place, mut worker) = begin(&[]);
    let many = place.workspace().join("many");
    fs::create_dir(&many).unwrap();
    let template = many.join("0");
    fs::write(&template, "").unwrap();
    for index in 1..100_000 {
        if index % 50_000 == 0 {
            fs::write(many.join(format!("t{index}")), "").unwrap();
        }
        let source = if index >= 50_000 { many.join("t50000") } else { template.clone() };
        fs::hard_link(source, many.join(index.to_string())).unwrap();
    }
    let list = List { path: b"many".into(), limit: 10, after: b"many/5".into(), ..List::default() };
    let page = worker.ask(Body::List(list)).fine();
    assert_eq!(paths(&page)[..3], ["many/50", "many/500", "many/5000"]);
    assert_eq!(done(&page), (true, Vec::new()));
    let whole = worker.ask(Body::List(List { path: b"many".into(), ..List::default() })).fine();
    assert_eq!(whole.entries.len(), 100_001);
}

#[test]
fn what_vanishes_meanwhile_is_no_error() {
    let (place, mut worker) = begin(&[]);
    let w = place.workspace();
    for directory in 0..20 {
        for file in 0..50 {
            put(&place, format!("{directory}/{file}"), b"text");
        }
    }
    let vanishing = w.clone();
    let remover = std::thread::spawn(move || {
        for directory in 0..20 {
            fs::remove_dir_all(vanishing.join(directory.to_string())).unwrap();
        }
    });
    while !remover.is_finished() {
        worker.ask(Body::List(List { recursive: true, ..List::default() })).fine();
        worker.ask(Body::Grep(grep("x"))).fine();
    }
    remover.join().unwrap();
    assert!(worker.ask(Body::List(List::default())).fine().entries.is_empty());
}

#[test]
fn a_glob_finds_paths() {
    let (place, mut worker) = begin(&[
        ("src/a.rs", ""),
        ("src/sub/b.rs", ""),
        ("src/sub/.hidden/c.rs", ""),
        ("a.rs", ""),
        (".git/x.rs", ""),
        (".gitignore", "target\n*.log\n!keep.log\n"),
        ("target/d.rs", ""),
        ("src/sub/.gitignore", "/b.rs\n"),
        ("src/x.log", ""),
        ("src/keep.log", ""),
    ]);
    put(&place, OsStr::from_bytes(b"src/\xff\n.rs"), b"");
    symlink("src", place.workspace().join("link")).unwrap();
    let mut ask = |request: Glob| paths(&worker.ask(Body::Glob(request)).fine());
    assert_eq!(ask(glob("*.rs")), ["a.rs"]);
    assert_eq!(ask(glob("src/*.rs")), ["src/a.rs", "src/\u{fffd}\n.rs"]);
    assert_eq!(ask(glob("src/**/b.rs")), ["src/sub/b.rs"]);
    let everywhere = [
        ".git/x.rs",
        "a.rs",
        "src/a.rs",
        "src/sub/.hidden/c.rs",
        "src/sub/b.rs",
        "src/\u{fffd}\n.rs",
        "target/d.rs",
    ];
    assert_eq!(ask(glob("**/*.rs")), everywhere);
    let shown = Glob { skip_hidden: true, ..glob("**/*.rs") };
    assert_eq!(ask(shown), ["a.rs", "src/a.rs", "src/sub/b.rs", "src/\u{fffd}\n.rs", "target/d.rs"]);
    let not_ignored = Glob { respect_gitignore: true, ..glob("**/*.{rs,log}") };
    assert_eq!(
        ask(not_ignored),
        ["a.rs", "src/a.rs", "src/keep.log", "src/sub/.hidden/c.rs", "src/\u{fffd}\n.rs"]
    );
    let below = Glob { path: b"src".into(), respect_gitignore: true, ..glob("*.log") };
    assert_eq!(ask(below), ["src/keep.log"]);
    assert_eq!(
        ask(Glob { path: b"src/sub".into(), ..glob("*") }),
        ["src/sub/.gitignore", "src/sub/.hidden", "src/sub/b.rs"]
    );
    let answer = worker.ask(Body::Glob(Glob { limit: 2, ..glob("**") })).fine();
    assert_eq!((answer.entries.len(), done(&answer).0), (2, true));
    for bad in ["", "[", "{a", "x/../{b"] {
        assert_eq!(worker.ask(Body::Glob(glob(bad))).failure(), Some(WorkFailureCode::BadPattern), "{bad}");
    }
}

#[test]
fn grep_finds_lines_in_order() {
    let (place, mut worker) = begin(&[
        ("a.txt", "one\ntwo\r\nthree\n"),
        ("b/c.rs", "fn two() {}\n\nTWO\n"),
        ("ignored/x", "two"),
        (".gitignore", "ignored\n"),
        (".hidden", "two"),
        ("last", "no end two"),
    ]);
    put(&place, "binary", b"two\nx\0y\ntwo\n");
    symlink("a.txt", place.workspace().join("link")).unwrap();
    let answer = worker.ask(Body::Grep(grep("two"))).fine();
    let all =
        [".hidden:1:two", "a.txt:2:two", "b/c.rs:1:fn two() {}", "ignored/x:1:two", "last:1:no end two"];
    assert_eq!(found(&answer), all);
    assert_eq!(done(&answer), (false, vec!["`binary` is binary and not searched to the end".to_owned()]));
    let mut ask = |request: Grep| found(&worker.ask(Body::Grep(request)).fine());
    let respectful =
        Grep { respect_gitignore: true, ignore_case: true, include: vec!["*.rs".into()], ..grep("two") };
    assert_eq!(ask(respectful), ["b/c.rs:1:fn two() {}", "b/c.rs:3:TWO"]);
    assert_eq!(ask(Grep { path: b"b".into(), ..grep(r"^$") }), ["b/c.rs:2:"]);
    assert_eq!(ask(Grep { path: b"a.txt".into(), ..grep("o$") }), ["a.txt:2:two"]);
    assert_eq!(ask(Grep { path: b"link".into(), ..grep("one") }), ["link:1:one"]);
    assert_eq!(ask(Grep { fixed: true, ..grep("two()") }), ["b/c.rs:1:fn two() {}"]);
    assert_eq!(
        ask(Grep { names_only: true, ignore_case: true, include: vec!["b/*".into()], ..grep("two") }),
        ["b/c.rs:2:"]
    );
    for bad in ["(", r"a\nb", "(?:x{1000}){1000}", r"\p{Greek}{1000}{1000}"] {
        assert_eq!(worker.ask(Body::Grep(grep(bad))).failure(), Some(WorkFailureCode::BadPattern), "{bad}");
    }
    symlink("/etc/hostname", place.workspace().join("out")).unwrap();
    let outside = Grep { path: b"out".into(), ..grep("x") };
    assert_eq!(worker.ask(Body::Grep(outside)).failure(), Some(WorkFailureCode::Escapes));
    let missing = Grep { path: b"missing".into(), ..grep("x") };
    assert_eq!(worker.ask(Body::Grep(missing)).failure(), Some(WorkFailureCode::NotFound));
}

#[test]
fn grep_shows_lines_beside_matches_once() {
    let text: String = (1..=12)
        .map(|line| format!("{}{line}\n", if [3, 5, 11].contains(&line) { "x" } else { "" }))
        .collect();
    let (_place, mut worker) = begin(&[("f", &text)]);
    let mut ask = |context, limit| {
        let answer = worker.ask(Body::Grep(Grep { context, limit, ..grep("x") })).fine();
        (found(&answer).join(" "), done(&answer).0)
    };
    assert_eq!(ask(1, 0).0, "f-2-2 f:3:x3 f-4-4 f:5:x5 f-6-6 f-10-10 f:11:x11 f-12-12");
    assert_eq!(ask(0, 2), ("f:3:x3 f:5:x5".to_owned(), true));
    assert_eq!(ask(0, 3), ("f:3:x3 f:5:x5 f:11:x11".to_owned(), false));
    assert_eq!(ask(2, 2), ("f-1-1 f-2-2 f:3:x3 f-4-4 f:5:x5 f-6-6 f-7-7".to_owned(), true));
    assert_eq!(ask(100, 0).0.split(' ').count(), 12);
}

#[test]
fn grep_cuts_long_lines_around_what_matches() {
    let line = format!("{}needle{}", "é".repeat(5000), "ü".repeat(5000));
    let (_place, mut worker) = begin(&[("f", &line)]);
    let answer = worker.ask(Body::Grep(Grep { max_line_bytes: 101, ..grep("needle") })).fine();
    let text = String::from_utf8(answer.matches[0].text.clone()).unwrap();
    assert!(text.contains("éneedleü") && (90..=101).contains(&text.len()), "{text}");
    let answer = worker.ask(Body::Grep(Grep { max_line_bytes: 3, ..grep("needle") })).fine();
    assert_eq!(answer.matches[0].text, b"nee");
    let answer = worker.ask(Body::Grep(grep("needle"))).fine();
    assert!((1990..=2000).contains(&answer.matches[0].text.len()));
}

#[test]
fn grep_goes_through_files_that_do_not_fit_into_memory() {
    let (place, mut worker) = begin(&[]);
    let mut large = Vec::new();
    let mut expected = BTreeSet::new();
    for line in 1..=400_000 {
        if line % 100_000 == 77 || line == 400_000 {
            large.extend_from_slice(format!("needle {line}\n").as_bytes());
            expected.insert(line);
        } else {
            large.extend_from_slice(
                format!("just a line of no interest to anybody, number {line}\n").as_bytes(),
            );
        }
    }
    assert!(large.len() > 20 << 20);
    put(&place, "large", &large);
    put(&place, "long", &[&b"needle\n"[..], &vec![b'x'; 9 << 20], b"\nneedle\n"].concat());
    let answer = worker.ask(Body::Grep(Grep { context: 1, ..grep("^needle") })).fine();
    let lines = |path: &[u8], is_context| -> BTreeSet<u64> {
        let matches =
            answer.matches.iter().filter(|found| found.path == path && found.is_context == is_context);
        matches.map(|found| found.line).collect()
    };
    assert_eq!(lines(b"large", false), expected);
    let beside =
        expected.iter().flat_map(|line| [line - 1, line + 1]).filter(|line| *line <= 400_000).collect();
    assert_eq!(lines(b"large", true), beside);
    assert_eq!(lines(b"long", false), BTreeSet::from([1]));
    assert_eq!(done(&answer).1, ["`long` is not searched from a line on that is longer than 8 MiB"]);
}
