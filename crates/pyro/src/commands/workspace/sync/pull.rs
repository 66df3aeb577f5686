//! `pyro workspace sync pull`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::PullSync,
    workspace::{
        identity::WorkspaceRef,
        path::WorkspacePath,
        sync::{SyncPullRequest, SyncPulled},
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

/// Bring what changed in a workspace back to a directory of this host
///
/// What only the guest changed is taken. What both sides changed is a conflict: it is told, nothing is written there, and
/// the exit status is 1.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The directory [default: the one that the workspace was filled from]
    target_path: Option<PathBuf>,
    /// Only this path and what is below it; may be repeated
    #[arg(long, value_name = "PATH", value_parser = guest_path())]
    path: Vec<WorkspacePath>,
    /// Leave alone what matches this pattern, in the syntax of .gitignore; may be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<SyncPullRequest, ErrorBody> {
        let request = SyncPullRequest {
            workspace: self.workspace.clone(),
            target_path: self.target_path.as_deref().map(host_path::existing).transpose()?,
            paths: self.path.clone(),
            exclude: self.exclude.clone(),
            dry_run: self.dry_run,
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let pulled = follow::<PullSync>(&arguments.to_request()?, settings, &mut Sink::Drop).await?;
    let status = (pulled.workspace_sync.conflict_count > 0).into();
    if arguments.json {
        output::json(&pulled)?;
        return Ok(status);
    }
    tell(&pulled.workspace_sync.changes)?;
    for conflict in &pulled.workspace_sync.conflicts {
        let (guest, host) = (conflict.guest, conflict.host);
        output::line(format!("{} [conflict] guest={guest} host={host}", shown(&conflict.path)))?;
    }
    output::line(summary(&pulled))?;
    for note in &pulled.workspace_sync.notes {
        output::note(format!("[workspace-sync] {}", output::printable(note)));
    }
    Ok(status)
}

fn summary(pulled: &SyncPulled) -> String {
    let sync = &pulled.workspace_sync;
    format!(
        "[workspace-sync] workspace_id={} source_path={} destination={} entry_count={} bytes_written={} changed={} deleted={} conflicts={} dry_run={} execution_mode={}",
        pulled.workspace_id,
        shown(&sync.source_path),
        shown(&sync.destination),
        sync.entry_count,
        sync.bytes_written,
        sync.changed_count,
        sync.deleted_count,
        sync.conflict_count,
        sync.dry_run,
        pulled.execution_mode,
    )
}
