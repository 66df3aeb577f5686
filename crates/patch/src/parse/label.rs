//! Names in headers: which part of them is the file's path.
//!
//! `git diff` writes `a/` and `b/` before names, other settings write `i/` and `w/` or nothing, `diff -ru` two
//! directories, and models what they remember. The two names of a file tell which it is: what is common behind
//! the first slash, or all.

use crate::{ParseFault, lines::excerpt, quote};

/// The old or new name in a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Label {
    /// `/dev/null`: the file does not exist on this side.
    Null,
    /// A name as it stands, unquoted.
    Name(Vec<u8>),
}

impl Label {
    /// Reads what follows `--- ` or `+++ `. A timestamp behind a tab is dropped; that of the epoch says, in `diff
    /// -N`, that the file does not exist.
    pub(super) fn read(text: &[u8]) -> Result<(Self, bool), ParseFault> {
        let (name, after) = if text.starts_with(b"\"") {
            quote::read(text).ok_or(ParseFault::Quotes)?
        } else if let Some(tab) = text.iter().position(|byte| *byte == b'\t') {
            (text[..tab].to_vec(), &text[tab..])
        } else {
            // git puts a tab behind a name with spaces in it, so these are somebody's slip.
            (text.trim_ascii_end().to_vec(), &b""[..])
        };
        let label = if name == b"/dev/null" { Self::Null } else { Self::Name(name) };
        Ok((label, is_epoch(after.trim_ascii())))
    }
}

