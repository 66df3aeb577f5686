//! `workspace_export`: results out of a workspace, to the host or to the caller.

use serde::{Deserialize, Serialize};

use super::{entry::ArtifactType, identity::WorkspaceRef, path::WorkspacePath, view::tokens};
use crate::{
    check::{self, invalid},
    error::ErrorBody,
    text::ByteString,
};

tokens! {
    /// In which form.
    ExportFormat {
        /// As it is: a file as a file, a directory as a directory.
        Tree = "tree",
        /// As a tar archive.
        Tar = "tar",
        /// Everything that changed, as a patch.
        Patch = "patch",
    }
}

/// Asks for a file, a directory, or everything that changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceExportRequest {
    /// Where from.
    #[serde(alias = "workspace_id")]
    pub workspace: WorkspaceRef,
    /// What; of a patch, what is below it.
    #[serde(default)]
    pub path: WorkspacePath,
    /// Absolute path on the host. When absent, the bytes of the file, the archive or the patch come as `Stdout` frames;
    /// a directory as a tree cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_path: Option<ByteString>,
    /// In which form.
    #[serde(default = "tree")]
    pub format: ExportFormat,
    /// Replace what is at `output_path`.
    #[serde(default)]
    pub force: bool,
}

fn tree() -> ExportFormat {
    ExportFormat::Tree
}

impl WorkspaceExportRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        self.path.check()?;
        match &self.output_path {
            Some(path) => check::host_path("output_path", path),
            None if self.format == ExportFormat::Tree && self.path.relative()?.is_empty() => {
                Err(invalid("a directory cannot be sent as a tree")
                    .with_hint("ask for it as tar, or name an output path"))
            }
            None => Ok(()),
        }
    }
}

/// Something was taken out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceExported {
    /// Where from.
    pub workspace_id: String,
    /// What, absolute in the guest.
    pub workspace_path: ByteString,
    /// Where it is on the host; null when its bytes were sent.
    pub output_path: Option<ByteString>,
    /// What it is.
    pub artifact_type: ArtifactType,
    /// In which form.
    pub format: ExportFormat,
    /// Entries, the path itself included; of a patch, paths that changed.
    pub entry_count: u64,
    /// Bytes of regular files; of a patch and an archive, its length.
    pub bytes_written: u64,
    /// How it was done.
    pub execution_mode: String,
    /// What was left out and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_has_somewhere_to_go() {
        let export = |json: &str| serde_json::from_str::<WorkspaceExportRequest>(json).ok()?.check().ok();
        for good in [
            r#"{"workspace":"a","path":"out","output_path":"/tmp/out"}"#,
            r#"{"workspace":"a","path":"out.bin"}"#,
            r#"{"workspace":"a","format":"tar"}"#,
            r#"{"workspace":"a","format":"patch","output_path":"/tmp/x.patch","force":true}"#,
        ] {
            assert!(export(good).is_some(), "{good}");
        }
        for bad in [
            r#"{"workspace":"a"}"#,
            r#"{"workspace":"a","path":"out","output_path":"out"}"#,
            r#"{"workspace":"a","path":"/etc","output_path":"/tmp/out"}"#,
            r#"{"workspace":"a","path":"out","format":"zip"}"#,
            r#"{"workspace":"a","path":"out","output":"/tmp/out"}"#,
        ] {
            assert!(export(bad).is_none(), "{bad}");
        }
    }
}
