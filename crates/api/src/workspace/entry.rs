//! What is at a path of a workspace.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::view::tokens;
use crate::{check::invalid, error::ErrorBody, text::ByteString};

tokens! {
    /// What a path is.
    ArtifactType {
        /// A regular file.
        File = "file",
        /// A directory.
        Directory = "directory",
        /// A symbolic link.
        Symlink = "symlink",
        /// A socket, fifo or device.
        Special = "special",
    }
}

/// Permission bits, in JSON as octal text: `"0644"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(pub u32);

impl FileMode {
    /// Reads octal digits, at most 7777.
    pub fn parse(text: &str) -> Result<Self, ErrorBody> {
        let digits = text.trim().trim_start_matches("0o");
        let octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o7777);
        mode.map(Self).ok_or_else(|| invalid(format!("{text:?} is no mode; write it as 0644")))
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl std::str::FromStr for FileMode {
    type Err = ErrorBody;

    fn from_str(text: &str) -> Result<Self, ErrorBody> {
        Self::parse(text)
    }
}

impl TryFrom<String> for FileMode {
    type Error = ErrorBody;

    fn try_from(text: String) -> Result<Self, ErrorBody> {
        Self::parse(&text)
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> Self {
        mode.to_string()
    }
}

/// A path and what is there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileEntry {
    /// Absolute in the guest.
    pub path: ByteString,
    /// What it is.
    pub artifact_type: ArtifactType,
    /// Size of a file; 0 for everything else.
    pub size_bytes: u64,
    /// Where a symbolic link points, as it stands there.
    pub link_target: Option<ByteString>,
    /// Permission bits.
    pub mode: FileMode,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When its content was changed last.
    pub modified_at: f64,
    /// SHA-256 of a file's content, hexadecimal, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        for (text, mode) in [("0644", 0o644), ("755", 0o755), ("0o4755", 0o4755), ("0", 0)] {
            assert_eq!(FileMode::parse(text).unwrap(), FileMode(mode), "{text}");
        }
        for bad in ["", "u+x", "888", "17777", "-1", "+644", "0x1ff"] {
            assert!(FileMode::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&FileMode(0o644)).unwrap(), "\"0644\"");
        // 420 and 644 would both be meant by somebody.
        assert!(serde_json::from_str::<FileMode>("644").is_err());
    }
}