/// `1970-01-01 00:00:00.000000000 +0000`, in any time zone.
fn is_epoch(timestamp: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(timestamp) else { return false };
    let mut words = text.split(' ');
    let (Some(date), Some(time), Some(zone), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let day_minutes = match date {
        "1970-01-01" => 0,
        "1969-12-31" => -24 * 60,
        _ => return false,
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let minutes = |hours: &str, minutes: &str| {
        Some(hours.parse::<u8>().ok().map(i32::from)? * 60 + minutes.parse::<u8>().ok().map(i32::from)?)
    };
    let mut clock = clock.split(':');
    let (Some(hour), Some(minute), Some("00"), None) =
        (clock.next(), clock.next(), clock.next(), clock.next())
    else {
        return false;
    };
    let (sign, zone) = match zone.as_bytes().first() {
        Some(b'+') => (1, &zone[1..]),
        Some(b'-') => (-1, &zone[1..]),
        _ => return false,
    };
    let zone = zone.replace(':', "");
    let Some((zone_hours, zone_minutes)) = zone.split_at_checked(2) else { return false };
    match (minutes(hour, minute), minutes(zone_hours, zone_minutes)) {
        (Some(local), Some(zone)) => {
            day_minutes + local - sign * zone == 0 && fraction.bytes().all(|digit| digit == b'0')
        }
        _ => false,
    }
}

/// What follows `diff --git `: the two names, which are told apart by what is common to them. `None` if that does
/// not work, as with the names of a rename.
pub(super) fn git_names(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if text.starts_with(b"\"") {
        let (old, rest) = quote::read(text)?;
        return Some((old, one_name(rest.strip_prefix(b" ")?)?));
    }
    if let Some(at) = text.windows(2).position(|pair| pair == b" \"") {
        return Some((text[..at].to_vec(), one_name(&text[at + 1..])?));
    }
    // Both are as long, or as long behind their first slashes.
    let same = |at: &usize| {
        let (old, new) = (&text[..*at], &text[*at + 1..]);
        old == new || behind_slash(old).is_some_and(|name| behind_slash(new) == Some(name))
    };
    let at = spaces(text).find(same)?;
    Some((text[..at].to_vec(), text[at + 1..].to_vec()))
}

/// Indices of spaces, those near the middle first: there can be many of them, and all but one or two differ at once.
fn spaces(text: &[u8]) -> impl Iterator<Item = usize> {
    let middle = text.len() / 2;
    (0..=middle)
        .flat_map(move |away| [middle.checked_sub(away), middle.checked_add(away)])
        .flatten()
        .filter(|at| text.get(*at) == Some(&b' '))
        // Prefixes are short: names further from the middle cannot be as long as each other.
        .take_while(move |at| at.abs_diff(middle) <= 256)
}

fn one_name(text: &[u8]) -> Option<Vec<u8>> {
    if !text.starts_with(b"\"") {
        return Some(text.to_vec());
    }
    quote::read(text).filter(|(_, rest)| rest.trim_ascii().is_empty()).map(|(name, _)| name)
}

/// A rename's name behind `rename from ` and its like: no prefix, maybe quotes.
pub(super) fn bare_name(text: &[u8]) -> Result<Vec<u8>, ParseFault> {
    one_name(text).ok_or(ParseFault::Quotes)
}

/// The one path that two names stand for.
pub(super) fn common(old: &[u8], new: &[u8], keep_prefix: bool) -> Option<Vec<u8>> {
    if keep_prefix && old == new {
        return Some(old.to_vec());
    }
    let (old_name, new_name) = (without_prefix(old), without_prefix(new));
    if old_name == new_name {
        return Some(new_name.to_vec());
    }
    if let (Some(old), Some(new)) = (behind_slash(old), behind_slash(new))
        && old == new
    {
        return Some(new.to_vec());
    }
    let backup = |suffix: &&[u8]| old_name.strip_suffix(*suffix) == Some(new_name);
    let backups: [&[u8]; 4] = [b".orig", b".old", b".bak", b"~"];
    backups.iter().any(backup).then(|| new_name.to_vec())
}

/// A name without the `a/` or `b/` before it.
pub(super) fn without_prefix(name: &[u8]) -> &[u8] {
    match name {
        [b'a' | b'b', b'/', rest @ ..] if !rest.is_empty() => rest,
        name => name,
    }
}

/// What follows a relative name's first slash.
fn behind_slash(name: &[u8]) -> Option<&[u8]> {
    let slash = name.iter().position(|byte| *byte == b'/')?;
    (slash > 0 && slash + 1 < name.len()).then(|| &name[slash + 1..])
}

/// The fault of two names that are not one file's.
pub(super) fn differ(old: &[u8], new: &[u8]) -> ParseFault {
    ParseFault::NamesDiffer { old: excerpt(old), new: excerpt(new) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs() {
        for epoch in [
            "1970-01-01 00:00:00.000000000 +0000",
            "1969-12-31 19:00:00.000000000 -0500",
            "1970-01-01 05:30:00 +0530",
            "1970-01-01 01:00:00 +01:00",
        ] {
            assert!(is_epoch(epoch.as_bytes()), "{epoch}");
        }
        for other in [
            "1970-01-01 00:00:00.000000001 +0000",
            "1970-01-01 00:00:01 +0000",
            "1970-01-01 01:00:00 +0000",
            "2024-01-01 00:00:00 +0000",
            "",
            "1970-01-01 00:00:00 +é",
            "1970-01-01 é:00:00 +00é0",
        ] {
            assert!(!is_epoch(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn names_behind_diff_git() {
        let names = |text: &str| {
            git_names(text.as_bytes())
                .map(|(old, new)| (String::from_utf8(old).unwrap(), String::from_utf8(new).unwrap()))
        };
        let pair = |old: &str, new: &str| Some((old.to_owned(), new.to_owned()));
        assert_eq!(names("a/x b/x"), pair("a/x", "b/x"));
        assert_eq!(names("a/x y b/x y"), pair("a/x y", "b/x y"));
        assert_eq!(names("x x"), pair("x", "x"));
        assert_eq!(names("a/b b/b b/b b/b"), pair("a/b b/b", "b/b b/b"));
        assert_eq!(names("old/x newer/x"), pair("old/x", "newer/x"));
        assert_eq!(names(r#""a/\t" "b/\t""#), pair("a/\t", "b/\t"));
        assert_eq!(names(r#"a/x "b/\t""#), pair("a/x", "b/\t"));
        assert_eq!(names("a/x b/y"), None);
        assert_eq!(names(""), None);
    }

    #[test]
    fn two_names_one_path() {
        let path = |old: &str, new: &str, keep| {
            common(old.as_bytes(), new.as_bytes(), keep).map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(path("a/x", "b/x", false).as_deref(), Some("x"));
        assert_eq!(path("a/x", "a/x", false).as_deref(), Some("x"));
        assert_eq!(path("a/x", "a/x", true).as_deref(), Some("a/x"));
        assert_eq!(path("a", "a", false).as_deref(), Some("a"));
        assert_eq!(path("x/y", "x/y", false).as_deref(), Some("x/y"));
        assert_eq!(path("a/x", "x", false).as_deref(), Some("x"));
        assert_eq!(path("old/x/y", "new/x/y", false).as_deref(), Some("x/y"));
        assert_eq!(path("x.c.orig", "x.c", false).as_deref(), Some("x.c"));
        assert_eq!(path("/workspace/x", "/workspace/x", false).as_deref(), Some("/workspace/x"));
        assert_eq!(path("a/x", "b/y", false), None);
    }
}
