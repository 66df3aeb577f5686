//! Paths as bytes, as Linux has them.

use std::fmt;

use crate::Error;

/// Longest path that is taken or followed: the kernel's 4096 include the zero at the end.
pub(crate) const MAX_PATH_BYTES: usize = 4095;
/// Longest name.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// A path for people: what is not UTF-8 is replaced, control characters are escaped, and what is long is cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

const MAX_SHOWN_CHARS: usize = 400;

impl Shown {
    pub(crate) fn new(path: &[u8]) -> Self {
        let text = String::from_utf8_lossy(path);
        let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).flat_map(escaped).collect();
        if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        Self(shown)
    }
}

fn escaped(character: char) -> impl Iterator<Item = char> {
    let escape = character.is_control().then(|| character.escape_default());
    let plain = (!character.is_control()).then_some(character);
    escape.into_iter().flatten().chain(plain)
}

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// Whether a directory may hold it: one component, and neither `.` nor `..`.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let long = name.is_empty() || name.len() > MAX_NAME_BYTES;
    !long && !matches!(name, b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// The path of `name` in a directory with an absolute path.
pub(crate) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Names of a path that a user or a link gave.
pub(crate) fn components(path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let bad = |why| Err(Error::BadPath { path: Shown::new(path), why });
    if path.is_empty() {
        return bad("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return bad("it is longer than 4095 bytes");
    }
    if path.contains(&0) {
        return bad("it has a zero byte in it");
    }
    let names: Vec<Vec<u8>> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect();
    if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
        return bad("it has a name of more than 255 bytes");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(Shown::new(b"a\n\xff").to_string(), "a\\n\u{fffd}");
        assert!(Shown::new(&[b'x'; 5000]).to_string().len() < 500);
    }

    #[test]
    fn names_are_single_components() {
        for name in ["", ".", "..", "a/b", "a\0"] {
            assert!(!is_name(name.as_bytes()), "{name:?}");
        }
        assert!(is_name(b"...") && is_name(b"\xff"));
        assert_eq!(joined(b"/", b"a"), b"/a");
        assert_eq!(joined(b"/a", b"b"), b"/a/b");
    }

    #[test]
    fn paths_of_users_are_checked() {
        assert_eq!(components(b"//a/./b/..").unwrap(), [b"a".to_vec(), b"b".to_vec(), b"..".to_vec()]);
        for path in [&b""[..], b"a\0b", &[b'x'; 256], &[b'/'; 4096]] {
            assert!(matches!(components(path), Err(Error::BadPath { .. })));
        }
    }
}
