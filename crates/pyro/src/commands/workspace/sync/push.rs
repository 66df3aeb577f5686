//! `pyro workspace sync push`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::PushSync,
    workspace::{
        identity::WorkspaceRef,
        path::WorkspacePath,
        sync::{SyncPushRequest, SyncPushed},
    },
};

use super::tell;
use crate::{
    commands::{
        stream::Sink,
        workspace::{file::guest_path, follow, host_path, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Bring files of this host into a workspace: all of them, or none
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Directory, .tar, .tar.gz, .tgz or .tar.zst
    source_path: PathBuf,
    /// Directory of the workspace that takes them; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "/workspace", value_parser = guest_path())]
    dest: WorkspacePath,
    /// Also delete what the source does not have, but for what --exclude names
    #[arg(long)]
    delete: bool,
    /// Leave alone what matches this pattern, in the syntax of .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Take only what Git tracks in the source directory, as it is now
    #[arg(long)]
    git: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<SyncPushRequest, ErrorBody> {
        let request = SyncPushRequest {
            workspace: self.workspace.clone(),
            source_path: host_path::existing(&self.source_path)?,
            dest: self.dest.clone(),
            delete: self.delete,
            exclude: self.exclude.clone(),
            git: self.git,
            dry_run: self.dry_run,
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let pushed = follow::<PushSync>(&arguments.to_request()?, settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&pushed)?;
        return Ok(0);
    }
    if arguments.dry_run {
        tell(&pushed.workspace_sync.changes)?;
    }
    output::line(summary(&pushed))?;
    for note in &pushed.workspace_sync.notes {
        output::note(format!("[workspace-sync] {}", output::printable(note)));
    }
    Ok(0)
}

fn summary(pushed: &SyncPushed) -> String {
    let sync = &pushed.workspace_sync;
    format!(
        "[workspace-sync] workspace_id={} mode={} source_path={} destination={} entry_count={} bytes_written={} changed={} deleted={} dry_run={} execution_mode={}",
        pushed.workspace_id,
        sync.mode,
        shown(&sync.source_path),
        shown(&sync.destination),
        sync.entry_count,
        sync.bytes_written,
        sync.changed_count,
        sync.deleted_count,
        sync.dry_run,
        pushed.execution_mode,
    )
}
