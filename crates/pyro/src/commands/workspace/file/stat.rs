//! `pyro workspace file stat`.

use clap::Args;
use pyro_api::{
    operation::StatFile,
    workspace::{files::FileStatRequest, identity::WorkspaceRef, path::WorkspacePath},
};

use super::{entry_line, guest_path};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Say what is at a path; a link is not followed
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The path
    #[arg(value_parser = guest_path())]
    path: WorkspacePath,
    /// Also the SHA-256 of a file
    #[arg(long)]
    sha256: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request =
        FileStatRequest { workspace: arguments.workspace, path: arguments.path, sha256: arguments.sha256 };
    request.check()?;
    let stat = client(settings).call::<StatFile>(&request).await?;
    if arguments.json {
        output::json(&stat)?;
        return Ok(0);
    }
    let entry = &stat.entry;
    let sha256 = entry.sha256.as_ref().map_or_else(String::new, |digest| format!(" sha256={digest}"));
    output::line(format!(
        "{} mode={} owner={}:{} modified_at={:.3}{sha256}",
        entry_line(entry),
        entry.mode,
        entry.uid,
        entry.gid,
        entry.modified_at
    ))?;
    Ok(0)
}
