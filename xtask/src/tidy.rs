//! Tidiness of the sources: what formatting and lints do not see.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::checkout;

/// Most lines of one file of code.
const MOST_LINES: usize = 600;

/// Files that may be longer, each with the reason. An entry that is not needed any more is a fault.
const LONG_FILES: &[(&str, &str)] = &[];

/// What must not stand in any file, and why. Split so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("to", "do!("), "unfinished"),
    (concat!("unimple", "mented!("), "unfinished"),
    (concat!("TO", "DO"), "unfinished; say what is missing in an issue"),
    (concat!("FIX", "ME"), "unfinished; say what is wrong in an issue"),
    (concat!("#[ig", "nore"), "every test runs"),
    (concat!("(being ", "written)"), "unfinished"),
];

/// Directories of one machine or one person; forbidden at the beginning of a path.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("/home/", "cloudsdk")];

/// Hosts that addresses in the repository may name. Whatever mirror a builder uses is not among them.
const HOSTS: &[&str] = &[
    // names of XML's, which nobody asks
    "www.w3.org",
    "github.com",
    "deb.debian.org",
    "keepachangelog.com",
    "semver.org",
    "docs.rs",
    "doc.rust-lang.org",
    "static.rust-lang.org",
    "rust-lang.org",
    "www.rust-lang.org",
    "rustup.rs",
    "sh.rustup.rs",
    "www.apache.org",
    "spdx.org",
    "json-schema.org",
    "specifications.freedesktop.org",
    "docs.kernel.org",
    "www.qemu.org",
    "localhost",
    "127.0.0.1",
    "example.com",
    "www.conventionalcommits.org",
];

/// The page whose tables say which test shows what.
const NAMES_TESTS: &str = "docs/trivial.md";

/// Reads every file of the repository; all faults are told at once.
pub(crate) fn run() -> Result<()> {
    let mut faults = Vec::new();
    for file in checkout::files()? {
        let bytes =
            fs::read(checkout::root().join(&file)).with_context(|| format!("read {}", file.display()))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let dead = dead_links(&file, &text);
        faults.extend(
            faults_in(&file, &text)
                .into_iter()
                .chain(dead)
                .map(|fault| format!("{}:{fault}", file.display())),
        );
    }
    for (name, _reason) in LONG_FILES {
        let lines = fs::read_to_string(checkout::root().join(name)).map_or(0, |text| text.lines().count());
        if lines <= MOST_LINES {
            faults.push(format!("{name}: need not be in the list of long files"));
        }
    }
    faults.extend(tests_that_are_not_there()?);
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n  ")) }
}

/// Faults of one file, each beginning with its line.
fn faults_in(file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = file.to_string_lossy();
    let code = file.extension().is_some_and(|extension| extension == "rs");
    if code {
        if !text.starts_with("//!") && !text.starts_with("#!") {
            faults.push("1: no module documentation".to_owned());
        }
        if text.lines().count() > MOST_LINES && LONG_FILES.iter().all(|(long, _)| *long != name) {
            faults.push(format!("{MOST_LINES}: longer than {MOST_LINES} lines; split it by nouns"));
        }
    }
    // Tests that start themselves again tell their other selves by variables what to do.
    let test_module = ["/tests/", "/tests.rs", "/loopback.rs"].iter().any(|part| name.contains(part));
    let outside = name.starts_with("crates/pyro/") || !name.starts_with("crates/") || test_module;
    for (index, line) in text.lines().enumerate() {
        let mut fault = |what: String| faults.push(format!("{}: {what}", index + 1));
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                fault(format!("`{word}`: {why}"));
            }
        }
        for path in MACHINE_PATHS {
            if begins_a_path(line, path) {
                fault(format!("`{path}` is a path of one machine"));
            }
        }
        if name != "Cargo.lock" && !name.ends_with("/Cargo.lock") {
            for host in hosts(line).filter(|host| !HOSTS.contains(host) && !is_reserved(host)) {
                fault(format!("the host `{host}` is not in the list of xtask/src/tidy.rs"));
            }
        }
        if code && !outside && line.contains(concat!("env::", "var")) {
            fault("only the crate `pyro` reads environment variables".to_owned());
        }
        if line.ends_with([' ', '\t']) && !name.ends_with(".md") && !name.starts_with("LICENSE") {
            fault("white space at the end of the line".to_owned());
        }
    }
    faults
}

