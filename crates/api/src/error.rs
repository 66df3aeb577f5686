//! Errors as callers see them. The code is stable and meant for programs, the text is for people, the hint
//! says what to do next, and `retryable` says whether the same request may succeed when sent again.
//!
//! The table below decides what is retryable, so that it can be looked up: true where the cause passes by itself, false
//! where somebody has to mend or change something first. Where the failure leaves in doubt how far the operation came, that
//! is taken back unless doing it twice does no harm, see [`ErrorBody::of`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::operation::Operation;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $token:literal, exit $exit:literal, retryable $retryable:literal;)+) => {
        /// Stable names of failures. A program of a newer release may send one that this release does not
        /// know; it is then kept as [`ErrorCode::Unknown`].
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $variant,)+
            /// A code of a newer release.
            Unknown(String),
        }

        impl ErrorCode {
            /// Every code of this release.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The token on the wire, in JSON and in documents.
            pub fn token(&self) -> &str {
                match self {
                    $(ErrorCode::$variant => $token,)+
                    ErrorCode::Unknown(token) => token,
                }
            }

            /// Exit status of the command line for this failure.
            pub fn exit_status(&self) -> u8 {
                match self {
                    $(ErrorCode::$variant => $exit,)+
                    ErrorCode::Unknown(_) => 1,
                }
            }

            /// Whether the same request may succeed when it is simply sent again.
            pub fn retryable(&self) -> bool {
                match self {
                    $(ErrorCode::$variant => $retryable,)+
                    ErrorCode::Unknown(_) => false,
                }
            }

            /// Whether the operation may have been done, or done in part, when it fails so.
            pub fn leaves_in_doubt(&self) -> bool {
                matches!(self, Self::MachineLost | Self::GuestMisbehaved | Self::DaemonLost)
            }

            /// What the code means, in one sentence or two.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => concat!($($doc, "\n"),+).trim_ascii(),)+
                    ErrorCode::Unknown(_) => "a code of a newer release",
                }
            }

            /// The code that a token names.
            pub fn from_token(token: &str) -> Self {
                match token {
                    $($token => ErrorCode::$variant,)+
                    other => ErrorCode::Unknown(other.to_owned()),
                }
            }
        }
    };
}

