//! `pyro workspace disk read`.

use clap::Args;
use pyro_api::{
    Client, ErrorBody,
    operation::ReadDisk,
    workspace::{
        command::WantedEncoding,
        disk::{DiskRead, DiskReadRequest},
        files::{DEFAULT_READ_BYTES, READ_BYTES},
        identity::WorkspaceRef,
        path::GuestPath,
    },
};

use super::anywhere;
use crate::{
    commands::{
        client,
        workspace::{content, file::read::parse_encoding, view::shown},
    },
    output::{self, Failure, Status},
    settings::Settings,
};

/// Read a file on the disk of a stopped workspace, anywhere in its guest
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Id or name of the workspace
    workspace: WorkspaceRef,
    /// The file
    #[arg(value_parser = anywhere())]
    path: GuestPath,
    /// At most so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_READ_BYTES, conflicts_with = "raw")]
    max_bytes: u64,
    /// First byte, from 0
    #[arg(long, value_name = "BYTE", default_value_t = 0, conflicts_with = "raw")]
    offset: u64,
    /// How the content stands in JSON: utf-8, with the exact bytes beside it where it is none, auto or base64
    #[arg(long, value_name = "ENCODING", default_value = "utf-8", value_parser = parse_encoding)]
    encoding: WantedEncoding,
    /// Print only the content, as it is
    #[arg(long, conflicts_with = "json")]
    content_only: bool,
    /// Print all of the file, of any length, as it is
    #[arg(long, conflicts_with_all = ["json", "content_only"])]
    raw: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// The request that the flags mean.
    pub(crate) fn to_request(&self) -> DiskReadRequest {
        DiskReadRequest {
            workspace: self.workspace.clone(),
            path: self.path.clone(),
            max_bytes: self.max_bytes,
            offset: self.offset,
            encoding: self.encoding,
        }
    }
}

pub(super) async fn perform(arguments: Arguments, settings: &Settings) -> Result<Status, Failure> {
    let request = arguments.to_request();
    request.check()?;
    let client = client(settings);
    if arguments.raw {
        return print_all(&client, request).await;
    }
    let read = client.call::<ReadDisk>(&request).await?;
    if arguments.json {
        output::json(&read)?;
        return Ok(0);
    }
    content::print(&exact(&read)?, (!arguments.content_only).then(|| summary(&read)))?;
    Ok(0)
}

/// Prints a file of any length, piece by piece. Nothing writes to it meanwhile: a workspace does not start while its disk is read,
/// and one that is started between two pieces ends this with an error.
async fn print_all(client: &Client, mut request: DiskReadRequest) -> Result<Status, Failure> {
    request.max_bytes = *READ_BYTES.end();
    request.encoding = WantedEncoding::Base64;
    loop {
        let read = client.call::<ReadDisk>(&request).await?;
        output::write(&exact(&read)?)?;
        if !read.truncated || read.bytes_read == 0 {
            return Ok(0);
        }
        request.offset += read.bytes_read;
    }
}

fn exact(read: &DiskRead) -> Result<Vec<u8>, ErrorBody> {
    content::exact(&read.content, read.encoding, read.content_base64.as_deref())
}

fn summary(read: &DiskRead) -> String {
    format!(
        "[workspace-disk-read] workspace_id={} path={} size_bytes={} max_bytes={} truncated={}",
        read.workspace_id,
        shown(&read.path),
        read.size_bytes,
        read.max_bytes,
        read.truncated
    )
}
