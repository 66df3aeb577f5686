//! Whole files of any length, into a workspace and out of it.

use serde::{Deserialize, Serialize};

use super::{entry::FileMode, identity::WorkspaceRef, path::WorkspacePath};
use crate::{error::ErrorBody, text::ByteString};

/// Reads a whole file of any length; its bytes come as `Stdout` frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileDownloadRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
}

/// A whole file was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileDownloaded {
    /// Whose.
    pub workspace_id: String,
    /// Absolute in the guest.
    pub path: ByteString,
    /// Bytes that were sent: the size of the file.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: FileMode,
    /// How it was done.
    pub execution_mode: String,
}

/// Writes a whole file of any length, in one step; its bytes follow as `Stdin` frames, and without their end nothing is
/// written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileUploadRequest {
    /// Whose.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// Which.
    pub path: WorkspacePath,
    /// Permission bits; those of the file that is there, or 0644, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Fails with `already_exists` if something is there.
    #[serde(default)]
    pub create_only: bool,
    /// Bytes that will follow, if that is known, so that progress can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl FileDownloadRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.path.check_below()
    }
}

impl FileUploadRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.path.check_below()
    }
}