error_codes! {
    /// The command line is malformed: an unknown flag, a missing argument.
    Usage = "usage", exit 2, retryable false;
    /// No command was given to run.
    MissingCommand = "missing_command", exit 2, retryable false;
    /// A request is malformed: not JSON, an unknown field, a value of the wrong kind.
    InvalidRequest = "invalid_request", exit 1, retryable false;
    /// A number of processors, an amount of memory or a time is out of its range.
    InvalidSize = "invalid_size", exit 1, retryable false;
    /// The request asks for something that a later release will do.
    NotYetSupported = "not_yet_supported", exit 1, retryable false;
    /// There is no environment of that name.
    UnknownEnvironment = "unknown_environment", exit 1, retryable false;
    /// The files of an environment are damaged.
    EnvironmentDamaged = "environment_damaged", exit 1, retryable false;
    /// An environment could not be made: packages could not be had, or what was given cannot become one.
    EnvironmentFailed = "environment_failed", exit 1, retryable true;
    /// The environment of that name is another one here than the one that an archive was made with, and its disk fits no other.
    EnvironmentMismatch = "environment_mismatch", exit 1, retryable false;
    /// The store on disk could not be used.
    StoreFailed = "store_failed", exit 1, retryable false;
    /// The host lacks something: a program, a permission, an ability of its kernel.
    HostRequirement = "host_requirement", exit 1, retryable false;
    /// The host's disk is full.
    DiskFull = "disk_full", exit 1, retryable false;
    /// The host has not enough memory, processes or file descriptors at the moment.
    HostExhausted = "host_exhausted", exit 1, retryable true;
    /// The machine did not come to life.
    StartFailed = "start_failed", exit 1, retryable true;
    /// The machine ended while it was in use: its process was killed, or its guest stopped. A workspace keeps its disk; of
    /// anything else nothing is left.
    MachineLost = "machine_lost", exit 1, retryable true;
    /// The machine reached the end of the life that it was given (`ttl_seconds`).
    MachineExpired = "machine_expired", exit 1, retryable false;
    /// The guest broke the rules of the protocol between host and guest.
    GuestMisbehaved = "guest_misbehaved", exit 1, retryable true;
    /// The guest could not do what it was asked: it lacks memory, process slots or disk space, or an ability.
    GuestRefused = "guest_refused", exit 1, retryable false;
    /// The caller went away or asked to stop.
    Cancelled = "cancelled", exit 130, retryable false;
    /// The daemon could not be started or reached.
    DaemonUnavailable = "daemon_unavailable", exit 1, retryable true;
    /// The daemon ended before it answered; the work may have been done in part, and nothing half-done is kept.
    DaemonLost = "daemon_lost", exit 1, retryable true;
    /// The daemon is in use and was not told to stop regardless.
    DaemonBusy = "daemon_busy", exit 1, retryable true;
    /// Client and daemon do not speak a common version of the contract.
    IncompatibleVersion = "incompatible_version", exit 1, retryable false;
    /// There is no operation at that route.
    UnknownOperation = "unknown_operation", exit 1, retryable false;
    /// The caller may not use this daemon, or not that path of the host.
    Forbidden = "forbidden", exit 1, retryable false;
    /// A file of the caller's could not be read or written.
    FileFailed = "file_failed", exit 1, retryable false;
    /// There is no workspace of that id or name.
    UnknownWorkspace = "unknown_workspace", exit 1, retryable false;
    /// Several workspaces have that name. The hint lists them.
    AmbiguousName = "ambiguous_name", exit 1, retryable false;
    /// The workspace is in a state in which this cannot be done, e.g. stopped. The text says in which.
    WrongState = "workspace_state", exit 1, retryable false;
    /// Nobody used the workspace for its lifetime, so its machine was stopped; `workspace start` starts it again.
    WorkspaceExpired = "workspace_expired", exit 1, retryable false;
    /// Commands run in the workspace, and it was not told to go regardless; or its disk is being read, and nothing may start
    /// on it.
    WorkspaceBusy = "workspace_busy", exit 1, retryable false;
    /// The machine pauses because the host's disk is full; it goes on by itself when there is room.
    WorkspaceStalled = "workspace_stalled", exit 1, retryable true;
    /// A limit is reached: the number of workspaces, or the memory or disk of all together. The text says what is in use.
    LimitReached = "limit_reached", exit 1, retryable false;
    /// The workspace's seed could not be read or unpacked. Nothing of the workspace is left.
    SeedFailed = "seed_failed", exit 1, retryable false;
    /// An archive is damaged, has members that no archive may have, or is of a newer release.
    BadArchive = "bad_archive", exit 1, retryable false;
    /// The idempotency key was used before for another request.
    IdempotencyConflict = "idempotency_conflict", exit 1, retryable false;
    /// Nobody knows whether the command ran: its machine was lost before it could say.
    WorkUnknown = "work_unknown", exit 1, retryable false;
    /// The command never ran; the text says why not. It may be run again, with another idempotency key if it had one.
    NeverStarted = "never_started", exit 1, retryable false;
    /// The workspace has no job of that id.
    UnknownJob = "unknown_job", exit 1, retryable false;
    /// The workspace has no command of that number.
    UnknownSequence = "unknown_sequence", exit 1, retryable false;
    /// There is nothing at that path of the workspace.
    PathNotFound = "path_not_found", exit 1, retryable false;
    /// The path leads out of `/workspace`, by itself or through a link.
    PathEscapes = "path_escapes", exit 1, retryable false;
    /// Something is there already.
    AlreadyExists = "already_exists", exit 1, retryable false;
    /// What is at the path is of another type than the operation wants, e.g. a directory instead of a file.
    WrongFileType = "wrong_file_type", exit 1, retryable false;
    /// The directory is not empty, and nothing was said about what is in it.
    NotEmpty = "directory_not_empty", exit 1, retryable false;
    /// A file, a patch or an answer is longer than allowed.
    FileTooLarge = "file_too_large", exit 1, retryable false;
    /// The text is there another number of times than expected. Nothing was replaced.
    CountMismatch = "count_mismatch", exit 1, retryable false;
    /// A pattern is malformed.
    BadPattern = "bad_pattern", exit 1, retryable false;
    /// The patch cannot be understood, or has parts of a kind that is not taken. Nothing was applied.
    PatchMalformed = "patch_malformed", exit 1, retryable false;
    /// The patch does not fit the files. Nothing was applied.
    PatchRejected = "patch_rejected", exit 1, retryable false;
    /// The disk of the workspace is full.
    GuestDiskFull = "guest_disk_full", exit 1, retryable false;
    /// Files changed while they were worked on. Nothing was done.
    Conflict = "conflict", exit 1, retryable true;
    /// A directory of the host has a journal of an unfinished change that was not written there by this user's pyro, or
    /// cannot be read. Nothing was touched; the hint says what to do.
    UntrustedJournal = "untrusted_journal", exit 1, retryable false;
    /// The disk of a workspace is damaged, or has something that this release cannot read. The disk is as it was.
    DiskDamaged = "disk_damaged", exit 1, retryable false;
    /// The workspace has no snapshot of that name.
    UnknownSnapshot = "unknown_snapshot", exit 1, retryable false;
    /// There are not so many steps in the timeline of the workspace that can be undone.
    NothingToUndo = "nothing_to_undo", exit 1, retryable false;
    /// The workspace has a snapshot of that name already.
    SnapshotExists = "snapshot_exists", exit 1, retryable false;
    /// A file of a snapshot is missing or is not as it was saved. The text names it; the workspace is as it was.
    SnapshotDamaged = "snapshot_damaged", exit 1, retryable false;
    /// The machine could not be saved: this host does not allow its memory to be read, or it was started by an earlier release.
    SnapshotFailed = "snapshot_failed", exit 1, retryable false;
    /// There is something at the output path, and it was not said to replace it.
    OutputExists = "output_exists", exit 1, retryable false;
    /// There is no machine of that id.
    UnknownVm = "unknown_vm", exit 1, retryable false;
    /// A fault of this program.
    Internal = "internal", exit 1, retryable false;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.token())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(ErrorCode::from_token(&String::deserialize(deserializer)?))
    }
}

