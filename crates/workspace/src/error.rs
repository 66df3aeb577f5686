//! What can go wrong, for callers, and often what to do about it. Stable codes, and whether trying again helps, are
//! given by the public contract, which maps these variants.

use std::{error::Error as StdError, fmt::Write as _, io, path::PathBuf};

use pyro_disk::Error as DiskError;
use pyro_engine::{ComposeError, EngineError, StallCause};
use pyro_environments::Error as EnvironmentError;

use crate::{
    commands::Fate,
    files::FileError,
    session::SessionError,
    store::StoreError,
    workspaces::{ArchiveError, FrozenFileError, WorkspaceId},
};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request does not make sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// The request's field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An environment is unknown, damaged or cannot be made.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The store on disk cannot be used.
    #[error("cannot {operation} `{}`", path.display())]
    Store {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The index of workspaces and commands cannot be used.
    #[error(transparent)]
    Index(#[from] StoreError),
    /// The workspace has no command of that sequence.
    #[error("there is no command {sequence}")]
    UnknownCommand {
        /// The sequence.
        sequence: u64,
    },
    /// The idempotency key belongs to a call that asked for something else.
    #[error("the idempotency key `{key}` belongs to command {sequence}, which was another one")]
    KeyTaken {
        /// The key.
        key: String,
        /// The command that has it.
        sequence: u64,
    },
    /// The idempotency key belongs to a call for a machine that asked for something else.
    #[error("the idempotency key `{key}` belongs to another call")]
    CallTaken {
        /// The key.
        key: String,
    },
    /// The end of a command cannot be told.
    #[error("command {sequence} {fate}: {reason}")]
    CommandLost {
        /// The command.
        sequence: u64,
        /// Whether it ran.
        fate: Fate,
        /// Why there is no more to tell.
        reason: String,
    },
    /// A helper program of the host failed.
    #[error("`{program}` failed{}", if output.is_empty() { String::new() } else { format!(": {output}") })]
    Tool {
        /// Which program.
        program: String,
        /// The end of what it printed.
        output: String,
        /// Why it could not run, if it could not.
        source: Option<io::Error>,
    },
    /// The engine cannot start, save or end a machine.
    #[error("cannot {operation}")]
    Engine {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: EngineError,
    },
    /// This engine lacks an ability.
    #[error("the engine cannot {ability}")]
    Unable {
        /// What it cannot do.
        ability: &'static str,
    },
    /// The guest does not answer as it should.
    #[error("cannot {operation}")]
    Guest {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: SessionError,
    },
    /// The guest took too long.
    #[error("the guest did not {operation} within {seconds} s{}", evidence(console))]
    GuestSilent {
        /// What it should have done.
        operation: &'static str,
        /// The bound.
        seconds: u64,
        /// The end of the console, if it said anything.
        console: String,
    },
    /// The virtual machine ended while it was needed.
    #[error("the machine ended while it was used: {reason}{}", evidence(console))]
    MachineLost {
        /// What is known of its end.
        reason: String,
        /// The end of the console, if it said anything.
        console: String,
        /// Whether the command may have run.
        work_started: bool,
    },
    /// The machine of a workspace ended while it was needed; the workspace is stopped, with its disk.
    #[error("the machine of the workspace ended while it was used: {reason}{}", evidence(console))]
    WorkspaceMachineLost {
        /// What is known of its end.
        reason: String,
        /// The end of the console, if it said anything.
        console: String,
    },
    /// The machine reached the end of its life.
    #[error("the machine reached its time to live of {seconds} s and was ended")]
    Expired {
        /// The life it was given.
        seconds: u64,
    },
    /// An operation on files was not carried out.
    #[error(transparent)]
    Files(#[from] FileError),
    /// No workspace has that id or name.
    #[error("there is no workspace `{reference}`")]
    UnknownWorkspace {
        /// What was asked for.
        reference: String,
    },
    /// Several workspaces have that name.
    #[error("{} workspaces are named `{name}`: {}", candidates.len(), listed(candidates))]
    AmbiguousName {
        /// The name.
        name: String,
        /// Their ids.
        candidates: Vec<WorkspaceId>,
    },
    /// The workspace is in a state in which that cannot be done.
    #[error("cannot {operation}: workspace `{workspace}` {reason}")]
    WrongState {
        /// What was asked.
        operation: &'static str,
        /// Of which workspace.
        workspace: WorkspaceId,
        /// The contract's word for its state.
        state: &'static str,
        /// Why not: a fragment that reads after the workspace's id.
        reason: String,
    },
    /// The workspace is stopped since nobody used it.
    #[error(
        "cannot {operation}: workspace `{workspace}` is stopped, it was not used within its time to live"
    )]
    WorkspaceExpired {
        /// What was asked.
        operation: &'static str,
        /// Of which workspace.
        workspace: WorkspaceId,
    },
    /// Commands run in the workspace, and it was not said that they may be lost.
    #[error("{running} commands run in workspace `{workspace}`")]
    Busy {
        /// The workspace.
        workspace: WorkspaceId,
        /// How many run.
        running: usize,
    },
    /// Its disk is being read, so nothing may write to it.
    #[error("the disk of workspace `{workspace}` is being read")]
    DiskRead {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// The disk of a stopped workspace cannot be read as it was asked.
    #[error("cannot read the disk of workspace `{workspace}`")]
    Disk {
        /// The workspace.
        workspace: WorkspaceId,
        /// Why not.
        source: DiskError,
    },
    /// The workspace has no snapshot of that name.
    #[error("workspace `{workspace}` has no snapshot `{name}`")]
    UnknownSnapshot {
        /// The workspace.
        workspace: WorkspaceId,
        /// What was asked for.
        name: String,
    },
    /// There are not so many steps to go back.
    #[error("workspace `{workspace}` can go back {kept} step(s), not {steps}")]
    NothingToUndo {
        /// The workspace.
        workspace: WorkspaceId,
        /// How far it was to go back.
        steps: usize,
        /// How far it can.
        kept: usize,
        /// Whether checkpoints are taken by themselves.
        is_automatic: bool,
    },
    /// The machine of the workspace cannot be saved.
    #[error("the machine cannot be saved: {reason}")]
    NoSnapshots {
        /// Why not.
        reason: &'static str,
    },
    /// The workspace has a snapshot of that name.
    #[error("workspace `{workspace}` has a snapshot `{name}` already")]
    SnapshotExists {
        /// The workspace.
        workspace: WorkspaceId,
        /// The name.
        name: String,
    },
    /// A part of the disk of a snapshot is not as it was, so nothing can go on from it.
    #[error("snapshot `{snapshot}` is damaged")]
    SnapshotDamaged {
        /// Its name, or its id.
        snapshot: String,
        /// Which part, and how.
        source: FrozenFileError,
    },
    /// The memory of a snapshot cannot be kept, or not be read.
    #[error("cannot use the memory of snapshot `{snapshot}`")]
    SnapshotMemory {
        /// Its id.
        snapshot: String,
        /// Why not.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The memory of a snapshot cannot be put together.
    #[error("cannot compose the memory of snapshot `{snapshot}`")]
    SnapshotCompose {
        /// Its id.
        snapshot: String,
        /// Why not.
        source: ComposeError,
    },
    /// A file is not taken for an archive of a workspace, or cannot become one.
    #[error("cannot use `{}` as an archive", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ArchiveError,
    },
    /// The disk in an archive lies over the root image of an environment that is another one here.
    #[error("the archive needs `{environment}` in version {wanted}, and here it is version {found}")]
    OtherEnvironment {
        /// Name of the environment.
        environment: String,
        /// Version and root image that it was made with.
        wanted: String,
        /// Those that are here.
        found: String,
    },
    /// One more does not fit.
    #[error("{limit}: {reason}")]
    LimitReached {
        /// Name of the setting; `snapshots` and `layers` are none, and fixed.
        limit: &'static str,
        /// What is in use and what is allowed.
        reason: String,
    },
    /// The machine stands still.
    #[error("the machine of workspace `{workspace}` stands still: {cause}")]
    Stalled {
        /// Of which workspace.
        workspace: WorkspaceId,
        /// Why.
        cause: StallCause,
    },
    /// The caller went away or asked to stop.
    #[error("the run was cancelled")]
    Cancelled,
    /// A task of ours ended where it must not.
    #[error("an internal task failed: {0}")]
    Task(String),
}

impl Error {
    /// What the caller can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Environment(error) => environment_hint(error),
            Self::Engine { source, .. } => engine_hint(source),
            Self::Store { source, .. } if is_disk_full(source) => Some(DISK_FULL_HINT.to_owned()),
            Self::Index(source) if source.is_disk_full() => Some(DISK_FULL_HINT.to_owned()),
            Self::Index(StoreError::Newer { .. }) => {
                Some("use the newer release, or another store (`PYRO_HOME`)".to_owned())
            }
            Self::UnknownCommand { .. } => {
                Some("`pyro workspace logs` shows the commands of a workspace".to_owned())
            }
            Self::KeyTaken { .. } | Self::CallTaken { .. } => Some("a new call needs a new idempotency key".to_owned()),
            Self::CommandLost { fate: Fate::NeverStarted, .. } => {
                Some("run it again; if the call had an idempotency key, with a new one".to_owned())
            }
            Self::CommandLost { fate: Fate::Unknown, .. } => {
                Some("look at what it did before it is run again".to_owned())
            }
            Self::Tool { source: Some(_), program, .. } => {
                Some(format!("install `{program}`; `pyro doctor` says how"))
            }
            Self::Store { .. }
            | Self::Index(_)
            | Self::Tool { .. }
            | Self::Guest { .. }
            | Self::GuestSilent { .. } => {
                Some("`pyro doctor` checks this host and says what to mend".to_owned())
            }
            Self::MachineLost { .. } => {
                Some("nothing outlives a one-shot machine: run the command again".to_owned())
            }
            Self::Expired { .. } => Some("ask for a longer life with `--ttl-seconds`".to_owned()),
            Self::UnknownWorkspace { .. } => Some("`pyro workspace list` shows what there is".to_owned()),
            Self::AmbiguousName { .. } => Some("name it by its id".to_owned()),
            Self::WorkspaceMachineLost { .. } => Some(
                "its disk is kept: `pyro workspace start` boots it; look at what was done before it is done again"
                    .to_owned(),
            ),
            Self::WrongState { state: "stopped", workspace, .. }
            | Self::WorkspaceExpired { workspace, .. } => Some(format!(
                "`pyro workspace start {workspace}` boots it from its disk; nothing on it is lost"
            )),
            Self::Busy { .. } => Some("wait for them, or delete it all the same with `--force`".to_owned()),
            Self::DiskRead { .. } => Some("wait until that is over, then try again".to_owned()),
            Self::Disk { source, .. } => disk_hint(source),
            Self::UnknownSnapshot { workspace, .. } => {
                Some(format!("`pyro workspace snapshot list {workspace}` shows what there is"))
            }
            Self::NothingToUndo { workspace, is_automatic: false, .. } => {
                Some(format!("steps are kept from `pyro workspace update {workspace} --auto-checkpoint on` on"))
            }
            Self::NothingToUndo { workspace, .. } => {
                Some(format!("`pyro workspace timeline {workspace}` shows what there is"))
            }
            Self::SnapshotExists { .. } => Some("give it another name, or delete the other one first".to_owned()),
            Self::SnapshotDamaged { .. } => Some(
                "the workspace is as it was; `pyro workspace snapshot list` shows what else there is to go back to"
                    .to_owned(),
            ),
            Self::NoSnapshots { .. } | Self::SnapshotMemory { .. } | Self::SnapshotCompose { .. } => None,
            Self::LimitReached { limit: "layers", .. } => {
                Some("delete snapshots, or reset it to an older one: its disk has the layers of that then".to_owned())
            }
            Self::LimitReached { limit: "open_layers", .. } => {
                Some("try again when nothing is done in it".to_owned())
            }
            Self::LimitReached { limit: "snapshots", .. } => {
                Some("delete a snapshot (`pyro workspace snapshot delete`)".to_owned())
            }
            Self::Archive { source, .. } => archive_hint(source).map(str::to_owned),
            Self::OtherEnvironment { .. } => Some(
                "a disk fits only the root image that it was made over: load it on a host that has that environment, or take its \
                 files out with `pyro workspace disk export --merged` where it was saved"
                    .to_owned(),
            ),
            Self::LimitReached { .. } => Some(
                "stop or delete a workspace, wait for runs to end, or raise the limit (`pyro config show`)"
                    .to_owned(),
            ),
            Self::Stalled { cause, workspace } => Some(stall_hint(*cause, workspace)),
            Self::Files(error) => error.hint(),
            Self::WrongState { .. } => None,
            Self::Invalid { .. } | Self::Unable { .. } | Self::Cancelled | Self::Task(_) => None,
        }
    }

    /// Whether the command may have run, when that is in doubt.
    pub fn work_started(&self) -> bool {
        matches!(
            self,
            Self::MachineLost { work_started: true, .. }
                | Self::WorkspaceMachineLost { .. }
                | Self::Expired { .. }
                | Self::CommandLost { fate: Fate::Unknown, .. }
        )
    }
}

