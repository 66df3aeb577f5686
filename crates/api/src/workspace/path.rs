//! Paths in `/workspace`, as callers write them.

use serde::{Deserialize, Serialize};

use super::WORKSPACE_PATH;
use crate::{
    check::invalid,
    error::{ErrorBody, ErrorCode},
    text::ByteString,
};

/// Longest path, bytes; the guest's kernel takes no longer one.
pub const MAX_PATH_BYTES: usize = 4096;

/// A path in `/workspace`: relative to it, or absolute and below it. Bytes, as file names are.
/// It is judged by [`WorkspacePath::relative`], not when it is made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkspacePath(pub ByteString);

impl WorkspacePath {
    /// `/workspace` itself.
    pub fn root() -> Self {
        Self(WORKSPACE_PATH.into())
    }

    /// The path relative to `/workspace`, without empty parts and `.`; empty for `/workspace` itself. Refused are blank
    /// paths, `..`, and absolute paths that are not below `/workspace`.
    pub fn relative(&self) -> Result<Vec<u8>, ErrorBody> {
        let path = checked(&self.0.0)?;
        let shown = || String::from_utf8_lossy(path).into_owned();
        let mut parts: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        if parts.contains(&b"..".as_slice()) {
            let error = ErrorBody::new(ErrorCode::PathEscapes, format!("path {:?} contains ..", shown()));
            return Err(error.with_hint(format!("name it from {WORKSPACE_PATH} on")));
        }
        if path.starts_with(b"/") {
            if parts.first() != Some(&&WORKSPACE_PATH.as_bytes()[1..]) {
                let error = format!("path {:?} is not in {WORKSPACE_PATH}", shown());
                return Err(ErrorBody::new(ErrorCode::PathEscapes, error)
                    .with_hint("`pyro workspace exec` reaches every file of the guest"));
            }
            parts.remove(0);
        }
        Ok(parts.join(&b'/'))
    }

    /// Whether [`WorkspacePath::relative`] takes it.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.relative().map(drop)
    }

    /// The same, and that it is not `/workspace` itself.
    pub fn check_below(&self) -> Result<(), ErrorBody> {
        if self.relative()?.is_empty() {
            return Err(invalid(format!("path is {WORKSPACE_PATH} itself")));
        }
        Ok(())
    }
}

impl Default for WorkspacePath {
    fn default() -> Self {
        Self::root()
    }
}

impl From<&str> for WorkspacePath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// A path anywhere in a guest: absolute, or relative to `/workspace`. Bytes, as file names are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuestPath(pub ByteString);

impl GuestPath {
    /// The absolute path, without empty parts, `.` and `..`; that of the root is `/`. A `..` takes the part before it away,
    /// whatever that is in the guest. Refused are blank paths and those that are too long.
    pub fn absolute(&self) -> Result<Vec<u8>, ErrorBody> {
        let path = checked(&self.0.0)?;
        let mut parts: Vec<&[u8]> = Vec::new();
        if !path.starts_with(b"/") {
            parts.push(&WORKSPACE_PATH.as_bytes()[1..]);
        }
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        let mut absolute = b"/".to_vec();
        absolute.extend(parts.join(&b'/'));
        Ok(absolute)
    }

    /// Whether [`GuestPath::absolute`] takes it.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.absolute().map(drop)
    }
}

impl Default for GuestPath {
    fn default() -> Self {
        Self(WORKSPACE_PATH.into())
    }
}

impl From<&str> for GuestPath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// The bytes of a path, if they can be one.
fn checked(path: &[u8]) -> Result<&[u8], ErrorBody> {
    if path.iter().all(u8::is_ascii_whitespace) {
        return Err(invalid("path is blank"));
    }
    if path.contains(&0) {
        return Err(invalid("path contains a NUL byte"));
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(invalid(format!("path is longer than {MAX_PATH_BYTES} bytes")));
    }
    Ok(path)
}

/// The absolute path in the guest of a path relative to `/workspace`.
pub fn absolute(relative: &[u8]) -> ByteString {
    let mut path = WORKSPACE_PATH.as_bytes().to_vec();
    if !relative.is_empty() {
        path.push(b'/');
        path.extend_from_slice(relative);
    }
    ByteString(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_below_the_workspace() {
        for (path, relative) in [
            ("/workspace", ""),
            ("/workspace/", ""),
            (".", ""),
            ("a", "a"),
            ("./a//b/", "a/b"),
            ("/workspace/a/./b", "a/b"),
            (" a", " a"),
            ("...", "..."),
        ] {
            assert_eq!(WorkspacePath::from(path).relative().unwrap(), relative.as_bytes(), "{path}");
        }
        for (path, code) in [
            ("", ErrorCode::InvalidRequest),
            (" ", ErrorCode::InvalidRequest),
            ("a\0", ErrorCode::InvalidRequest),
            ("..", ErrorCode::PathEscapes),
            ("a/../b", ErrorCode::PathEscapes),
            ("/", ErrorCode::PathEscapes),
            ("/etc/passwd", ErrorCode::PathEscapes),
            ("/workspaces", ErrorCode::PathEscapes),
        ] {
            assert_eq!(WorkspacePath::from(path).relative().unwrap_err().code, code, "{path:?}");
        }
        assert!(WorkspacePath::root().check_below().is_err());
        assert_eq!(absolute(b""), "/workspace".into());
        assert_eq!(absolute(b"a/b"), "/workspace/a/b".into());
    }
    #[test]
    fn a_path_in_a_guest_leads_anywhere_below_its_root() {
        for (path, absolute) in [
            ("a//./b/", "/workspace/a/b"),
            ("..", "/"),
            ("../etc/../var", "/var"),
            ("/../../etc/passwd", "/etc/passwd"),
            ("/", "/"),
            ("/workspace", "/workspace"),
        ] {
            assert_eq!(GuestPath::from(path).absolute().unwrap(), absolute.as_bytes(), "{path}");
        }
        let long = "a".repeat(MAX_PATH_BYTES + 1);
        for bad in ["", "  ", "a\0", long.as_str()] {
            assert!(GuestPath::from(bad).check().is_err());
        }
    }
}
