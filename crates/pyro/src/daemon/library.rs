//! The answers of the real daemon: each operation handed to the library, in its words.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Instant};

use async_trait::async_trait;
use pyro_api::{
    ErrorBody, ErrorCode,
    environment::{
        EnvImportRequest, EnvInspectRequest, EnvListRequest, EnvPruneRequest, EnvPullRequest, Environment,
        EnvironmentList, PruneResult, PulledEnvironment,
    },
    frame::Kind,
    gc::{GcRequest, GcResult},
    run::{RunEvent as ContractEvent, RunReport, RunRequest},
    vm::{
        Vm, VmCreateRequest, VmDeleteRequest, VmDeleted, VmExecRequest, VmNetworkInfo, VmNetworkInfoRequest,
        VmReapRequest, VmStartRequest, VmStatusRequest, VmStopRequest, VmsReaped,
    },
    workspace::{
        archive::{WorkspaceLoadRequest, WorkspaceSaveRequest, WorkspaceSaved},
        command::{OutputPiece, WorkspaceLogs, WorkspaceLogsRequest, WorkspaceOutputRequest},
        create::WorkspaceCreateRequest,
        diff::{WorkspaceDiff, WorkspaceDiffRequest},
        disk::{DiskExportRequest, DiskExported, DiskList, DiskListRequest, DiskRead, DiskReadRequest},
        exec::{ExecReport, WorkspaceExecRequest},
        export::{WorkspaceExportRequest, WorkspaceExported},
        files::{
            FileChanged, FileCopyRequest, FileDeleteRequest, FileList, FileListRequest, FileMkdirRequest,
            FileMoveRequest, FileRead, FileReadRequest, FileReplaceRequest, FileReplaced, FileStat,
            FileStatRequest, FileWriteRequest, FileWritten,
        },
        job::{JobKillRequest, JobKilled, JobList, JobListRequest, JobLogs, JobLogsRequest, JobWaitRequest},
        lifecycle::{
            WorkspaceDeleteRequest, WorkspaceDeleted, WorkspaceStartRequest, WorkspaceStatusRequest,
            WorkspaceStopRequest, WorkspaceUpdateRequest,
        },
        list::{WorkspaceList, WorkspaceListRequest},
        patch::{PatchApplyRequest, PatchResult},
        search::{FileGlob, FileGlobRequest, FileGrep, FileGrepRequest},
        snapshot::{
            SnapshotCreateRequest, SnapshotDeleteRequest, SnapshotDeleted, SnapshotInspectRequest,
            SnapshotList, SnapshotListRequest, SnapshotResult, WorkspaceForkRequest, WorkspaceForked,
            WorkspaceReset, WorkspaceResetRequest, WorkspaceSleepRequest,
        },
        summary::{WorkspaceSummary, WorkspaceSummaryRequest},
        sync::{SyncPullRequest, SyncPulled, SyncPushRequest, SyncPushed},
        timeline::{Timeline, WorkspaceTimelineRequest, WorkspaceUndoRequest, WorkspaceUndone},
        transfer::{FileDownloadRequest, FileDownloaded, FileUploadRequest},
        view::Workspace,
        wait::{WorkspaceRevision, WorkspaceWaitRequest},
    },
};
use pyro_environments::{CATALOGUE_VERSION, Cancellation, Environments, ImportSource, Progress};
use pyro_workspace::{Error, Host, RunEvent, RunIo};
use tokio::sync::{OnceCell, mpsc};

use super::{
    answers::{
        archive, changes, commands, disk, files, lifecycle, snapshots, summary, timeline, transfer, vm,
    },
    assembly,
    convert::{self, error_body},
    faults,
    handler::{Handler, StreamOutput, Streams},
};
use crate::settings::Settings;

