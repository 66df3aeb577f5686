//! [`RelativePath`]: the only form in which a path reaches a tree. It is bytes, since Linux names are, and it has
//! been checked once: it names something at or below the root and nothing else, whatever the tree contains.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt as _};

/// Longest name of one file: what every Linux file system allows at most.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest path: the kernel's 4096 include the zero at the end.
pub const MAX_PATH_BYTES: usize = 4095;

/// Why some bytes are no [`RelativePath`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPath {
    /// No bytes at all; the root is written `.`.
    #[error("the path is empty")]
    Empty,
    /// Starts with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// Has a component `..`, also where it would stay inside.
    #[error("the path has `..` in it")]
    ParentDirectory,
    /// Has a zero byte.
    #[error("the path has a zero byte in it")]
    ZeroByte,
    /// Has a component of more than [`MAX_NAME_BYTES`].
    #[error("the path has a name of more than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path has more than {MAX_PATH_BYTES} bytes")]
    TooLong,
}

/// A path relative to a tree's root, without `.`, `..`, empty components or zero bytes; `/` only between components.
/// The root itself is the path without components, displayed as `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelativePath(Vec<u8>);

impl RelativePath {
    /// The root itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks and normalises: components `.` and repeated or final slashes are dropped, so `./a//b/` is `a/b` and
    /// `./` the root.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, BadPath> {
        let path = path.as_ref();
        match path.first() {
            None => return Err(BadPath::Empty),
            Some(b'/') => return Err(BadPath::Absolute),
            Some(_) => {}
        }
        if path.contains(&0) {
            return Err(BadPath::ZeroByte);
        }
        let mut normal = Vec::with_capacity(path.len());
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(BadPath::ParentDirectory),
                name if name.len() > MAX_NAME_BYTES => return Err(BadPath::NameTooLong),
                name => {
                    if !normal.is_empty() {
                        normal.push(b'/');
                    }
                    normal.extend_from_slice(name);
                }
            }
        }
        if normal.len() > MAX_PATH_BYTES { Err(BadPath::TooLong) } else { Ok(Self(normal)) }
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes; none for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For system calls: `.` for the root.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(if self.is_root() { b"." } else { &self.0 })
    }

    /// The names on the way from the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// The last name; none for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The directory in which this lies; none for the root.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| Self(parent.to_vec()))
    }

    /// Directory and last name; none for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (b"", &self.0),
        })
    }

    /// What `path` names below this directory.
    pub fn join(&self, path: &Self) -> Result<Self, BadPath> {
        if self.is_root() {
            return Ok(path.clone());
        }
        if path.is_root() {
            return Ok(self.clone());
        }
        let mut joined = self.0.clone();
        joined.push(b'/');
        joined.extend_from_slice(&path.0);
        if joined.len() > MAX_PATH_BYTES { Err(BadPath::TooLong) } else { Ok(Self(joined)) }
    }

    /// The path of the entry `name` (one component) of this directory.
    pub fn child(&self, name: impl AsRef<[u8]>) -> Result<Self, BadPath> {
        self.join(&Self::new(name)?)
    }

    /// The way from `directory` to here, if this lies at or below it.
    pub fn below(&self, directory: &Self) -> Option<Self> {
        if directory.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(directory.0.as_slice())? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }

    /// The directories above, nearest first, without the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent).take_while(|path| !path.is_root())
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&printable(&self.0)) }
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Some bytes of a name or path as one line of text: control characters, quotes and what is not UTF-8 are escaped, and more than a path can hold is
/// cut.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().min(MAX_PATH_BYTES));
    for chunk in bytes[..bytes.len().min(MAX_PATH_BYTES)].utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    if bytes.len() > MAX_PATH_BYTES {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form() {
        for (given, normal) in
            [("a", "a"), ("./a//b/", "a/b"), ("./", ""), (".", ""), ("a/./b", "a/b"), ("...", "...")]
        {
            assert_eq!(RelativePath::new(given).unwrap().as_bytes(), normal.as_bytes(), "{given}");
        }
        assert_eq!(RelativePath::new(b"\xff\n").unwrap().to_string(), "\\xff\\n");
        assert_eq!(RelativePath::root().to_string(), ".");
    }

    #[test]
    fn what_may_not_be() {
        for (given, why) in [
            ("", BadPath::Empty),
            ("/a", BadPath::Absolute),
            ("..", BadPath::ParentDirectory),
            ("a/../b", BadPath::ParentDirectory),
            ("a\0b", BadPath::ZeroByte),
        ] {
            assert_eq!(RelativePath::new(given), Err(why), "{given}");
        }
        assert!(RelativePath::new("x".repeat(255)).is_ok());
        assert_eq!(RelativePath::new("x".repeat(256)), Err(BadPath::NameTooLong));
        assert!(RelativePath::new("x/".repeat(2047) + "y").is_ok());
        assert_eq!(RelativePath::new("x/".repeat(2048) + "y"), Err(BadPath::TooLong));
    }

    #[test]
    fn relations() {
        let path = RelativePath::new("a/b/c").unwrap();
        assert_eq!(path.parent(), Some(RelativePath::new("a/b").unwrap()));
        assert_eq!(path.name(), Some(b"c".as_slice()));
        assert_eq!(path.below(&RelativePath::new("a").unwrap()), Some(RelativePath::new("b/c").unwrap()));
        assert_eq!(path.below(&RelativePath::new("a/b/c").unwrap()), Some(RelativePath::root()));
        assert_eq!(path.below(&RelativePath::new("a/b/").unwrap().child("c2").unwrap()), None);
        assert_eq!(RelativePath::new("ab").unwrap().below(&RelativePath::new("a").unwrap()), None);
        let above: Vec<_> = path.ancestors().map(|path| path.to_string()).collect();
        assert_eq!(above, ["a/b", "a"]);
        assert_eq!(RelativePath::root().parent(), None);
        assert_eq!(RelativePath::new("a").unwrap().parent(), Some(RelativePath::root()));
    }
}
