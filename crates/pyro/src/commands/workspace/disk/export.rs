//! `pyro workspace disk export`.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{
    ErrorBody,
    operation::ExportDisk,
    workspace::{
        disk::{DiskExportRequest, DiskExported},
        identity::WorkspaceRef,
    },
};

use crate::{
    commands::{
        stream::Sink,
        workspace::{follow, host_path, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Take the disk of a stopped workspace to this host, as a raw ext4 image with holes
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// Where to, on this host
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
    /// Everything the guest sees, the environment included, as a tar archive
    #[arg(long)]
    merged: bool,
    /// Replace what is at the output path
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> Result<DiskExportRequest, ErrorBody> {
        let request = DiskExportRequest {
            workspace: self.workspace.clone(),
            output_path: host_path::absolute(&self.output)?,
            merged: self.merged,
            force: self.force,
        };
        request.check()?;
        Ok(request)
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request()?;
    let exported = follow::<ExportDisk>(&request, settings, &mut Sink::Drop).await?;
    if arguments.json {
        output::json(&exported)?;
    } else {
        output::line(summary(&exported))?;
    }
    Ok(0)
}

fn summary(exported: &DiskExported) -> String {
    format!(
        "[workspace-disk-export] workspace_id={} output_path={} disk_format={} bytes_written={} allocated_bytes={}",
        exported.workspace_id,
        shown(&exported.output_path),
        exported.disk_format,
        exported.bytes_written,
        exported.allocated_bytes,
    )
}
