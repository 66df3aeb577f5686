//! `pyro workspace export`.

use std::path::{Path, PathBuf};

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::ExportFromWorkspace,
    workspace::{
        export::{ExportFormat, WorkspaceExportRequest, WorkspaceExported},
        identity::WorkspaceRef,
        path::WorkspacePath,
    },
};

use super::{file::guest_path, follow, host_path, view::shown};
use crate::{
    commands::stream::Sink,
    output::{self, Failure, Status},
    settings::Settings,
};

/// Take a file, a directory, or everything that changed out of a workspace
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// What to take; of a patch, what is below it
    #[arg(default_value = "/workspace", value_parser = guest_path())]
    path: WorkspacePath,
    /// Where to, on this host; - for standard output
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// As a tar archive
    #[arg(long, conflicts_with = "patch")]
    tar: bool,
    /// Everything that changed, as a patch
    #[arg(long)]
    patch: bool,
    /// Replace what is at the output path
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<WorkspaceExportRequest, ErrorBody> {
        let output_path = match self.goes_to_stdout() {
            true => None,
            false => Some(host_path::absolute(&self.output)?),
        };
        let format = match (self.tar, self.patch) {
            (true, _) => ExportFormat::Tar,
            (false, true) => ExportFormat::Patch,
            (false, false) => ExportFormat::Tree,
        };
        let request = WorkspaceExportRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            output_path,
            format,
            force: self.force,
        };
        request.check()?;
        Ok(request)
    }

    fn goes_to_stdout(&self) -> bool {
        self.output == Path::new("-")
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    let mut sink = if arguments.goes_to_stdout() { Sink::PassOn } else { Sink::Drop };
    let exported = follow::<ExportFromWorkspace>(&request, settings, &mut sink).await?;
    if arguments.goes_to_stdout() {
        output::note(summary(&exported));
    } else if arguments.json {
        output::json(&exported)?;
    } else {
        output::line(summary(&exported))?;
    }
    for note in &exported.notes {
        output::note(format!("[workspace-export] {}", output::printable(note)));
    }
    Ok(0)
}

fn summary(exported: &WorkspaceExported) -> String {
    format!(
        "[workspace-export] workspace_id={} workspace_path={} output_path={} artifact_type={} format={} entry_count={} bytes_written={} execution_mode={}",
        exported.workspace_id,
        shown(&exported.workspace_path),
        exported.output_path.as_ref().map_or_else(|| "-".to_owned(), shown),
        exported.artifact_type,
        exported.format,
        exported.entry_count,
        exported.bytes_written,
        exported.execution_mode,
    )
}
