//! The table of operations: each is declared here once, with its route, types, errors and effect. The client,
//! the daemon's routes and the command line are built from it or checked against it.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    environment::{
        EnvImportRequest, EnvInspectRequest, EnvListRequest, EnvPruneRequest, EnvPullRequest, Environment,
        EnvironmentList, PruneResult, PullEvent, PulledEnvironment,
    },
    error::ErrorCode,
    gc::{GcRequest, GcResult},
    run::{RunEvent, RunReport, RunRequest},
    service::{NoEvent, ShutdownRequest, ShutdownResult, Status, StatusRequest},
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
        exec::{ExecEvent, ExecReport, WorkspaceExecRequest},
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
        progress::WorkEvent,
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

/// What an operation does to the state that outlives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing.
    Reads,
    /// Adds or changes.
    Writes,
    /// Takes away what cannot be had back.
    Destroys,
}

/// What becomes of an operation whose client goes away before it has its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnHangUp {
    /// It is broken off: what it read is nobody's, and what it had half done is undone.
    Cancel,
    /// It is decided, and goes on to its end without its client; for at most [`LONGEST_UNATTENDED`].
    Finish,
}

/// How long an operation goes on without its client. One that is not over by then hangs on a guest that does not answer,
/// and is broken off as the death of the daemon would.
pub const LONGEST_UNATTENDED: Duration = Duration::from_secs(600);

/// How request and answer are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// One JSON body each way.
    Unary,
    /// [Frames](crate::frame) each way, as they come.
    Streaming,
}

/// What must be there for an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Nothing that lasts.
    Nothing,
    /// The workspace that the request names.
    Workspace,
    /// That workspace, and its machine.
    Machine,
}

impl Needs {
    /// Codes of any operation that needs it.
    pub fn errors(self) -> &'static [ErrorCode] {
        match self {
            Self::Nothing => &[],
            Self::Workspace => WORKSPACE_ERRORS,
            Self::Machine => MACHINE_ERRORS,
        }
    }
}

/// Codes of any operation that names a workspace.
pub const WORKSPACE_ERRORS: &[ErrorCode] = &[ErrorCode::UnknownWorkspace, ErrorCode::AmbiguousName];

/// Codes of any operation that needs the machine of a workspace.
pub const MACHINE_ERRORS: &[ErrorCode] = &[
    ErrorCode::UnknownWorkspace,
    ErrorCode::AmbiguousName,
    ErrorCode::WrongState,
    ErrorCode::WorkspaceExpired,
    ErrorCode::WorkspaceStalled,
    ErrorCode::MachineLost,
    ErrorCode::GuestMisbehaved,
    ErrorCode::GuestRefused,
    // Of waking it up, and of a checkpoint before it.
    ErrorCode::LimitReached,
    ErrorCode::HostRequirement,
    ErrorCode::StartFailed,
    ErrorCode::SnapshotDamaged,
    ErrorCode::SnapshotFailed,
    ErrorCode::DiskFull,
];

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// Stable name.
    pub name: &'static str,
    /// HTTP path; the method is always POST, since every request has a body.
    pub path: &'static str,
    /// Words of the command line, e.g. `env list`; empty: it has none.
    pub command: &'static str,
    /// One or two sentences for people.
    pub doc: &'static str,
    /// Layout.
    pub shape: Shape,
    /// Effect.
    pub effect: Effect,
    /// What becomes of it when its client goes away.
    pub on_hang_up: OnHangUp,
    /// Name of the request type.
    pub request: &'static str,
    /// Name of the result type.
    pub result: &'static str,
    /// What must be there for it.
    pub needs: Needs,
    /// Codes that belong to it, beside those that any operation may answer with ([`COMMON_ERRORS`]) and those of
    /// what it needs ([`Needs::errors`]).
    #[serde(skip)]
    pub errors: &'static [ErrorCode],
    /// Gives the schemas of request, event and result.
    #[cfg(feature = "schema")]
    #[serde(skip)]
    pub schemas: fn(&mut crate::schema::Schemas) -> crate::schema::OperationSchemas,
}

impl Operation {
    /// Whether it does no harm to ask again when nobody knows how far it came: it only reads; or what it was about is
    /// there whole or not at all, as a new machine or workspace is. What it did in the machine of a workspace stays.
    pub fn is_repeatable(&self) -> bool {
        match self.effect {
            Effect::Reads => true,
            Effect::Writes => self.needs != Needs::Machine,
            Effect::Destroys => false,
        }
    }
}

