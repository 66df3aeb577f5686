//! Licences of everything that is linked, against the one list, `allow` in `deny.toml` (which `cargo deny` reads too).

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{checkout, dependencies::list};

/// Fails on a package none of whose licences is allowed, and on one that does not come from the public registry.
pub(crate) fn check(metadata: &Value) -> Result<()> {
    let text = fs::read_to_string(checkout::root().join("deny.toml")).context("read deny.toml")?;
    let allowed = allowed(&text).context("deny.toml has no list `allow = [...]`")?;
    let mut faults = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = format!(
            "{} {}",
            package["name"].as_str().unwrap_or("?"),
            package["version"].as_str().unwrap_or("?")
        );
        match package["license"].as_str() {
            Some(expression) if satisfied(expression, &allowed) => {}
            Some(expression) => faults.push(format!("{name}: {expression}")),
            None => faults.push(format!("{name}: names no licence")),
        }
        if package["source"].as_str().is_some_and(|source| source != CRATES_IO) {
            faults.push(format!("{name}: does not come from crates.io"));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n  ")) }
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The quoted words of the list `allow`.
fn allowed(text: &str) -> Option<BTreeSet<&str>> {
    let (_, after) = text.split_once("\nallow = [")?;
    let (list, _) = after.split_once(']')?;
    Some(list.split('"').skip(1).step_by(2).collect())
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is an old form of `OR`.
fn satisfied(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    match words.next() {
        Some("(") => {
            let met = either(words, allowed);
            met && words.next() == Some(")")
        }
        Some(licence) => allowed.contains(licence.replace("+WITH+", " WITH ").as_str()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        let allowed = BTreeSet::from(["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]);
        for (expression, met) in [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true),
            ("Apache-2.0", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), met, "{expression}");
        }
    }

    #[test]
    fn everything_we_link_may_be_linked() {
        check(&crate::dependencies::metadata().unwrap()).unwrap();
    }

    #[test]
    fn the_list_is_found() {
        assert_eq!(
            allowed("[licenses]\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\n"),
            Some(BTreeSet::from(["ISC", "MIT"]))
        );
        assert_eq!(allowed("[bans]\n"), None);
    }
}
