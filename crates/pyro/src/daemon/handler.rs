//! What the server asks for each operation. The real answers come from the library ([`super::library`]);
//! tests script their own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Request, Response, StatusCode, body::Incoming};
use pyro_api::{
    Call, ErrorBody, ErrorCode, Operation,
    body::{ChannelBody, FrameSender, PeerGone},
    frame::{Frame, Kind},
    operation::{
        ApplyPatch, CollectGarbage, CopyFile, CreateSnapshot, CreateVm, CreateWorkspace, DeleteFile,
        DeleteSnapshot, DeleteVm, DeleteWorkspace, DiffWorkspace, DownloadFile, EnvImport, EnvInspect,
        EnvList, EnvPrune, EnvPull, ExecInVm, ExecInWorkspace, ExportDisk, ExportFromWorkspace,
        ForkWorkspace, GetJobLogs, GetTimeline, GetVmNetworkInfo, GetVmStatus, GetWorkspaceLogs,
        GetWorkspaceOutput, GetWorkspaceStatus, GlobFiles, GrepFiles, InspectSnapshot, KillJob, ListDisk,
        ListFiles, ListJobs, ListSnapshots, ListWorkspaces, LoadWorkspace, MakeDirectory, MoveFile, PullSync,
        PushSync, ReadDisk, ReadFile, ReapVms, ReplaceInFile, ResetWorkspace, Run, SaveWorkspace,
        SleepWorkspace, StartVm, StartWorkspace, StatFile, StopVm, StopWorkspace, SummarizeWorkspace,
        UndoWorkspace, UpdateWorkspace, UploadFile, WaitForChange, WaitForJob, WriteFile,
    },
};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    activity::InWork,
    server::{Server, respond_error},
};

/// Each operation that the server does not answer by itself, with the method that does.
macro_rules! handler {
    (unary { $($unary:ident $answer:ident;)+ } streaming { $($streaming:ident $flow:ident;)+ }) => {
        /// Answers operations. Every request is a task of its own; a panic in one is the failure of that one.
        #[async_trait]
        pub(crate) trait Handler: Send + Sync + 'static {
            $(async fn $answer(
                &self,
                _request: <$unary as Call>::Request,
            ) -> Result<<$unary as Call>::Result, ErrorBody> {
                Err(unanswered($unary::OPERATION))
            })+

            $(async fn $flow(
                &self,
                _request: <$streaming as Call>::Request,
                _streams: Streams,
            ) -> Result<<$streaming as Call>::Result, ErrorBody> {
                Err(unanswered($streaming::OPERATION))
            })+

            /// Machines in which something is being done now, those being cleaned up included.
            fn live(&self) -> usize;

            /// Returns when all that ends by itself, now that nobody waits for it, has ended.
            async fn settled(&self);
        }

        /// Hands a request to the method of its operation.
        pub(super) async fn route<H: Handler>(
            server: &Server<H>,
            handler: Arc<H>,
            operation: &Operation,
            request: Request<Incoming>,
            in_work: Arc<InWork>,
        ) -> Response<ChannelBody> {
            $(if operation.name == $unary::OPERATION.name {
                let answer = |request| async move { handler.$answer(request).await };
                return server.unary::<$unary, _>(request, in_work, answer).await;
            })+
            $(if operation.name == $streaming::OPERATION.name {
                let flow = |request, streams| async move { handler.$flow(request, streams).await };
                return server.stream::<$streaming, _>(request, in_work, flow).await;
            })+
            respond_error(StatusCode::INTERNAL_SERVER_ERROR, &unanswered(operation))
        }
    };
}

handler! {
    unary {
        EnvList env_list;
        EnvInspect env_inspect;
        EnvPrune env_prune;
        ListWorkspaces workspace_list;
        UpdateWorkspace workspace_update;
        GetWorkspaceStatus workspace_status;
        SummarizeWorkspace workspace_summary;
        DeleteWorkspace workspace_delete;
        StopWorkspace workspace_stop;
        StartWorkspace workspace_start;
        GetWorkspaceLogs workspace_logs;
        GetWorkspaceOutput workspace_output;
        ListJobs workspace_job_list;
        GetJobLogs workspace_job_logs;
        KillJob workspace_job_kill;
        ListFiles workspace_file_list;
        ReadFile workspace_file_read;
        WriteFile workspace_file_write;
        StatFile workspace_file_stat;
        MakeDirectory workspace_file_mkdir;
        MoveFile workspace_file_move;
        CopyFile workspace_file_copy;
        DeleteFile workspace_file_delete;
        GlobFiles workspace_file_glob;
        GrepFiles workspace_file_grep;
        ReplaceInFile workspace_file_replace;
        ApplyPatch workspace_patch_apply;
        DiffWorkspace workspace_diff;
        ListDisk workspace_disk_list;
        ReadDisk workspace_disk_read;
        CreateSnapshot snapshot_create;
        ListSnapshots snapshot_list;
        InspectSnapshot snapshot_inspect;
        DeleteSnapshot snapshot_delete;
        ResetWorkspace workspace_reset;
        UndoWorkspace workspace_undo;
        GetTimeline workspace_timeline;
        SleepWorkspace workspace_sleep;
        CollectGarbage gc;
        CreateVm vm_create;
        StartVm vm_start;
        StopVm vm_stop;
        DeleteVm vm_delete;
        GetVmStatus vm_status;
        GetVmNetworkInfo vm_network_info;
        ReapVms vm_reap_expired;
    }
    streaming {
        Run run;
        EnvPull env_pull;
        EnvImport env_import;
        CreateWorkspace workspace_create;
        WaitForChange workspace_wait;
        ExecInWorkspace workspace_exec;
        WaitForJob workspace_job_wait;
        DownloadFile workspace_file_download;
        UploadFile workspace_file_upload;
        PushSync workspace_sync_push;
        PullSync workspace_sync_pull;
        ExportFromWorkspace workspace_export;
        ExportDisk workspace_disk_export;
        ForkWorkspace workspace_fork;
        SaveWorkspace workspace_save;
        LoadWorkspace workspace_load;
        ExecInVm vm_exec;
    }
}

fn unanswered(operation: &Operation) -> ErrorBody {
    ErrorBody::new(ErrorCode::Internal, format!("operation {} has no answer", operation.name))
}

/// The two directions of a streaming operation.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What the client is told.
    pub(crate) output: StreamOutput,
    /// Standard input; ends when the client's does.
    pub(crate) stdin: mpsc::Receiver<Bytes>,
    /// The client asked to stop, or has gone, or the daemon ends.
    pub(crate) cancel: CancellationToken,
}

/// The way to the client of a streaming operation.
#[derive(Clone, Debug)]
pub(crate) struct StreamOutput(pub(crate) FrameSender);

impl StreamOutput {
    /// Tells of a phase or of progress.
    pub(crate) async fn event(&self, event: &(impl Serialize + Sync)) -> Result<(), PeerGone> {
        match Frame::json(Kind::Event, event) {
            Ok(frame) => self.0.send(frame).await,
            Err(error) => {
                tracing::error!(%error, "an event cannot be sent");
                Ok(())
            }
        }
    }

    /// Passes output of the command on; waits while the client does not read.
    pub(crate) async fn bytes(&self, kind: Kind, bytes: Bytes) -> Result<(), PeerGone> {
        for frame in Frame::chunks(kind, bytes) {
            self.0.send(frame).await?;
        }
        Ok(())
    }
}