/// An operation as a type, so that request and result cannot be mixed up.
pub trait Call: Send + Sync + 'static {
    /// What is asked.
    type Request: Serialize + DeserializeOwned + Send + Sync;
    /// What is told on the way; [`NoEvent`] if nothing is.
    type Event: Serialize + DeserializeOwned + Send;
    /// What is answered.
    type Result: Serialize + DeserializeOwned + Send;
    /// Its row in the table.
    const OPERATION: &'static Operation;
}

/// Codes that any operation may answer with.
pub const COMMON_ERRORS: &[ErrorCode] = &[
    ErrorCode::InvalidRequest,
    ErrorCode::UnknownOperation,
    ErrorCode::IncompatibleVersion,
    ErrorCode::Forbidden,
    ErrorCode::HostExhausted,
    ErrorCode::StoreFailed,
    ErrorCode::DaemonUnavailable,
    ErrorCode::DaemonLost,
    ErrorCode::Cancelled,
    ErrorCode::Internal,
];

macro_rules! operations {
    ($($(#[doc = $doc:literal])+
       $name:literal $type:ident ($request:ident) -> $result:ident, events $event:ident, $shape:ident, $effect:ident,
       $hang_up:ident, command $command:literal, needs $needs:ident, errors [$($code:ident),* $(,)?];)+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Copy, Debug)]
        pub struct $type;

        impl Call for $type {
            type Request = $request;
            type Event = $event;
            type Result = $result;
            const OPERATION: &'static Operation = &Operation {
                name: $name,
                path: concat!("/v1/", $name),
                command: $command,
                doc: concat!($($doc),+).trim_ascii(),
                shape: Shape::$shape,
                effect: Effect::$effect,
                on_hang_up: OnHangUp::$hang_up,
                request: stringify!($request),
                result: stringify!($result),
                needs: Needs::$needs,
                errors: &[$(ErrorCode::$code),*],
                #[cfg(feature = "schema")]
                schemas: crate::schema::Schemas::of_operation::<$request, $event, $result>,
            };
        })+

        /// Every operation.
        pub const OPERATIONS: &[&Operation] = &[$($type::OPERATION),+];
    };
}

