//! Names of environments: what may be one, and how it becomes a directory name.

use std::fmt;

use crate::{Error, Result};

const RESERVED_PREFIX: &str = "oci:";
const MAX_LENGTH: usize = 64;

/// A name such as `debian:12`: 1 to 64 of `a-z 0-9 . : -`, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EnvironmentName(String);

impl EnvironmentName {
    /// Checks `name`; `oci:` is refused with an error of its own.
    pub fn parse(name: &str) -> Result<Self> {
        if name.starts_with(RESERVED_PREFIX) {
            return Err(Error::ReservedName { name: name.to_owned() });
        }
        let bad = |reason| Err(Error::BadName { name: name.escape_debug().to_string(), reason });
        if name.is_empty() {
            return bad("it is empty");
        }
        if name.len() > MAX_LENGTH {
            return bad("it is longer than 64 characters");
        }
        if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b':' | b'-')) {
            return bad("only a-z, 0-9, `.`, `:` and `-` are allowed");
        }
        if !name.as_bytes()[0].is_ascii_alphanumeric() {
            return bad("it does not start with a letter or digit");
        }
        Ok(Self(name.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as part of a file name: `:` becomes `_`, which no name contains, so two names never meet.
    pub(crate) fn for_path(&self) -> String {
        self.0.replace(':', "_")
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ordinary_names_and_makes_distinct_paths() {
        assert_eq!(EnvironmentName::parse("debian:12-base").unwrap().for_path(), "debian_12-base");
    }

    #[test]
    fn refuses_reserved_names_with_their_own_error() {
        assert!(matches!(EnvironmentName::parse("oci:alpine"), Err(Error::ReservedName { .. })));
    }

    #[test]
    fn refuses_what_could_leave_the_cache() {
        for name in ["", "../x", "a/b", ".hidden", "A", "a_b", "a b", "a\n", &"a".repeat(65)] {
            assert!(matches!(EnvironmentName::parse(name), Err(Error::BadName { .. })), "{name:?}");
        }
    }
}