/// An error and its causes in one line, each said once.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            // Writing to a String cannot fail.
            let _written = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}

fn disk_hint(error: &DiskError) -> Option<String> {
    match error {
        DiskError::NotFound { .. } => Some("`pyro workspace disk list` shows what there is".to_owned()),
        DiskError::NotADirectory { .. }
        | DiskError::NotAFile { .. }
        | DiskError::BadPath { .. }
        | DiskError::TooManyLinks { .. }
        | DiskError::Write { .. } => None,
        _ => Some(
            "`pyro workspace start` lets the guest's kernel look at it; the disk is as it was".to_owned(),
        ),
    }
}

fn archive_hint(error: &ArchiveError) -> Option<&'static str> {
    match error {
        ArchiveError::Newer { .. } => Some("load it with the newer release"),
        ArchiveError::Foreign | ArchiveError::NotAFile => Some("name a file that `pyro workspace save` made"),
        ArchiveError::Damaged { .. } | ArchiveError::Compression(_) => {
            Some("nothing was made; fetch the file again, or save the workspace again")
        }
        ArchiveError::Changed => Some("nothing is left of it; load the file when nobody writes to it"),
        ArchiveError::TooLong { .. } => Some("remove labels with `pyro workspace update`"),
        ArchiveError::Manifest(_) | ArchiveError::Refused { .. } | ArchiveError::Read(_) => None,
    }
}

