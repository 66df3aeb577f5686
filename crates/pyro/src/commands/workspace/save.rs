//! `pyro workspace save`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::SaveWorkspace,
    workspace::{
        archive::{WorkspaceSaveRequest, WorkspaceSaved},
        identity::WorkspaceRef,
    },
};

use super::{follow, host_path, view::shown};
use crate::{
    commands::stream::Sink,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Save a stopped workspace into one file, which `workspace load` takes on any host with the same environment
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The file, on this host
    #[arg(value_name = "FILE")]
    output_path: PathBuf,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<WorkspaceSaveRequest, ErrorBody> {
        let request = WorkspaceSaveRequest {
            workspace: self.workspace.clone(),
            output_path: host_path::absolute(&self.output_path)?,
            force: self.force,
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    let saved = follow::<SaveWorkspace>(&request, settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&saved)?;
    } else {
        output::line(summary(&saved))?;
    }
    Ok(0)
}

fn summary(saved: &WorkspaceSaved) -> String {
    format!(
        "[workspace-save] workspace_id={} output_path={} bytes_written={} data_bytes={} sha256={}",
        saved.workspace_id,
        shown(&saved.output_path),
        saved.bytes_written,
        saved.data_bytes,
        saved.sha256,
    )
}