/// Every failure, on the wire and in `--json` output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// Always false.
    pub ok: bool,
    /// What went wrong, for people; one line, at most [`ErrorBody::MAX_TEXT_BYTES`].
    pub error: String,
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What to do about it, when there is something to do.
    pub hint: Option<String>,
    /// Whether the same request may succeed when it is simply sent again, and does no harm then.
    pub retryable: bool,
    /// Whether the command may have run. Absent when that cannot be said or does not apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_started: Option<bool>,
    /// What became of the command, where the request was to run one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// The job that the command is, as far as it got onto the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

/// What became of a command whose request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It never ran. It may be run again; if it is a job by now, with another idempotency key.
    NeverStarted,
    /// It runs on.
    Running,
    /// It ended; the history has how.
    Finished,
    /// It may have run.
    Unknown,
}

impl ErrorBody {
    /// Longest text and longest hint; more is cut, so that every error fits into one frame.
    pub const MAX_TEXT_BYTES: usize = 8 * 1024;

    /// A failure of this kind, with the usual answer to "retryable".
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        let retryable = code.retryable();
        Self {
            ok: false,
            error: shortened(error.into()),
            code,
            hint: None,
            retryable,
            work_started: None,
            work: None,
            job_id: None,
        }
    }

    /// The same failure as that of `operation`: what may have been done is not simply to be sent again, unless it is known
    /// not to have begun or does no harm when it is done twice.
    #[must_use]
    pub fn of(mut self, operation: &Operation) -> Self {
        let has_not_begun = self.work_started == Some(false);
        self.retryable &= !self.code.leaves_in_doubt() || has_not_begun || operation.is_repeatable();
        self
    }

    /// The same failure with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(shortened(hint.into()));
        self
    }

    /// The same failure, saying whether the command may have run.
    #[must_use]
    pub fn with_work_started(mut self, work_started: bool) -> Self {
        self.work_started = Some(work_started);
        self
    }

    /// The same failure, saying what became of the command and which job it is, if it is one.
    #[must_use]
    pub fn with_work(mut self, work: Work, job_id: Option<String>) -> Self {
        self.work_started = match work {
            Work::NeverStarted => Some(false),
            Work::Running | Work::Finished | Work::Unknown => Some(true),
        };
        self.work = Some(work);
        self.job_id = job_id;
        self
    }

    /// An error of any type with its whole chain of causes, as one line.
    pub fn from_chain(code: ErrorCode, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(code, chain_text(error))
    }
}

/// An error and its causes, joined by colons.
pub fn chain_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl std::error::Error for ErrorBody {}

