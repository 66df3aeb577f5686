//! A stopped workspace as one file.

use pyro_api::{
    ErrorBody,
    workspace::{
        archive::{WorkspaceLoadRequest, WorkspaceSaveRequest, WorkspaceSaved},
        progress::{WorkEvent, WorkProgress},
        view::Workspace,
    },
};
use pyro_workspace::{
    Host,
    workspaces::{LoadEvent, LoadIo, LoadRequest, SaveRequest},
};
use tokio::sync::mpsc;

use super::{
    entries::failed,
    labels,
    lifecycle::{full, host_path},
    transfer::{attended, reporter, share, tell},
};
use crate::daemon::handler::{StreamOutput, Streams};

pub(in crate::daemon) async fn save(
    host: &Host,
    request: WorkspaceSaveRequest,
    streams: Streams,
) -> Result<WorkspaceSaved, ErrorBody> {
    request.check()?;
    let workspaces = host.workspaces();
    let disk = workspaces.disk(request.workspace.as_str()).await.map_err(|error| failed(&error))?;
    let (report, told) = reporter();
    let save = SaveRequest { path: host_path(request.output_path.clone()), force: request.force };
    let saving = workspaces.save(&disk, save, report);
    let (saved, ()) = attended(saving, tell("save", None, told, &streams.output), &streams.cancel).await?;
    Ok(WorkspaceSaved {
        workspace_id: disk.workspace().to_string(),
        output_path: request.output_path,
        bytes_written: saved.length_bytes,
        data_bytes: saved.data_bytes,
        sha256: saved.digest,
    })
}

pub(in crate::daemon) async fn load(
    host: &Host,
    request: WorkspaceLoadRequest,
    streams: Streams,
) -> Result<Workspace, ErrorBody> {
    request.check()?;
    let Streams { output, stdin: _, cancel } = streams;
    let (events, told) = mpsc::channel(64);
    let load = LoadRequest {
        path: host_path(request.input_path),
        name: request.name.map(String::from),
        labels: labels(request.labels),
    };
    let loading = host.workspaces().load(load, LoadIo { events, cancel });
    let (loaded, ()) = tokio::join!(loading, tell_load(told, &output));
    full(host, loaded.map_err(|error| failed(&error))?).await
}

async fn tell_load(mut events: mpsc::Receiver<LoadEvent>, output: &StreamOutput) {
    while let Some(event) = events.recv().await {
        let (step, bytes, fraction) = match event {
            LoadEvent::Verifying { bytes, all_bytes } => {
                ("verify".to_owned(), bytes, Some(share(bytes, all_bytes)))
            }
            LoadEvent::Pulling { phase, fraction } => (phase, 0, fraction),
            LoadEvent::Writing { bytes, all_bytes } => {
                ("load".to_owned(), bytes, Some(share(bytes, all_bytes)))
            }
        };
        let progress = WorkProgress { step, bytes, fraction, ..WorkProgress::default() };
        // Dropping the channel tells the library that nobody waits any more.
        if output.event(&WorkEvent::Progress(progress)).await.is_err() {
            return;
        }
    }
}
