//! `workspace_disk_…`: what is on the disk of a workspace whose machine does not run. Nothing is booted, mounted or changed.
//!
//! Paths reach the whole guest, not only `/workspace`: a [`GuestPath`] that is absolute stands for what it says.

use serde::{Deserialize, Serialize};

use super::{
    command::{Encoding, WantedEncoding},
    entry::{FileEntry, FileMode},
    files::{ENTRY_LIMITS, READ_BYTES, default_encoding, default_entry_limit, default_read_bytes},
    identity::WorkspaceRef,
    path::GuestPath,
    view::tokens,
};
use crate::{
    check::{self, within},
    error::ErrorBody,
    text::ByteString,
};

/// Lists a directory on the disk of a stopped workspace, or names a single file. Links on the way are followed, the last is
/// shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DiskListRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// What.
    #[serde(default)]
    pub path: GuestPath,
    /// Also what is in directories below.
    #[serde(default)]
    pub recursive: bool,
    /// At most so many entries, within [`ENTRY_LIMITS`].
    #[serde(default = "default_entry_limit")]
    #[cfg_attr(feature = "schema", schemars(range(min = *ENTRY_LIMITS.start(), max = *ENTRY_LIMITS.end())))]
    pub limit: u64,
    /// Only entries after this path, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<GuestPath>,
}

impl DiskListRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("limit", self.limit, &ENTRY_LIMITS)?;
        self.path.check()?;
        self.after.as_ref().map_or(Ok(()), GuestPath::check)
    }
}

/// What is in a directory of a disk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskList {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// As it was asked.
    pub recursive: bool,
    /// In order of their paths; a directory stands before what is in it.
    pub entries: Vec<FileEntry>,
    /// Whether there is more.
    pub truncated: bool,
    /// There is more: ask for it with this as `after`.
    pub next_after: Option<ByteString>,
}

/// Reads a file on the disk of a stopped workspace, or a part of one. Links are followed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DiskReadRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: GuestPath,
    /// At most so many bytes, within [`READ_BYTES`].
    #[serde(default = "default_read_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = *READ_BYTES.start(), max = *READ_BYTES.end())))]
    pub max_bytes: u64,
    /// First byte, from 0.
    #[serde(default)]
    pub offset: u64,
    /// How the bytes shall stand in JSON.
    #[serde(default = "default_encoding")]
    pub encoding: WantedEncoding,
}

impl DiskReadRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("max_bytes", self.max_bytes, &READ_BYTES)?;
        self.path.check()
    }
}

/// A file of a disk, or a part of one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskRead {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// As it was asked.
    pub max_bytes: u64,
    /// The bytes, as text with replacement characters where they are no UTF-8, unless asked otherwise.
    pub content: String,
    /// How they stand in `content`.
    pub encoding: Encoding,
    /// The exact bytes, only where `content` has replacement characters for some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Whether there is more of the file.
    pub truncated: bool,
    /// Place of the first byte.
    pub offset: u64,
    /// How many bytes `content` stands for.
    pub bytes_read: u64,
    /// Permission bits.
    pub mode: FileMode,
}

tokens! {
    /// In which form a disk is taken.
    DiskFormat {
        /// The writable disk alone, a raw file system with holes where nothing was written.
        Ext4 = "ext4",
        /// Everything the guest sees, the environment included, as a tar archive.
        Tar = "tar",
    }
}

/// Takes the disk of a stopped workspace to the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DiskExportRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Absolute path on the host.
    pub output_path: ByteString,
    /// Everything the guest sees, as a tar archive, instead of the writable disk alone.
    #[serde(default)]
    pub merged: bool,
    /// Replace what is at `output_path`.
    #[serde(default)]
    pub force: bool,
}

impl DiskExportRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        check::host_path("output_path", &self.output_path)
    }
}

/// A disk was taken out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiskExported {
    /// Whose.
    pub workspace_id: String,
    /// Where it is on the host.
    pub output_path: ByteString,
    /// In which form.
    pub disk_format: DiskFormat,
    /// Length of the file.
    pub bytes_written: u64,
    /// What it takes on the host's disk; less than its length where it has holes.
    pub allocated_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_of_the_workspace_unless_it_says_otherwise() {
        let list: DiskListRequest = serde_json::from_str(r#"{"workspace": "fix"}"#).unwrap();
        list.check().unwrap();
        assert_eq!(list.path.absolute().unwrap(), b"/workspace");
        for bad in [r#""limit": 0"#, r#""path": "a\u0000""#, r#""path": " ""#, r#""after": """#] {
            let list = serde_json::from_str::<DiskListRequest>(&format!("{{\"workspace\": \"fix\", {bad}}}"));
            assert!(list.unwrap().check().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_read_is_bounded_and_an_export_goes_to_an_absolute_path() {
        let read = |max_bytes: u64| {
            let json = format!(r#"{{"workspace": "fix", "path": "/etc/hosts", "max_bytes": {max_bytes}}}"#);
            serde_json::from_str::<DiskReadRequest>(&json).unwrap().check()
        };
        assert!(read(1).is_ok() && read(1 << 20).is_ok());
        assert!(read(0).is_err() && read((1 << 20) + 1).is_err());
        let export = |path: &str| {
            let json = format!(r#"{{"workspace": "fix", "output_path": "{path}"}}"#);
            serde_json::from_str::<DiskExportRequest>(&json).unwrap().check()
        };
        assert!(export("/tmp/disk").is_ok() && export("disk").is_err());
    }
}
