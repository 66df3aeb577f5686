//! `pyro workspace disk list`.

use clap::Args;
use pyro_api::{
    operation::ListDisk,
    workspace::{disk::DiskListRequest, files::DEFAULT_ENTRY_LIMIT, identity::WorkspaceRef, path::GuestPath},
};

use super::anywhere;
use crate::{
    commands::{
        client,
        workspace::{file::entry_line, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// List a directory on the disk of a stopped workspace, anywhere in its guest
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The directory
    #[arg(default_value = "/workspace", value_parser = anywhere())]
    path: GuestPath,
    /// Also what is in directories below
    #[arg(long)]
    recursive: bool,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ENTRY_LIMIT)]
    limit: u64,
    /// Only entries after this path, where an earlier list ended
    #[arg(long, value_name = "PATH", value_parser = anywhere())]
    after: Option<GuestPath>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> DiskListRequest {
        DiskListRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            recursive: self.recursive,
            limit: self.limit,
            after: self.after.clone(),
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let list = client(settings).call::<ListDisk>(&request).await?;
    if arguments.json {
        output::json(&list)?;
        return Ok(0);
    }
    output::line(format!(
        "[workspace-disk-list] workspace_id={} path={} recursive={} entries={}",
        list.workspace_id,
        shown(&list.path),
        list.recursive,
        list.entries.len()
    ))?;
    for entry in &list.entries {
        output::line(entry_line(entry))?;
    }
    if let Some(after) = &list.next_after {
        output::note(format!("[workspace-disk-list] there are more: --after {}", shown(after)));
    }
    Ok(0)
}