/// One line of at most [`ErrorBody::MAX_TEXT_BYTES`].
fn shortened(mut text: String) -> String {
    if text.len() > ErrorBody::MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(ErrorBody::MAX_TEXT_BYTES - "…".len()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_unique_and_come_back() {
        let mut tokens: Vec<&str> = ErrorCode::ALL.iter().map(ErrorCode::token).collect();
        for code in ErrorCode::ALL {
            assert_eq!(&ErrorCode::from_token(code.token()), code);
            assert!(!code.meaning().is_empty());
            assert_ne!(code.exit_status(), 0, "{code} must not look like success");
        }
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn what_must_be_mended_first_is_not_retried() {
        for code in ErrorCode::ALL {
            let passes_by_itself = matches!(
                code,
                ErrorCode::EnvironmentFailed
                    | ErrorCode::HostExhausted
                    | ErrorCode::StartFailed
                    | ErrorCode::MachineLost
                    | ErrorCode::GuestMisbehaved
                    | ErrorCode::DaemonUnavailable
                    | ErrorCode::DaemonLost
                    | ErrorCode::DaemonBusy
                    | ErrorCode::WorkspaceStalled
                    | ErrorCode::Conflict
            );
            assert_eq!(ErrorBody::new(code.clone(), "x").retryable, passes_by_itself, "{code}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_retried_only_where_that_does_no_harm() {
        use crate::operation::{
            Call, CreateWorkspace, ExecInVm, ExecInWorkspace, GrepFiles, ReplaceInFile, Run, StartWorkspace,
            WaitForJob,
        };
        let harmless = [
            GrepFiles::OPERATION,
            WaitForJob::OPERATION,
            Run::OPERATION,
            CreateWorkspace::OPERATION,
            StartWorkspace::OPERATION,
        ];
        let harmful = [ExecInWorkspace::OPERATION, ReplaceInFile::OPERATION, ExecInVm::OPERATION];
        for code in [ErrorCode::MachineLost, ErrorCode::GuestMisbehaved, ErrorCode::DaemonLost] {
            let lost = || ErrorBody::new(code.clone(), "x");
            for operation in harmless {
                assert!(lost().with_work_started(true).of(operation).retryable, "{}", operation.name);
            }
            for operation in harmful {
                assert!(!lost().of(operation).retryable, "{}", operation.name);
                assert!(!lost().with_work(Work::Unknown, None).of(operation).retryable);
                assert!(lost().with_work(Work::NeverStarted, None).of(operation).retryable);
            }
        }
        // Nothing was done, and nothing becomes retryable by this.
        assert!(ErrorBody::new(ErrorCode::Conflict, "x").of(ReplaceInFile::OPERATION).retryable);
        assert!(!ErrorBody::new(ErrorCode::PathNotFound, "x").of(GrepFiles::OPERATION).retryable);
    }

    #[test]
    fn what_became_of_a_command_also_says_whether_it_may_have_run() {
        for (work, token, may_have_run) in [
            (Work::NeverStarted, "never_started", false),
            (Work::Running, "running", true),
            (Work::Finished, "finished", true),
            (Work::Unknown, "unknown", true),
        ] {
            let body = ErrorBody::new(ErrorCode::Internal, "x").with_work(work, Some("c7".to_owned()));
            let json = serde_json::to_value(&body).unwrap();
            assert_eq!(
                (&json["work"], &json["work_started"], &json["job_id"]),
                (&token.into(), &may_have_run.into(), &"c7".into())
            );
        }
    }

    #[test]
    fn a_code_of_a_newer_release_is_kept() {
        let body: ErrorBody = serde_json::from_str(
            r#"{"ok":false,"error":"no","code":"brand_new","hint":null,"retryable":true,"more":1}"#,
        )
        .unwrap();
        assert_eq!(body.code, ErrorCode::Unknown("brand_new".into()));
        assert!(serde_json::to_string(&body).unwrap().contains("brand_new"));
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let body = ErrorBody::new(ErrorCode::Internal, "é".repeat(100_000));
        assert!(body.error.len() <= ErrorBody::MAX_TEXT_BYTES);
        assert!(body.error.ends_with("é…"));
    }

    #[test]
    fn causes_are_told_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("read the list")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::from_raw_os_error(2));
        assert_eq!(chain_text(&error), "read the list: No such file or directory (os error 2)");
    }
}
