//! Names of files, as patches may use them.

use std::fmt;

use crate::quote;

/// Where absolute names must lie; the prefix is taken off.
pub const ROOT: &str = "/workspace";

/// A file's path below the directory that is patched: bytes with neither NUL, nor empty, `.` or `..` components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Vec<u8>);

/// Why a name is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathFault {
    /// Nothing is left of it.
    #[error("the name is empty")]
    Empty,
    /// Absolute, and not below [`ROOT`].
    #[error("an absolute name must lie below {ROOT}")]
    Outside,
    /// A `..` component.
    #[error("the name has a `..` component")]
    Climbs,
    /// A NUL byte.
    #[error("the name has a NUL byte")]
    Nul,
}

impl FilePath {
    /// Checks a name and brings it into the one form: relative, without `.` components and doubled slashes.
    ///
    /// # Errors
    ///
    /// Says which rule the name breaks.
    pub fn new(name: &[u8]) -> Result<Self, PathFault> {
        if name.contains(&0) {
            return Err(PathFault::Nul);
        }
        let relative = match name.strip_prefix(ROOT.as_bytes()) {
            Some(below) if below.is_empty() || below.starts_with(b"/") => below,
            _ if name.starts_with(b"/") => return Err(PathFault::Outside),
            _ => name,
        };
        let mut path = Vec::with_capacity(relative.len());
        for component in relative.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(PathFault::Climbs),
                component => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(component);
                }
            }
        }
        // `dir/` and `dir/.` name directories, not files; the caller finds out when it opens them.
        if path.is_empty() { Err(PathFault::Empty) } else { Ok(Self(path)) }
    }

    /// Its bytes, relative.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The part behind the last slash.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// As git shows it: odd bytes in C quotes.
impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.contains(|c: char| c.is_control() || c == '"' || c == '\\') => {
                f.write_str(text)
            }
            _ => {
                let mut quoted = Vec::new();
                quote::append(&mut quoted, b"", &self.0);
                f.write_str(&String::from_utf8_lossy(&quoted))
            }
        }
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for (name, path) in [
            ("src/a.rs", "src/a.rs"),
            ("./src//a.rs", "src/a.rs"),
            ("/workspace/src/a.rs", "src/a.rs"),
            ("/workspace//a", "a"),
            ("a...b/..c", "a...b/..c"),
            ("workspace/a", "workspace/a"),
        ] {
            assert_eq!(FilePath::new(name.as_bytes()).unwrap().as_bytes(), path.as_bytes());
        }
    }

    #[test]
    fn refused_names() {
        for (name, fault) in [
            (&b""[..], PathFault::Empty),
            (b"./", PathFault::Empty),
            (b"/workspace", PathFault::Empty),
            (b"/etc/passwd", PathFault::Outside),
            (b"/workspaces/a", PathFault::Outside),
            (b"//workspace/a", PathFault::Outside),
            (b"../a", PathFault::Climbs),
            (b"/workspace/../etc/passwd", PathFault::Climbs),
            (b"a/..", PathFault::Climbs),
            (b"a\0b", PathFault::Nul),
        ] {
            assert_eq!(FilePath::new(name), Err(fault), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn shown_on_one_line() {
        assert_eq!(FilePath::new("é x".as_bytes()).unwrap().to_string(), "é x");
        assert_eq!(FilePath::new(b"a\nb").unwrap().to_string(), r#""a\nb""#);
    }
}