/// Relative links of a Markdown page to files that are not there.
fn dead_links(file: &Path, text: &str) -> Vec<String> {
    if file.extension().is_none_or(|extension| extension != "md") {
        return Vec::new();
    }
    let directory = checkout::root().join(file.parent().unwrap_or_else(|| Path::new("")));
    let mut dead = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") && !directory.join(target).exists() {
                dead.push(format!("{}: the link to `{target}` leads nowhere", index + 1));
            }
        }
    }
    dead
}

/// Tests that [`NAMES_TESTS`] names, in the column for them, and that do not exist.
fn tests_that_are_not_there() -> Result<Vec<String>> {
    let page = fs::read_to_string(checkout::root().join(NAMES_TESTS))
        .with_context(|| format!("read {NAMES_TESTS}"))?;
    let mut code = String::new();
    for file in checkout::files()? {
        if file.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            code += &fs::read_to_string(checkout::root().join(&file))
                .with_context(|| format!("read {}", file.display()))?;
        }
    }
    let is_there = |name: &&str| ["fn", "def"].iter().any(|word| code.contains(&format!("{word} {name}(")));
    let missing = named_tests(&page).into_iter().filter(|name| !is_there(name));
    Ok(missing.map(|name| format!("{NAMES_TESTS}: there is no test `{name}`")).collect())
}

/// What stands between backquotes in the second column of a page's tables.
fn named_tests(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split(" | ").nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.matches('_').count() > 1)
        .collect()
}

/// Whether a host is one that exists nowhere: one of the names reserved for examples and tests.
fn is_reserved(host: &str) -> bool {
    !host.contains('.') || [".example", ".invalid", ".test"].iter().any(|end| host.ends_with(end))
}

/// Whether `path` stands in the line as the beginning of a path, not inside another.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || "_-./}$".contains(before))
    })
}

/// Host of every web address in the line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").zip(line.split("://").skip(1)).filter_map(|(scheme, rest)| {
        let web = scheme.ends_with("http") || scheme.ends_with("https");
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c)).unwrap_or(rest.len());
        let host = rest[..end].trim_end_matches('.');
        (web && !host.is_empty()).then_some(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        run().unwrap();
    }

    #[test]
    fn dead_links_are_seen() {
        let look = |text: &str| dead_links(Path::new("docs/a.md"), text).len();
        assert_eq!(look("[a](../README.md) [b](https://github.com/x) [c](#here) [d](../README.md#x)"), 0);
        assert_eq!(look("[a](README-not.md)"), 1);
    }

    #[test]
    fn tests_are_named_in_the_second_column() {
        let page =
            "| a | b |\n| use | `it_is_shown` and `it_is_so` (see `workspace_list`) | `not_this_one` |\n";
        assert_eq!(named_tests(page), ["it_is_shown", "it_is_so"]);
    }

    #[test]
    fn faults_are_seen() {
        let look = |name: &str, text: &str| faults_in(Path::new(name), text);
        assert_eq!(look("crates/api/src/lib.rs", "//! Doc.\nfn a() {}\n"), Vec::<String>::new());
        assert_eq!(look("a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(look("a.rs", &format!("//! Doc.\n{}", "fn a() {}\n".repeat(MOST_LINES))).len(), 1);
        assert_eq!(look("a.md", &format!("see {}x", MACHINE_PATHS[0])).len(), 1);
        assert_eq!(look("a.md", "an overlay's /lower/work/ and /workspace are fine\n").len(), 0);
        assert_eq!(look("a.md", &format!("from http://m.example and http://mirror.{}\n", "corp")).len(), 1);
        assert_eq!(
            look("crates/api/src/a.rs", &format!("//! D.\n// {}(\"X\")\n", concat!("env::", "var"))).len(),
            1
        );
        for (word, _why) in FORBIDDEN {
            assert_eq!(look("a.md", word).len(), 1, "{word}");
        }
    }
}
