//! `pyro workspace file glob`.

use clap::Args;
use pyro_api::{
    operation::GlobFiles,
    workspace::{
        files::DEFAULT_ENTRY_LIMIT, identity::WorkspaceRef, path::WorkspacePath, search::FileGlobRequest,
    },
};

use super::{entry_line, guest_path, tell_notes};
use crate::{
    commands::client,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Find paths that match a pattern
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The pattern, over paths relative to --path; ** crosses directories
    pattern: String,
    /// Below this directory
    #[arg(long, value_name = "DIR", default_value = "/workspace", value_parser = guest_path())]
    path: WorkspacePath,
    /// At most so many paths
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ENTRY_LIMIT)]
    limit: u64,
    /// Leave out what .gitignore files name
    #[arg(long)]
    respect_gitignore: bool,
    /// Leave out names that begin with a dot
    #[arg(long)]
    skip_hidden: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> FileGlobRequest {
        FileGlobRequest {
            workspace: self.workspace.clone(),
            pattern: self.pattern.clone(),
            path: self.path.clone(),
            limit: self.limit,
            respect_gitignore: self.respect_gitignore,
            skip_hidden: self.skip_hidden,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let found = client(settings).call::<GlobFiles>(&request).await?;
    if arguments.json {
        output::json(&found)?;
        return Ok(0);
    }
    for entry in &found.entries {
        output::line(entry_line(entry))?;
    }
    if found.truncated {
        output::note(format!("[workspace-file-glob] only the first {} paths", found.count));
    }
    tell_notes(&found.notes);
    Ok(0)
}