operations! {
    /// Runs a command in a fresh machine and streams its output. The machine is gone afterwards.
    "run" Run(RunRequest) -> RunReport, events RunEvent, Streaming, Writes, Cancel, command "run", needs Nothing,
        errors [InvalidSize, LimitReached, MissingCommand, NotYetSupported, UnknownEnvironment, EnvironmentDamaged, EnvironmentFailed,
                HostRequirement, DiskFull, StartFailed, MachineLost, MachineExpired,
                GuestMisbehaved, GuestRefused];
    /// Lists the environments and says which are installed.
    "env_list" EnvList(EnvListRequest) -> EnvironmentList, events NoEvent, Unary, Reads, Cancel, command "env list", needs Nothing,
        errors [];
    /// Shows one environment; with verify, reads every file of it and compares digests.
    "env_inspect" EnvInspect(EnvInspectRequest) -> Environment, events NoEvent, Unary, Reads, Cancel, command "env inspect", needs Nothing,
        errors [UnknownEnvironment, EnvironmentDamaged];
    /// Makes an environment ready to use, telling how far it has come.
    "env_pull" EnvPull(EnvPullRequest) -> PulledEnvironment, events PullEvent, Streaming, Writes, Cancel, command "env pull", needs Nothing,
        errors [UnknownEnvironment, EnvironmentFailed, HostRequirement, DiskFull, NotYetSupported];
    /// Removes left-overs of earlier versions and of unfinished work, and templates that no environment leads to; never
    /// a current environment.
    "env_prune" EnvPrune(EnvPruneRequest) -> PruneResult, events NoEvent, Unary, Destroys, Finish, command "env prune", needs Nothing,
        errors [];
    /// Makes an environment from a directory or a tar archive that holds a root file system with a kernel.
    "env_import" EnvImport(EnvImportRequest) -> PulledEnvironment, events PullEvent, Streaming, Writes, Cancel, command "env import", needs Nothing,
        errors [EnvironmentFailed, HostRequirement, DiskFull, FileFailed, NotYetSupported];
    /// Says how the daemon is.
    "status" GetStatus(StatusRequest) -> Status, events NoEvent, Unary, Reads, Cancel, command "daemon status", needs Nothing,
        errors [];
    /// Ends the daemon.
    "shutdown" Shutdown(ShutdownRequest) -> ShutdownResult, events NoEvent, Unary, Writes, Finish, command "daemon stop", needs Nothing,
        errors [DaemonBusy];
    /// Makes a workspace: a machine that lasts, filled from a directory or an archive on the host. Whole or not at all.
    "workspace_create" CreateWorkspace(WorkspaceCreateRequest) -> Workspace, events WorkEvent, Streaming, Writes, Cancel,
        command "workspace create", needs Nothing,
        errors [InvalidSize, NotYetSupported, LimitReached, UnknownEnvironment, EnvironmentDamaged, EnvironmentFailed,
                HostRequirement, DiskFull, GuestDiskFull, StartFailed, MachineLost, GuestMisbehaved, GuestRefused,
                SeedFailed, BadArchive, FileFailed];
    /// Lists workspaces, the one that was used last first.
    "workspace_list" ListWorkspaces(WorkspaceListRequest) -> WorkspaceList, events NoEvent, Unary, Reads, Cancel,
        command "workspace list", needs Nothing, errors [InvalidSize];
    /// Changes the name, the labels or the lifetime of a workspace.
    "workspace_update" UpdateWorkspace(WorkspaceUpdateRequest) -> Workspace, events NoEvent, Unary, Writes, Finish,
        command "workspace update", needs Workspace, errors [InvalidSize];
    /// Says everything about a workspace. That does not extend its life.
    "workspace_status" GetWorkspaceStatus(WorkspaceStatusRequest) -> Workspace, events NoEvent, Unary, Reads, Cancel,
        command "workspace status", needs Workspace, errors [];
    /// Says in few words what happened in a workspace since it was made, or since an earlier summary.
    "workspace_summary" SummarizeWorkspace(WorkspaceSummaryRequest) -> WorkspaceSummary, events NoEvent, Unary, Reads, Cancel,
        command "workspace summary", needs Workspace, errors [InvalidSize, UnknownSequence];
    /// Waits until something changes in a workspace: its state, its commands, its files. That does not extend its life.
    "workspace_wait" WaitForChange(WorkspaceWaitRequest) -> WorkspaceRevision, events WorkEvent, Streaming, Reads, Cancel,
        command "workspace wait", needs Workspace, errors [];
    /// Deletes a workspace and everything in it.
    "workspace_delete" DeleteWorkspace(WorkspaceDeleteRequest) -> WorkspaceDeleted, events NoEvent, Unary, Destroys, Finish,
        command "workspace delete", needs Workspace, errors [WorkspaceBusy];
    /// Shuts the machine of a workspace down cleanly. The disk stays.
    "workspace_stop" StopWorkspace(WorkspaceStopRequest) -> Workspace, events NoEvent, Unary, Writes, Finish,
        command "workspace stop", needs Workspace, errors [WrongState];
    /// Starts a machine from the disk of a workspace.
    "workspace_start" StartWorkspace(WorkspaceStartRequest) -> Workspace, events NoEvent, Unary, Writes, Finish,
        command "workspace start", needs Workspace,
        errors [WrongState, WorkspaceBusy, LimitReached, EnvironmentDamaged, HostRequirement, DiskFull, StartFailed,
                MachineLost, GuestMisbehaved, GuestRefused];
    /// Runs a command in a workspace, at most once, and streams its output.
    "workspace_exec" ExecInWorkspace(WorkspaceExecRequest) -> ExecReport, events ExecEvent, Streaming, Writes, Cancel,
        command "workspace exec", needs Machine,
        errors [InvalidSize, MissingCommand, NotYetSupported, IdempotencyConflict, NeverStarted, WorkUnknown];
    /// Gives the history of a workspace's commands, by the page, with the end of their output.
    "workspace_logs" GetWorkspaceLogs(WorkspaceLogsRequest) -> WorkspaceLogs, events NoEvent, Unary, Reads, Cancel,
        command "workspace logs", needs Workspace, errors [InvalidSize];
    /// Gives a part of one command's output, by lines or bytes, or its lines that match.
    "workspace_output" GetWorkspaceOutput(WorkspaceOutputRequest) -> OutputPiece, events NoEvent, Unary, Reads, Cancel,
        command "workspace output", needs Workspace, errors [InvalidSize, UnknownSequence, BadPattern];
    /// Lists the commands of a workspace that run, and the detached ones that have ended.
    "workspace_job_list" ListJobs(JobListRequest) -> JobList, events NoEvent, Unary, Reads, Cancel,
        command "workspace job list", needs Workspace, errors [];
    /// Waits until a command ends, and streams its output if asked to.
    "workspace_job_wait" WaitForJob(JobWaitRequest) -> ExecReport, events ExecEvent, Streaming, Reads, Cancel,
        command "workspace job wait", needs Workspace, errors [UnknownJob];
    /// Gives the end of a command's output.
    "workspace_job_logs" GetJobLogs(JobLogsRequest) -> JobLogs, events NoEvent, Unary, Reads, Cancel,
        command "workspace job logs", needs Workspace, errors [InvalidSize, UnknownJob];
    /// Sends a signal to a command and all that it started.
    "workspace_job_kill" KillJob(JobKillRequest) -> JobKilled, events NoEvent, Unary, Writes, Finish,
        command "workspace job kill", needs Machine, errors [UnknownJob];
    /// Lists a directory of a workspace.
    "workspace_file_list" ListFiles(FileListRequest) -> FileList, events NoEvent, Unary, Reads, Cancel,
        command "workspace file list", needs Machine, errors [InvalidSize, PathNotFound, PathEscapes];
    /// Reads a file of a workspace, or a part of it.
    "workspace_file_read" ReadFile(FileReadRequest) -> FileRead, events NoEvent, Unary, Reads, Cancel,
        command "workspace file read", needs Machine, errors [InvalidSize, PathNotFound, PathEscapes, WrongFileType];
    /// Writes a file of a workspace, in one step.
    "workspace_file_write" WriteFile(FileWriteRequest) -> FileWritten, events NoEvent, Unary, Writes, Finish,
        command "workspace file write", needs Machine,
        errors [PathNotFound, PathEscapes, AlreadyExists, WrongFileType, FileTooLarge, GuestDiskFull, Conflict];
    /// Says what is at a path of a workspace.
    "workspace_file_stat" StatFile(FileStatRequest) -> FileStat, events NoEvent, Unary, Reads, Cancel,
        command "workspace file stat", needs Machine, errors [PathNotFound, PathEscapes];
    /// Makes a directory in a workspace, and those above it.
    "workspace_file_mkdir" MakeDirectory(FileMkdirRequest) -> FileChanged, events NoEvent, Unary, Writes, Finish,
        command "workspace file mkdir", needs Machine,
        errors [PathEscapes, AlreadyExists, WrongFileType, GuestDiskFull];
    /// Moves a file or a directory within a workspace.
    "workspace_file_move" MoveFile(FileMoveRequest) -> FileChanged, events NoEvent, Unary, Writes, Finish,
        command "workspace file move", needs Machine,
        errors [PathNotFound, PathEscapes, AlreadyExists, WrongFileType, GuestDiskFull];
    /// Copies a file or a directory within a workspace.
    "workspace_file_copy" CopyFile(FileCopyRequest) -> FileChanged, events NoEvent, Unary, Writes, Finish,
        command "workspace file copy", needs Machine,
        errors [PathNotFound, PathEscapes, AlreadyExists, WrongFileType, GuestDiskFull];
    /// Deletes a file or a directory of a workspace.
    "workspace_file_delete" DeleteFile(FileDeleteRequest) -> FileChanged, events NoEvent, Unary, Destroys, Finish,
        command "workspace file delete", needs Machine, errors [PathNotFound, PathEscapes, NotEmpty];
    /// Finds paths of a workspace that match a pattern.
    "workspace_file_glob" GlobFiles(FileGlobRequest) -> FileGlob, events NoEvent, Unary, Reads, Cancel,
        command "workspace file glob", needs Machine,
        errors [InvalidSize, PathNotFound, PathEscapes, WrongFileType, BadPattern];
    /// Finds lines in files of a workspace that match a pattern.
    "workspace_file_grep" GrepFiles(FileGrepRequest) -> FileGrep, events NoEvent, Unary, Reads, Cancel,
        command "workspace file grep", needs Machine,
        errors [InvalidSize, PathNotFound, PathEscapes, WrongFileType, BadPattern];
    /// Replaces text in a file of a workspace, if it is there exactly so often as expected.
    "workspace_file_replace" ReplaceInFile(FileReplaceRequest) -> FileReplaced, events NoEvent, Unary, Writes, Finish,
        command "workspace file replace", needs Machine,
        errors [PathNotFound, PathEscapes, WrongFileType, CountMismatch, FileTooLarge, GuestDiskFull, Conflict];
    /// Reads a whole file of a workspace, of any length.
    "workspace_file_download" DownloadFile(FileDownloadRequest) -> FileDownloaded, events WorkEvent, Streaming, Reads, Cancel,
        command "workspace file download", needs Machine, errors [PathNotFound, PathEscapes, WrongFileType];
    /// Writes a whole file of a workspace, of any length, in one step.
    "workspace_file_upload" UploadFile(FileUploadRequest) -> FileWritten, events WorkEvent, Streaming, Writes, Cancel,
        command "workspace file upload", needs Machine,
        errors [PathEscapes, AlreadyExists, WrongFileType, GuestDiskFull];
    /// Applies a patch to the files of a workspace, all of it or nothing.
    "workspace_patch_apply" ApplyPatch(PatchApplyRequest) -> PatchResult, events NoEvent, Unary, Writes, Finish,
        command "workspace patch apply", needs Machine,
        errors [PatchMalformed, PatchRejected, PathEscapes, WrongFileType, FileTooLarge, GuestDiskFull, Conflict];
    /// Says what became of the files of a workspace, as a patch, as counts or as names.
    "workspace_diff" DiffWorkspace(WorkspaceDiffRequest) -> WorkspaceDiff, events NoEvent, Unary, Reads, Cancel,
        command "workspace diff", needs Machine, errors [InvalidSize, PathEscapes, FileFailed, BadArchive];
    /// Brings files of the host into a workspace, whole or not at all.
    "workspace_sync_push" PushSync(SyncPushRequest) -> SyncPushed, events WorkEvent, Streaming, Writes, Cancel,
        command "workspace sync push", needs Machine,
        errors [InvalidSize, FileFailed, BadArchive, PathEscapes, WrongFileType, GuestDiskFull, Conflict, UntrustedJournal];
    /// Brings what changed in a workspace back to a directory of the host; what both sides changed is only told.
    "workspace_sync_pull" PullSync(SyncPullRequest) -> SyncPulled, events WorkEvent, Streaming, Writes, Cancel,
        command "workspace sync pull", needs Machine,
        errors [InvalidSize, FileFailed, PathNotFound, PathEscapes, Conflict, UntrustedJournal];
    /// Takes a file, a directory, or everything that changed out of a workspace.
    "workspace_export" ExportFromWorkspace(WorkspaceExportRequest) -> WorkspaceExported, events WorkEvent, Streaming, Reads, Cancel,
        command "workspace export", needs Machine,
        errors [PathNotFound, PathEscapes, WrongFileType, OutputExists, FileFailed];
    /// Lists a directory on the disk of a stopped workspace, anywhere in its guest.
    "workspace_disk_list" ListDisk(DiskListRequest) -> DiskList, events NoEvent, Unary, Reads, Cancel,
        command "workspace disk list", needs Workspace,
        errors [InvalidSize, WrongState, PathNotFound, PathEscapes, WrongFileType, DiskDamaged];
    /// Reads a file on the disk of a stopped workspace, or a part of it.
    "workspace_disk_read" ReadDisk(DiskReadRequest) -> DiskRead, events NoEvent, Unary, Reads, Cancel,
        command "workspace disk read", needs Workspace,
        errors [InvalidSize, WrongState, PathNotFound, PathEscapes, WrongFileType, DiskDamaged];
    /// Takes the disk of a stopped workspace to the host, or all its guest sees.
    "workspace_disk_export" ExportDisk(DiskExportRequest) -> DiskExported, events WorkEvent, Streaming, Reads, Cancel,
        command "workspace disk export", needs Workspace,
        errors [WrongState, OutputExists, FileFailed, DiskFull, DiskDamaged];
    /// Takes a snapshot of a workspace: memory, processes, devices and disk, or of a stopped one its disk.
    "snapshot_create" CreateSnapshot(SnapshotCreateRequest) -> SnapshotResult, events NoEvent, Unary, Writes, Finish,
        command "workspace snapshot create", needs Workspace,
        errors [WrongState, SnapshotExists, LimitReached, SnapshotFailed, DiskFull, MachineLost];
    /// Lists the snapshots of a workspace.
    "snapshot_list" ListSnapshots(SnapshotListRequest) -> SnapshotList, events NoEvent, Unary, Reads, Cancel,
        command "workspace snapshot list", needs Workspace, errors [];
    /// Says everything about a snapshot of a workspace.
    "snapshot_inspect" InspectSnapshot(SnapshotInspectRequest) -> SnapshotResult, events NoEvent, Unary, Reads, Cancel,
        command "workspace snapshot inspect", needs Workspace, errors [UnknownSnapshot];
    /// Deletes a snapshot of a workspace. What others share with it stays.
    "snapshot_delete" DeleteSnapshot(SnapshotDeleteRequest) -> SnapshotDeleted, events NoEvent, Unary, Destroys, Finish,
        command "workspace snapshot delete", needs Workspace, errors [UnknownSnapshot];
    /// Has a workspace go on from a snapshot, with all that ran in it.
    "workspace_reset" ResetWorkspace(WorkspaceResetRequest) -> WorkspaceReset, events NoEvent, Unary, Destroys, Finish,
        command "workspace reset", needs Workspace,
        errors [WrongState, WorkspaceBusy, UnknownSnapshot, SnapshotDamaged, LimitReached, HostRequirement, DiskFull, StartFailed,
                MachineLost, GuestMisbehaved, GuestRefused];
    /// Goes back before the last calls of a workspace with automatic checkpoints.
    "workspace_undo" UndoWorkspace(WorkspaceUndoRequest) -> WorkspaceUndone, events NoEvent, Unary, Destroys, Finish,
        command "workspace undo", needs Workspace,
        errors [WrongState, WorkspaceBusy, NothingToUndo, SnapshotDamaged, SnapshotFailed, LimitReached, HostRequirement, DiskFull,
                StartFailed, MachineLost, GuestMisbehaved, GuestRefused];
    /// Says which calls of a workspace with automatic checkpoints can be undone.
    "workspace_timeline" GetTimeline(WorkspaceTimelineRequest) -> Timeline, events NoEvent, Unary, Reads, Cancel,
        command "workspace timeline", needs Workspace, errors [];
    /// Makes workspaces that begin from the state of another one, with all that runs in it; all or none.
    "workspace_fork" ForkWorkspace(WorkspaceForkRequest) -> WorkspaceForked, events WorkEvent, Streaming, Writes, Cancel,
        command "workspace fork", needs Workspace,
        errors [InvalidSize, WrongState, UnknownSnapshot, SnapshotDamaged, SnapshotFailed, LimitReached, HostRequirement, DiskFull,
                StartFailed, MachineLost, GuestMisbehaved, GuestRefused];
    /// Saves the machine of a workspace and ends it, until the workspace is used.
    "workspace_sleep" SleepWorkspace(WorkspaceSleepRequest) -> Workspace, events NoEvent, Unary, Writes, Finish,
        command "workspace sleep", needs Workspace, errors [WrongState, LimitReached, SnapshotFailed, DiskFull, MachineLost];
    /// Takes a stopped workspace to the host as one file.
    "workspace_save" SaveWorkspace(WorkspaceSaveRequest) -> WorkspaceSaved, events WorkEvent, Streaming, Reads, Cancel,
        command "workspace save", needs Workspace,
        errors [WrongState, OutputExists, FileFailed, FileTooLarge, DiskFull, DiskDamaged];
    /// Makes a stopped workspace of a file that `workspace_save` made. Whole or not at all.
    "workspace_load" LoadWorkspace(WorkspaceLoadRequest) -> Workspace, events WorkEvent, Streaming, Writes, Cancel,
        command "workspace load", needs Nothing,
        errors [BadArchive, WrongFileType, Conflict, FileFailed, EnvironmentMismatch, NotYetSupported, LimitReached,
                UnknownEnvironment, EnvironmentDamaged, EnvironmentFailed, HostRequirement, DiskFull];
    /// Removes what the daemon keeps without need, or says what it would remove and why. Never a workspace.
    "gc" CollectGarbage(GcRequest) -> GcResult, events NoEvent, Unary, Destroys, Finish, command "gc", needs Nothing, errors [];
    /// Makes an unnamed machine, which runs at once; or gives that of an earlier request which was the same.
    "vm_create" CreateVm(VmCreateRequest) -> Vm, events NoEvent, Unary, Writes, Cancel, command "", needs Nothing,
        errors [InvalidSize, MissingCommand, NotYetSupported, IdempotencyConflict, LimitReached, UnknownEnvironment,
                EnvironmentDamaged, EnvironmentFailed, HostRequirement, DiskFull];
    /// Starts a machine that was stopped.
    "vm_start" StartVm(VmStartRequest) -> Vm, events NoEvent, Unary, Writes, Finish, command "", needs Nothing,
        errors [UnknownVm, WrongState, LimitReached, HostRequirement, DiskFull, StartFailed, MachineLost, GuestMisbehaved,
                GuestRefused];
    /// Runs a command in a machine, streams its output, and deletes the machine.
    "vm_exec" ExecInVm(VmExecRequest) -> RunReport, events RunEvent, Streaming, Destroys, Cancel, command "", needs Nothing,
        errors [UnknownVm, WrongState, InvalidSize, MissingCommand, NeverStarted, WorkUnknown, MachineLost,
                MachineExpired, GuestMisbehaved, GuestRefused];
    /// Stops a machine. Its disk stays.
    "vm_stop" StopVm(VmStopRequest) -> Vm, events NoEvent, Unary, Writes, Finish, command "", needs Nothing,
        errors [UnknownVm];
    /// Deletes a machine.
    "vm_delete" DeleteVm(VmDeleteRequest) -> VmDeleted, events NoEvent, Unary, Destroys, Finish, command "", needs Nothing,
        errors [UnknownVm];
    /// Says everything about a machine.
    "vm_status" GetVmStatus(VmStatusRequest) -> Vm, events NoEvent, Unary, Reads, Cancel, command "", needs Nothing,
        errors [UnknownVm];
    /// Says how a machine is connected.
    "vm_network_info" GetVmNetworkInfo(VmNetworkInfoRequest) -> VmNetworkInfo, events NoEvent, Unary, Reads, Cancel, command "",
        needs Nothing, errors [UnknownVm];
    /// Deletes the machines that are past their time.
    "vm_reap_expired" ReapVms(VmReapRequest) -> VmsReaped, events NoEvent, Unary, Destroys, Finish, command "", needs Nothing,
        errors [];
}