/// The library. Environments can be had on any host; machines as soon as the host has what they need, so that a
/// missing program spoils nothing else, and its installation is noticed without a new daemon: the first request that
/// needs machines opens what could not be opened at the start, and so ends the machines of daemons that died.
#[derive(Debug)]
pub(super) struct Library {
    settings: Settings,
    environments: Arc<Environments>,
    host: OnceCell<Host>,
}

impl Library {
    /// Opens what can be opened, which ends the machines of daemons that died.
    pub(super) async fn open(settings: &Settings) -> Result<Self, ErrorBody> {
        faults::arm(&settings.faults)?;
        let environments = Arc::new(assembly::environments(settings)?);
        let library = Self { settings: settings.clone(), environments, host: OnceCell::new() };
        if let Err(error) = library.host().await {
            tracing::warn!(code = %error.code, %error, "machines cannot be had yet");
        }
        Ok(library)
    }

    async fn host(&self) -> Result<&Host, ErrorBody> {
        self.host
            .get_or_try_init(|| assembly::open_host(&self.settings, Arc::clone(&self.environments), true))
            .await
    }

    /// Does blocking work with the environments on a thread of its own; dropping the future cancels it.
    async fn with_environments<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Environments, &Cancellation) -> pyro_environments::Result<T> + Send + 'static,
    ) -> Result<T, ErrorBody> {
        let environments = Arc::clone(&self.environments);
        let cancellation = Cancellation::new().map_err(|error| {
            ErrorBody::new(ErrorCode::HostExhausted, format!("cannot make a descriptor: {error}"))
        })?;
        let _abandoned = CancelOnDrop(cancellation.clone());
        match tokio::task::spawn_blocking(move || work(&environments, &cancellation)).await {
            Ok(done) => done.map_err(|error| error_body(&Error::from(error))),
            Err(error) => Err(ErrorBody::new(
                ErrorCode::Internal,
                format!("the work failed by a fault of pyro: {error}"),
            )),
        }
    }

    /// Does work of the environments' library with its progress told, until it ends or is cancelled.
    async fn make(
        &self,
        streams: Streams,
        work: impl FnOnce(
            &Environments,
            &Cancellation,
            &mut dyn FnMut(&Progress),
        ) -> pyro_environments::Result<PulledEnvironment>
        + Send
        + 'static,
    ) -> Result<PulledEnvironment, ErrorBody> {
        let (reports, told) = mpsc::channel(16);
        let telling = tell_progress(told, &streams.output);
        let making = self.with_environments(move |environments, cancellation| {
            let mut report = |progress: &Progress| {
                // A bar that misses a step is no harm; a builder that waits for a terminal is.
                drop(reports.try_send(convert::pull_event(progress)));
            };
            work(environments, cancellation, &mut report)
        });
        tokio::select! {
            (made, ()) = async { tokio::join!(making, telling) } => made,
            () = streams.cancel.cancelled() => Err(ErrorBody::new(ErrorCode::Cancelled, "cancelled")),
        }
    }

    async fn environments<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Environments) -> pyro_environments::Result<T> + Send + 'static,
    ) -> Result<T, ErrorBody> {
        self.with_environments(move |environments, _| work(environments)).await
    }
}

/// Stops a builder for whom nobody waits.
struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn tell_progress(mut told: mpsc::Receiver<pyro_api::environment::PullEvent>, output: &StreamOutput) {
    while let Some(event) = told.recv().await {
        // A client that has gone cancels the work elsewhere.
        let _sent = output.event(&event).await;
    }
}

