//! `pyro workspace file download`.

use std::{
    fs::File,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use pyro_api::{
    ErrorBody, ErrorCode,
    operation::DownloadFile,
    workspace::{
        identity::WorkspaceRef,
        path::WorkspacePath,
        transfer::{FileDownloadRequest, FileDownloaded},
    },
};

use super::guest_path;
use crate::{
    commands::{
        stream::Sink,
        workspace::{follow, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Read a file of any length
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The file in the workspace
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// File of this host to make; - for standard output
    target: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<FileDownloadRequest, ErrorBody> {
        let request = FileDownloadRequest { workspace: self.workspace.clone(), path: self.path.clone() };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    if arguments.target == Path::new("-") {
        let downloaded = follow::<DownloadFile>(&request, settings, &mut Sink::PassOn).await?;
        output::note(summary(&downloaded));
        return Ok(0);
    }
    if !arguments.force && arguments.target.symlink_metadata().is_ok() {
        let error = format!("there is something at {}", arguments.target.display());
        return Err(ErrorBody::new(ErrorCode::OutputExists, error).with_hint("--force replaces it").into());
    }
    let mut partial = PartialFile::beside(&arguments.target)?;
    let downloaded = follow::<DownloadFile>(&request, settings, &mut Sink::File(&mut partial.file)).await?;
    partial.finish(&arguments.target, arguments.force, downloaded.mode.0)?;
    if arguments.json {
        output::json(&downloaded)?;
    } else {
        output::line(summary(&downloaded))?;
    }
    Ok(0)
}

fn summary(downloaded: &FileDownloaded) -> String {
    format!(
        "[workspace-file-download] workspace_id={} path={} size_bytes={} mode={} execution_mode={}",
        downloaded.workspace_id,
        shown(&downloaded.path),
        downloaded.size_bytes,
        downloaded.mode,
        downloaded.execution_mode,
    )
}

/// A file that has not its name yet. Gone when it is dropped.
struct PartialFile {
    file: File,
    path: PathBuf,
}

impl PartialFile {
    fn beside(target: &Path) -> Result<Self, ErrorBody> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let path = target.with_file_name(name);
        let file = File::create_new(&path).map_err(|error| unwritable(&path, &error))?;
        Ok(Self { file, path })
    }

    /// Gives it its name. Without force, nothing that came to be there meanwhile is replaced.
    fn finish(self, target: &Path, force: bool, mode: u32) -> Result<(), ErrorBody> {
        // Bits that run a program as somebody else are the guest's to mean, not ours to take over.
        let permissions = std::fs::Permissions::from_mode(mode & 0o777);
        let named = self.file.set_permissions(permissions).and_then(|()| match force {
            true => std::fs::rename(&self.path, target),
            false => std::fs::hard_link(&self.path, target),
        });
        named.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let text = format!("there is something at {}", target.display());
                ErrorBody::new(ErrorCode::OutputExists, text).with_hint("--force replaces it")
            }
            _ => unwritable(target, &error),
        })
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Under its old name it is only there when it did not get the new one, or got it beside this.
        let _removed = std::fs::remove_file(&self.path);
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::FileFailed, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out");
        drop(PartialFile::beside(&target).unwrap());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        PartialFile::beside(&target).unwrap().finish(&target, false, 0o6755).unwrap();
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        let refused = PartialFile::beside(&target).unwrap().finish(&target, false, 0o644).unwrap_err();
        assert_eq!(refused.code, ErrorCode::OutputExists);
        PartialFile::beside(&target).unwrap().finish(&target, true, 0o600).unwrap();
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
