//! Why a file is not taken for an archive, or cannot become one.

use std::io;

/// What is wrong with an archive. A fragment that reads after the file's name and a colon.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is a directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// It does not begin as an archive does.
    #[error("it is not an archive of a workspace")]
    Foreign,
    /// A newer release wrote it.
    #[error("it has version {found} of the format, and this release reads version {}", super::FORMAT_VERSION)]
    Newer {
        /// The version.
        found: u32,
    },
    /// It ends too early, has been changed, or was never whole.
    #[error("it is damaged or cut off: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The compressed part of it makes no sense.
    #[error("it is damaged or cut off")]
    Compression(#[source] io::Error),
    /// Its manifest is none.
    #[error("its manifest cannot be understood")]
    Manifest(#[source] serde_json::Error),
    /// Its manifest asks for something that no workspace has.
    #[error("its manifest is refused: {field}: {reason}")]
    Refused {
        /// Which part.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The manifest of this workspace would be too long.
    #[error("name and labels take {bytes} bytes, more than an archive has room for")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// Somebody changed the file after it was checked. What was made of it is gone again.
    #[error("it changed while it was loaded")]
    Changed,
    /// The host does not give its bytes.
    #[error("cannot read it")]
    Read(#[source] io::Error),
}