/// The operation of a path.
pub fn at_path(path: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.path == path).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_paths_and_commands_are_unique() {
        for column in [|o: &Operation| o.name, |o: &Operation| o.path, |o: &Operation| o.command] {
            let values: Vec<&str> = OPERATIONS
                .iter()
                .map(|operation| column(operation))
                .filter(|value| !value.is_empty())
                .collect();
            let distinct: BTreeSet<&str> = values.iter().copied().collect();
            assert_eq!(distinct.len(), values.len());
        }
        for operation in OPERATIONS {
            assert_eq!(at_path(operation.path).unwrap().name, operation.name);
        }
        assert!(at_path("/v1/").is_none());
    }

    #[test]
    fn what_only_reads_ends_with_its_client_and_what_changes_something_does_not() {
        for operation in OPERATIONS {
            let expected = match (operation.shape, operation.effect) {
                // A stream is how its client says that it wants no more.
                (Shape::Streaming, _) | (_, Effect::Reads) => OnHangUp::Cancel,
                // Nobody would know the id of what was made.
                _ if operation.name == CreateVm::OPERATION.name => OnHangUp::Cancel,
                (Shape::Unary, Effect::Writes | Effect::Destroys) => OnHangUp::Finish,
            };
            assert_eq!(operation.on_hang_up, expected, "{}", operation.name);
        }
    }

    #[test]
    fn every_row_is_documented() {
        for operation in OPERATIONS {
            assert!(operation.doc.ends_with('.'), "{}: {:?}", operation.name, operation.doc);
            let said_once = |code| !COMMON_ERRORS.contains(code) && !operation.needs.errors().contains(code);
            assert!(operation.errors.iter().all(said_once), "{}", operation.name);
        }
    }
}