/// Passes on what happens in a run until the library says no more.
async fn tell_run(mut events: mpsc::Receiver<RunEvent>, output: &StreamOutput) {
    while let Some(event) = events.recv().await {
        let sent = match event {
            RunEvent::Stdout(bytes) => output.bytes(Kind::Stdout, bytes).await,
            RunEvent::Stderr(bytes) => output.bytes(Kind::Stderr, bytes).await,
            other => match convert::run_event(&other) {
                Some(event) => output.event(&event).await,
                None => Ok(()),
            },
        };
        // Dropping the channel tells the library that nobody waits any more.
        if sent.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Handler for Library {
    async fn run(&self, request: RunRequest, streams: Streams) -> Result<RunReport, ErrorBody> {
        let begun = Instant::now();
        request.check()?;
        // If the client has gone, the run is cancelled by what follows.
        let created = ContractEvent::Phase { phase: "create".to_owned(), vm_id: None };
        let _sent = streams.output.event(&created).await;
        let Streams { output, stdin, cancel } = streams;
        let (events, told) = mpsc::channel(16);
        let running = self.host().await?.run(convert::run_request(&request), RunIo { events, stdin, cancel });
        let (outcome, ()) = tokio::join!(running, tell_run(told, &output));
        match outcome {
            Ok(outcome) => Ok(convert::run_report(&request, &outcome, begun.elapsed())),
            Err(error) => {
                let body = error_body(&error);
                tracing::warn!(code = %body.code, %error, "a run failed");
                Err(body)
            }
        }
    }

    async fn env_list(&self, EnvListRequest {}: EnvListRequest) -> Result<EnvironmentList, ErrorBody> {
        let list = self.environments(|environments| Ok(environments.list())).await?;
        let environments = list.into_iter().map(convert::environment).collect();
        Ok(EnvironmentList { catalog_version: CATALOGUE_VERSION.to_owned(), environments })
    }

    async fn env_inspect(&self, request: EnvInspectRequest) -> Result<Environment, ErrorBody> {
        let EnvInspectRequest { environment: name, verify } = request;
        let (info, verification) = self
            .environments(move |environments| {
                let info = environments.inspect(&name)?;
                let verification =
                    (verify && info.installed).then(|| environments.verify(&name)).transpose()?;
                Ok((info, verification))
            })
            .await?;
        let unsound = verification.iter().flat_map(|done| &done.files).find(|file| !file.is_sound());
        if let Some(file) = unsound {
            let found =
                file.found.as_ref().map_or_else(Clone::clone, |digest| format!("sha256:{}", digest.as_str()));
            let text = format!(
                "{} is damaged: expected sha256:{}, found {found}",
                file.file.display(),
                file.expected.as_str()
            );
            return Err(ErrorBody::new(ErrorCode::EnvironmentDamaged, text)
                .with_hint(format!("make it again with `pyro env pull {}`", info.name)));
        }
        Ok(Environment { verified: verification.map(|done| done.is_sound()), ..convert::environment(info) })
    }

    async fn env_pull(
        &self,
        request: EnvPullRequest,
        streams: Streams,
    ) -> Result<PulledEnvironment, ErrorBody> {
        let name = request.environment;
        self.make(streams, move |environments, cancellation, report| {
            let installed = environments.pull(&name, cancellation, report)?;
            Ok(convert::pulled(environments.inspect(&name)?, &installed))
        })
        .await
    }

    async fn env_prune(&self, EnvPruneRequest {}: EnvPruneRequest) -> Result<PruneResult, ErrorBody> {
        // What a machine uses it has open, so it is not lost to the machine when its name goes.
        let pruned = self.environments(|environments| environments.prune(&HashSet::new())).await?;
        // Which templates are in use is known where machines can be had; elsewhere none is touched.
        let templates_removed = match self.host().await {
            Ok(host) => host.prune_templates().await.map_err(|error| error_body(&error))?,
            Err(error) => {
                tracing::warn!(code = %error.code, %error, "templates are not pruned");
                0
            }
        };
        Ok(PruneResult {
            count: pruned.deleted.len(),
            deleted_environment_dirs: pruned.deleted,
            templates_removed,
        })
    }

    async fn env_import(
        &self,
        request: EnvImportRequest,
        streams: Streams,
    ) -> Result<PulledEnvironment, ErrorBody> {
        let EnvImportRequest { name, source_path } = request;
        let path = PathBuf::from(source_path);
        if !path.is_absolute() {
            return Err(ErrorBody::new(ErrorCode::InvalidRequest, "source_path is not an absolute path"));
        }
        self.make(streams, move |environments, cancellation, report| {
            let source = ImportSource::at(path)?;
            let installed = environments.import(&name, &source, cancellation, report)?;
            Ok(convert::pulled(environments.inspect(&name)?, &installed))
        })
        .await
    }

    async fn workspace_create(
        &self,
        request: WorkspaceCreateRequest,
        streams: Streams,
    ) -> Result<Workspace, ErrorBody> {
        lifecycle::create(self.host().await?, request, streams).await
    }

    async fn workspace_list(&self, request: WorkspaceListRequest) -> Result<WorkspaceList, ErrorBody> {
        lifecycle::list(self.host().await?, request).await
    }

    async fn workspace_status(&self, request: WorkspaceStatusRequest) -> Result<Workspace, ErrorBody> {
        lifecycle::status(self.host().await?, request.workspace.as_str()).await
    }

    async fn workspace_summary(
        &self,
        request: WorkspaceSummaryRequest,
    ) -> Result<WorkspaceSummary, ErrorBody> {
        summary::summarize(self.host().await?, request).await
    }

    async fn workspace_wait(
        &self,
        request: WorkspaceWaitRequest,
        streams: Streams,
    ) -> Result<WorkspaceRevision, ErrorBody> {
        lifecycle::wait(self.host().await?, request, streams).await
    }

    async fn workspace_update(&self, request: WorkspaceUpdateRequest) -> Result<Workspace, ErrorBody> {
        lifecycle::update(self.host().await?, request).await
    }

    async fn workspace_start(&self, request: WorkspaceStartRequest) -> Result<Workspace, ErrorBody> {
        lifecycle::start(self.host().await?, request.workspace.as_str()).await
    }

    async fn workspace_stop(&self, request: WorkspaceStopRequest) -> Result<Workspace, ErrorBody> {
        lifecycle::stop(self.host().await?, request.workspace.as_str()).await
    }

    async fn workspace_delete(&self, request: WorkspaceDeleteRequest) -> Result<WorkspaceDeleted, ErrorBody> {
        lifecycle::delete(self.host().await?, request).await
    }

    async fn gc(&self, request: GcRequest) -> Result<GcResult, ErrorBody> {
        lifecycle::collect_garbage(self.host().await?, request).await
    }

    async fn workspace_exec(
        &self,
        request: WorkspaceExecRequest,
        streams: Streams,
    ) -> Result<ExecReport, ErrorBody> {
        commands::exec(self.host().await?, request, streams).await
    }

    async fn workspace_logs(&self, request: WorkspaceLogsRequest) -> Result<WorkspaceLogs, ErrorBody> {
        commands::logs(self.host().await?, request).await
    }

    async fn workspace_output(&self, request: WorkspaceOutputRequest) -> Result<OutputPiece, ErrorBody> {
        commands::output(self.host().await?, request).await
    }

    async fn workspace_job_list(&self, request: JobListRequest) -> Result<JobList, ErrorBody> {
        commands::job_list(self.host().await?, request).await
    }

    async fn workspace_job_wait(
        &self,
        request: JobWaitRequest,
        streams: Streams,
    ) -> Result<ExecReport, ErrorBody> {
        commands::job_wait(self.host().await?, request, streams).await
    }

    async fn workspace_job_logs(&self, request: JobLogsRequest) -> Result<JobLogs, ErrorBody> {
        commands::job_logs(self.host().await?, request).await
    }

    async fn workspace_job_kill(&self, request: JobKillRequest) -> Result<JobKilled, ErrorBody> {
        commands::job_kill(self.host().await?, request).await
    }

    async fn workspace_file_list(&self, request: FileListRequest) -> Result<FileList, ErrorBody> {
        files::file_list(self.host().await?, request).await
    }

    async fn workspace_file_read(&self, request: FileReadRequest) -> Result<FileRead, ErrorBody> {
        files::file_read(self.host().await?, request).await
    }

    async fn workspace_file_write(&self, request: FileWriteRequest) -> Result<FileWritten, ErrorBody> {
        files::file_write(self.host().await?, request).await
    }

    async fn workspace_file_stat(&self, request: FileStatRequest) -> Result<FileStat, ErrorBody> {
        files::file_stat(self.host().await?, request).await
    }

    async fn workspace_file_mkdir(&self, request: FileMkdirRequest) -> Result<FileChanged, ErrorBody> {
        files::file_mkdir(self.host().await?, request).await
    }

    async fn workspace_file_move(&self, request: FileMoveRequest) -> Result<FileChanged, ErrorBody> {
        files::file_move(self.host().await?, request).await
    }

    async fn workspace_file_copy(&self, request: FileCopyRequest) -> Result<FileChanged, ErrorBody> {
        files::file_copy(self.host().await?, request).await
    }

    async fn workspace_file_delete(&self, request: FileDeleteRequest) -> Result<FileChanged, ErrorBody> {
        files::file_delete(self.host().await?, request).await
    }

    async fn workspace_file_glob(&self, request: FileGlobRequest) -> Result<FileGlob, ErrorBody> {
        changes::file_glob(self.host().await?, request).await
    }

    async fn workspace_file_grep(&self, request: FileGrepRequest) -> Result<FileGrep, ErrorBody> {
        changes::file_grep(self.host().await?, request).await
    }

    async fn workspace_file_replace(&self, request: FileReplaceRequest) -> Result<FileReplaced, ErrorBody> {
        files::file_replace(self.host().await?, request).await
    }

    async fn workspace_patch_apply(&self, request: PatchApplyRequest) -> Result<PatchResult, ErrorBody> {
        changes::patch_apply(self.host().await?, request).await
    }

    async fn workspace_diff(&self, request: WorkspaceDiffRequest) -> Result<WorkspaceDiff, ErrorBody> {
        changes::diff(self.host().await?, request).await
    }

    async fn workspace_file_download(
        &self,
        request: FileDownloadRequest,
        streams: Streams,
    ) -> Result<FileDownloaded, ErrorBody> {
        transfer::file_download(self.host().await?, request, streams).await
    }

    async fn workspace_file_upload(
        &self,
        request: FileUploadRequest,
        streams: Streams,
    ) -> Result<FileWritten, ErrorBody> {
        transfer::file_upload(self.host().await?, request, streams).await
    }

    async fn workspace_sync_push(
        &self,
        request: SyncPushRequest,
        streams: Streams,
    ) -> Result<SyncPushed, ErrorBody> {
        transfer::sync_push(self.host().await?, request, streams).await
    }

    async fn workspace_sync_pull(
        &self,
        request: SyncPullRequest,
        streams: Streams,
    ) -> Result<SyncPulled, ErrorBody> {
        transfer::sync_pull(self.host().await?, request, streams).await
    }

    async fn workspace_export(
        &self,
        request: WorkspaceExportRequest,
        streams: Streams,
    ) -> Result<WorkspaceExported, ErrorBody> {
        transfer::export(self.host().await?, request, streams).await
    }

    async fn workspace_disk_list(&self, request: DiskListRequest) -> Result<DiskList, ErrorBody> {
        disk::list(self.host().await?, request).await
    }

    async fn workspace_disk_read(&self, request: DiskReadRequest) -> Result<DiskRead, ErrorBody> {
        disk::read(self.host().await?, request).await
    }

    async fn workspace_disk_export(
        &self,
        request: DiskExportRequest,
        streams: Streams,
    ) -> Result<DiskExported, ErrorBody> {
        disk::export(self.host().await?, request, streams).await
    }

    async fn snapshot_create(&self, request: SnapshotCreateRequest) -> Result<SnapshotResult, ErrorBody> {
        snapshots::create(self.host().await?, request).await
    }

    async fn snapshot_list(&self, request: SnapshotListRequest) -> Result<SnapshotList, ErrorBody> {
        snapshots::list(self.host().await?, request.workspace.as_str()).await
    }

    async fn snapshot_inspect(&self, request: SnapshotInspectRequest) -> Result<SnapshotResult, ErrorBody> {
        snapshots::inspect(self.host().await?, request).await
    }

    async fn snapshot_delete(&self, request: SnapshotDeleteRequest) -> Result<SnapshotDeleted, ErrorBody> {
        snapshots::delete(self.host().await?, request).await
    }

    async fn workspace_reset(&self, request: WorkspaceResetRequest) -> Result<WorkspaceReset, ErrorBody> {
        snapshots::reset(self.host().await?, request).await
    }

    async fn workspace_undo(&self, request: WorkspaceUndoRequest) -> Result<WorkspaceUndone, ErrorBody> {
        timeline::undo(self.host().await?, request).await
    }

    async fn workspace_timeline(&self, request: WorkspaceTimelineRequest) -> Result<Timeline, ErrorBody> {
        timeline::timeline(self.host().await?, request.workspace.as_str()).await
    }

    async fn workspace_fork(
        &self,
        request: WorkspaceForkRequest,
        streams: Streams,
    ) -> Result<WorkspaceForked, ErrorBody> {
        snapshots::fork(self.host().await?, request, streams).await
    }

    async fn workspace_sleep(&self, request: WorkspaceSleepRequest) -> Result<Workspace, ErrorBody> {
        snapshots::sleep(self.host().await?, request.workspace.as_str()).await
    }

    async fn workspace_save(
        &self,
        request: WorkspaceSaveRequest,
        streams: Streams,
    ) -> Result<WorkspaceSaved, ErrorBody> {
        archive::save(self.host().await?, request, streams).await
    }

    async fn workspace_load(
        &self,
        request: WorkspaceLoadRequest,
        streams: Streams,
    ) -> Result<Workspace, ErrorBody> {
        archive::load(self.host().await?, request, streams).await
    }

    async fn vm_create(&self, request: VmCreateRequest) -> Result<Vm, ErrorBody> {
        vm::create(self.host().await?, request).await
    }

    async fn vm_start(&self, request: VmStartRequest) -> Result<Vm, ErrorBody> {
        vm::start(self.host().await?, &request.vm_id).await
    }

    async fn vm_stop(&self, request: VmStopRequest) -> Result<Vm, ErrorBody> {
        vm::stop(self.host().await?, &request.vm_id).await
    }

    async fn vm_status(&self, request: VmStatusRequest) -> Result<Vm, ErrorBody> {
        vm::status(self.host().await?, &request.vm_id).await
    }

    async fn vm_delete(&self, request: VmDeleteRequest) -> Result<VmDeleted, ErrorBody> {
        vm::delete(self.host().await?, request).await
    }

    async fn vm_network_info(&self, request: VmNetworkInfoRequest) -> Result<VmNetworkInfo, ErrorBody> {
        vm::network_info(self.host().await?, &request.vm_id).await
    }

    async fn vm_reap_expired(&self, VmReapRequest {}: VmReapRequest) -> Result<VmsReaped, ErrorBody> {
        vm::reap(self.host().await?).await
    }

    async fn vm_exec(&self, request: VmExecRequest, streams: Streams) -> Result<RunReport, ErrorBody> {
        vm::exec(self.host().await?, request, streams).await
    }

    fn live(&self) -> usize {
        self.host.get().map_or(0, Host::live)
    }

    async fn settled(&self) {
        if let Some(host) = self.host.get() {
            host.settled().await;
        }
    }
}