fn engine_hint(error: &EngineError) -> Option<String> {
    match error {
        EngineError::Program { .. } => Some("install QEMU; `pyro doctor` says how".to_owned()),
        EngineError::NoUserId { .. } => {
            Some("wait for a machine to end, or configure a larger range of user ids".to_owned())
        }
        _ => Some("`pyro doctor` checks this host and says what to mend".to_owned()),
    }
}

fn stall_hint(cause: StallCause, workspace: &WorkspaceId) -> String {
    match cause {
        StallCause::DiskFull => "free some disk space on the host: it goes on by itself".to_owned(),
        StallCause::DiskFailed => {
            "mend the host's disk, or raise its quota: it goes on by itself a little later".to_owned()
        }
        StallCause::Paused => "it goes on when whoever paused it on the host resumes it".to_owned(),
        StallCause::Broken => format!(
            "it cannot go on: `pyro workspace stop {workspace}` ends it and keeps its disk, from which it can be started again"
        ),
    }
}

fn environment_hint(error: &EnvironmentError) -> Option<String> {
    match error {
        EnvironmentError::MissingTool { mend, .. } => Some(mend.clone()),
        EnvironmentError::DiskFull { .. } => Some(DISK_FULL_HINT.to_owned()),
        EnvironmentError::Damaged { .. } => Some(
            "`pyro env pull` makes the environment again; `pyro env inspect --verify` checks every file"
                .to_owned(),
        ),
        EnvironmentError::UnknownEnvironment { .. } => {
            Some("`pyro env list` shows what there is; `pyro env import` adds your own".to_owned())
        }
        EnvironmentError::BuildFailed { .. } => {
            Some("try again; `pyro doctor` checks what building needs".to_owned())
        }
        _ => None,
    }
}

const DISK_FULL_HINT: &str = "free some disk space, or remove left-overs with `pyro env prune`";

fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn listed(ids: &[WorkspaceId]) -> String {
    ids.iter().map(WorkspaceId::as_str).collect::<Vec<_>>().join(", ")
}

fn evidence(console: &str) -> String {
    if console.is_empty() { String::new() } else { format!("; its console ended with: {console}") }
}
