//! Between the contract's words and the library's: the only file that knows both.

use std::{collections::BTreeMap, io, time::Duration};

use pyro_api::{
    ErrorBody, ErrorCode, environment as contract,
    error::Work,
    run::{self, Cleanup, EXECUTION_MODE, RunEvent as ContractEvent, RunReport},
};
use pyro_engine::EngineError;
use pyro_environments::{CATALOGUE_VERSION, Environment, EnvironmentInfo, Source};
use pyro_workspace::{
    CommandEnd, DiskError, Error, RunEvent, RunOutcome, RunRequest, StartKind,
    commands::{Fate, job_id},
    session::SessionError,
    workspaces::ArchiveError,
};
use rustix::io::Errno;

/// The contract's name of the only platform.
pub(crate) const PLATFORM: &str = "linux-x86_64";

/// Releases that can use the environments of this one.
const COMPATIBILITY: &str = ">=0.1.0,<1.0.0";

/// What a machine lives on after its command's timeout, so that the timeout is always the one that is told.
const LIFE_BEYOND_TIMEOUT: Duration = Duration::from_secs(60);

/// Fields of a request whose values have a range.
const SIZES: [&str; 4] = ["vcpu_count", "mem_mib", "timeout_seconds", "ttl_seconds"];

/// What to do when the host has run out of something.
const EXHAUSTION_HINT: &str =
    "wait for other work to end, or raise the limits on open files and processes (see `ulimit -a`)";

/// Exit status that says "timeout", as `timeout(1)` has it.
pub(super) const TIMED_OUT_STATUS: i32 = 124;

/// A run in the library's words. It was checked before, so that every number fits.
pub(super) fn run_request(request: &run::RunRequest) -> RunRequest {
    let timeout = Duration::from_secs(request.timeout_seconds);
    let ttl = (request.ttl_seconds > 0)
        .then(|| Duration::from_secs(request.ttl_seconds).max(timeout + LIFE_BEYOND_TIMEOUT));
    RunRequest {
        cwd: request.cwd.as_ref().map(|cwd| cwd.0.clone()),
        env: request.env.iter().map(|(name, value)| (name.clone().into_bytes(), value.0.clone())).collect(),
        user: request.user.clone(),
        vcpus: u8::try_from(request.vcpu_count).unwrap_or(u8::MAX),
        mem_mib: request.mem_mib,
        timeout,
        ttl,
        stdin: request.stdin,
        ..RunRequest::new(request.environment.clone(), request.command.to_argv())
    }
}

/// An event for the client; nothing for output, which is no event in the contract.
pub(super) fn run_event(event: &RunEvent) -> Option<ContractEvent> {
    let phase =
        |phase: &str, vm_id| Some(ContractEvent::Phase { phase: phase.to_owned(), vm_id: Some(vm_id) });
    match event {
        RunEvent::Pulling { phase, fraction } => Some(ContractEvent::Progress(contract::Progress {
            step: phase.clone(),
            fraction: *fraction,
            detail: String::new(),
        })),
        RunEvent::Starting(id) => phase("start", id.as_str().to_owned()),
        RunEvent::Executing(id) => phase("execute", id.as_str().to_owned()),
        RunEvent::Stdout(_) | RunEvent::Stderr(_) => None,
    }
}

/// The end of a run in the contract's words; `taken` is the whole request's time.
pub(super) fn run_report(request: &run::RunRequest, outcome: &RunOutcome, taken: Duration) -> RunReport {
    let vm_id = outcome.machine.as_str().to_owned();
    let (exit_code, signal) = match outcome.end {
        CommandEnd::Exited(code) => (code, None),
        CommandEnd::Signalled(signal) => (128 + signal, Some(signal)),
        CommandEnd::TimedOut => (TIMED_OUT_STATUS, None),
    };
    let phases_ms: BTreeMap<String, u64> =
        outcome.phases.named().iter().map(|(name, time)| ((*name).to_owned(), milliseconds(*time))).collect();
    RunReport {
        environment: request.environment.clone(),
        environment_version: Some(outcome.environment_version.clone()),
        command: request.command.display(),
        exit_code,
        signal,
        timed_out: outcome.end == CommandEnd::TimedOut,
        out_of_memory: outcome.out_of_memory,
        duration_ms: milliseconds(taken),
        command_duration_ms: milliseconds(outcome.duration),
        phases_ms,
        execution_mode: EXECUTION_MODE.to_owned(),
        isolation: isolation_name(outcome.isolation).to_owned(),
        start: match outcome.start {
            StartKind::Restored => "restored",
            StartKind::Booted => "booted",
        }
        .to_owned(),
        stdout_bytes: outcome.stdout_bytes,
        stderr_bytes: outcome.stderr_bytes,
        cleanup: Cleanup { vm_id: vm_id.clone(), deleted: true, reason: "post_exec_cleanup".to_owned() },
        vm_id,
    }
}

/// The contract's word for what separates a machine from the host.
pub(super) fn isolation_name(isolation: pyro_engine::Isolation) -> &'static str {
    match isolation {
        pyro_engine::Isolation::Kvm => "kvm",
        pyro_engine::Isolation::Emulated => "emulated",
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is known of an environment.
pub(crate) fn environment(info: EnvironmentInfo) -> contract::Environment {
    contract::Environment {
        name: info.name,
        version: info.version,
        description: info.description,
        default_packages: info.default_packages,
        distribution: info.distribution,
        distribution_version: info.distribution_version,
        platform: PLATFORM.to_owned(),
        oci_registry: None,
        oci_repository: None,
        oci_reference: None,
        source_digest: info.source_digest.map(|digest| digest.as_str().to_owned()),
        compatibility: COMPATIBILITY.to_owned(),
        catalog_version: CATALOGUE_VERSION.to_owned(),
        installed: info.installed,
        cache_dir: info.cache_dir.display().to_string(),
        install_dir: info.install_dir.display().to_string(),
        install_manifest: info.install_manifest.map(|path| path.display().to_string()),
        verified: None,
    }
}

/// An environment that is ready.
pub(super) fn pulled(info: EnvironmentInfo, installed: &Environment) -> contract::PulledEnvironment {
    contract::PulledEnvironment {
        kernel_image: installed.vmlinux().display().to_string(),
        rootfs_image: installed.root_image().display().to_string(),
        source: match installed.record.source {
            Source::Mmdebstrap => "mmdebstrap",
            Source::Import => "import",
        }
        .to_owned(),
        environment: environment(info),
    }
}

/// Progress of a builder.
pub(super) fn pull_event(progress: &pyro_environments::Progress) -> contract::PullEvent {
    contract::PullEvent::Progress(contract::Progress {
        step: progress.phase.to_string(),
        fraction: Some(progress.fraction),
        detail: progress.detail.clone(),
    })
}

/// A failure of the library in the contract's words.
pub(crate) fn error_body(error: &Error) -> ErrorBody {
    let mut body = ErrorBody::new(code(error), pyro_workspace::chain(error));
    body.hint = match body.code {
        ErrorCode::HostExhausted if is_exhaustion(error) => Some(EXHAUSTION_HINT.to_owned()),
        _ => error.hint(),
    };
    match error {
        Error::CommandLost { sequence, fate, .. } => {
            let work = match fate {
                Fate::NeverStarted => Work::NeverStarted,
                Fate::Unknown => Work::Unknown,
            };
            body.with_work(work, Some(job_id(*sequence)))
        }
        error if error.work_started() => body.with_work_started(true),
        _ => body,
    }
}

/// The contract has fewer codes than the libraries have errors: one for each thing that a caller can do about it.
fn code(error: &Error) -> ErrorCode {
    if is_exhaustion(error) {
        return ErrorCode::HostExhausted;
    }
    match error {
        Error::Invalid { field, .. } if SIZES.contains(field) => ErrorCode::InvalidSize,
        Error::Invalid { field: "pattern", .. } => ErrorCode::BadPattern,
        Error::Invalid { .. } => ErrorCode::InvalidRequest,
        Error::Environment(error) => environment_code(error),
        Error::Store { source, .. } => store_code(source),
        Error::Tool { source: Some(_), .. } => ErrorCode::HostRequirement,
        Error::Engine { source, .. } => engine_code(source),
        Error::Guest { source, .. } => guest_code(source),
        Error::Tool { source: None, .. } | Error::GuestSilent { .. } => ErrorCode::StartFailed,
        Error::MachineLost { .. } | Error::WorkspaceMachineLost { .. } => ErrorCode::MachineLost,
        Error::Expired { .. } => ErrorCode::MachineExpired,
        Error::Cancelled => ErrorCode::Cancelled,
        Error::UnknownWorkspace { .. } => ErrorCode::UnknownWorkspace,
        Error::AmbiguousName { .. } => ErrorCode::AmbiguousName,
        Error::WrongState { .. } => ErrorCode::WrongState,
        Error::WorkspaceExpired { .. } => ErrorCode::WorkspaceExpired,
        Error::Busy { .. } | Error::DiskRead { .. } => ErrorCode::WorkspaceBusy,
        Error::NothingToUndo { .. } => ErrorCode::NothingToUndo,
        Error::UnknownSnapshot { .. } => ErrorCode::UnknownSnapshot,
        Error::SnapshotExists { .. } => ErrorCode::SnapshotExists,
        Error::SnapshotDamaged { .. } => ErrorCode::SnapshotDamaged,
        Error::SnapshotMemory { source, .. } if super::answers::failures::is_disk_full(source.as_ref()) => {
            ErrorCode::DiskFull
        }
        Error::SnapshotMemory { .. } | Error::SnapshotCompose { .. } | Error::NoSnapshots { .. } => {
            ErrorCode::SnapshotFailed
        }
        Error::Disk { source, .. } => disk_code(source),
        Error::Archive { source, .. } => archive_code(source),
        Error::OtherEnvironment { .. } => ErrorCode::EnvironmentMismatch,
        Error::LimitReached { .. } => ErrorCode::LimitReached,
        Error::Stalled { .. } => ErrorCode::WorkspaceStalled,
        Error::UnknownCommand { .. } => ErrorCode::UnknownSequence,
        Error::KeyTaken { .. } | Error::CallTaken { .. } => ErrorCode::IdempotencyConflict,
        Error::CommandLost { fate: Fate::NeverStarted, .. } => ErrorCode::NeverStarted,
        Error::CommandLost { fate: Fate::Unknown, .. } => ErrorCode::WorkUnknown,
        Error::Index(error) if error.is_disk_full() => ErrorCode::DiskFull,
        Error::Index(_) => ErrorCode::StoreFailed,
        Error::Files(error) => super::answers::failures::file_code(error),
        Error::Unable { .. } | Error::Task(_) => ErrorCode::Internal,
    }
}

fn disk_code(error: &DiskError) -> ErrorCode {
    match error {
        DiskError::NotFound { .. } => ErrorCode::PathNotFound,
        DiskError::NotADirectory { .. } | DiskError::NotAFile { .. } => ErrorCode::WrongFileType,
        DiskError::BadPath { .. } => ErrorCode::InvalidRequest,
        DiskError::TooManyLinks { .. } => ErrorCode::PathEscapes,
        DiskError::Write { source, .. } => match store_code(source) {
            ErrorCode::DiskFull => ErrorCode::DiskFull,
            _ => ErrorCode::FileFailed,
        },
        DiskError::Open { source, .. } | DiskError::Read { source, .. } => store_code(source),
        // Corrupt, of an unknown kind, or with more in it than is looked at; of a newer library as well.
        _ => ErrorCode::DiskDamaged,
    }
}

fn archive_code(error: &ArchiveError) -> ErrorCode {
    match error {
        ArchiveError::Read(_) => ErrorCode::FileFailed,
        ArchiveError::NotAFile => ErrorCode::WrongFileType,
        ArchiveError::Changed => ErrorCode::Conflict,
        ArchiveError::TooLong { .. } => ErrorCode::FileTooLarge,
        ArchiveError::Foreign
        | ArchiveError::Newer { .. }
        | ArchiveError::Damaged { .. }
        | ArchiveError::Compression(_)
        | ArchiveError::Manifest(_)
        | ArchiveError::Refused { .. } => ErrorCode::BadArchive,
    }
}

/// The code of a failure of the environments' library.
pub(crate) fn environment_code(error: &pyro_environments::Error) -> ErrorCode {
    use pyro_environments::Error as Of;
    match error {
        Of::UnknownEnvironment { .. } => ErrorCode::UnknownEnvironment,
        Of::ReservedName { .. } => ErrorCode::NotYetSupported,
        Of::BadName { .. } => ErrorCode::InvalidRequest,
        Of::MissingTool { .. } => ErrorCode::HostRequirement,
        Of::DiskFull { .. } => ErrorCode::DiskFull,
        Of::Damaged { .. } => ErrorCode::EnvironmentDamaged,
        Of::Cancelled => ErrorCode::Cancelled,
        Of::Io { source, .. } => store_code(source),
        // Building failed, or what was given cannot be built from; errors of a newer library are of this kind too.
        _ => ErrorCode::EnvironmentFailed,
    }
}

fn engine_code(error: &EngineError) -> ErrorCode {
    match error {
        EngineError::Program { .. } => ErrorCode::HostRequirement,
        EngineError::File { source, .. } => store_code(source),
        EngineError::NoUserId { .. } => ErrorCode::HostExhausted,
        EngineError::MemoryUnreadable { .. }
        | EngineError::CaptureUnprepared
        | EngineError::CaptureStalled { .. } => ErrorCode::SnapshotFailed,
        // Whatever went wrong on the way: the machine did not come to life.
        _ => ErrorCode::StartFailed,
    }
}

/// A command that cannot be started is no failure but a run that ends with 125, 126 or 127: it never comes here.
fn guest_code(error: &SessionError) -> ErrorCode {
    match error {
        SessionError::Refused { .. } => ErrorCode::GuestRefused,
        _ => ErrorCode::GuestMisbehaved,
    }
}

/// Whether the host ran out of descriptors, processes or memory, wherever below that was noticed.
fn is_exhaustion(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        let number = cause.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
        let number = number.or_else(|| cause.downcast_ref::<Errno>().copied());
        // EAGAIN is what a process or a thread is refused with.
        matches!(number, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN))
    })
}

fn store_code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
        io::ErrorKind::OutOfMemory => ErrorCode::HostExhausted,
        _ => ErrorCode::StoreFailed,
    }
}

#[cfg(test)]
mod tests {
    use pyro_api::{run::CommandLine, workspace::snapshot};
    use pyro_workspace::{policy, session::FailureCode, workspaces};

    use super::*;

    #[test]
    fn contract_and_library_admit_the_same() {
        let widened = |range: &std::ops::RangeInclusive<u8>| (*range.start()).into()..=(*range.end()).into();
        assert_eq!(run::VCPU_COUNTS, widened(&policy::VCPUS));
        assert_eq!(run::MEM_MIBS, policy::MEM_MIB);
        assert_eq!(Duration::from_secs(*run::TTLS_SECONDS.start()), policy::SHORTEST_TTL);
        assert_eq!(pyro_api::workspace::identity::MAX_SNAPSHOT_NAME_CHARS, workspaces::SNAPSHOT_NAME_CHARS);
        assert_eq!(snapshot::MAX_COMMENT_CHARS, workspaces::SNAPSHOT_COMMENT_CHARS);
        assert_eq!(*snapshot::FORK_COUNTS.end(), u64::from(workspaces::MOST_FORKS));
        let contract = run::RunRequest::new("debian:12", CommandLine::Shell("true".into()));
        let library = RunRequest::new("debian:12", contract.command.to_argv());
        assert_eq!(run_request(&contract), library, "the defaults are the same");
        for request in [
            run::RunRequest { vcpu_count: *run::VCPU_COUNTS.end(), ..contract.clone() },
            run::RunRequest { mem_mib: *run::MEM_MIBS.end(), ..contract.clone() },
            run::RunRequest { timeout_seconds: *run::TIMEOUTS_SECONDS.end(), ..contract.clone() },
            run::RunRequest {
                ttl_seconds: *run::TTLS_SECONDS.start(),
                timeout_seconds: 1,
                ..contract.clone()
            },
        ] {
            request.check().unwrap();
            policy::admit_run(&run_request(&request)).unwrap();
        }
        let refused = policy::admit_run(&RunRequest { mem_mib: run::MEM_MIBS.start() - 1, ..library });
        let body = error_body(&refused.unwrap_err());
        assert_eq!(body.code, ErrorCode::InvalidSize);
    }

    #[test]
    fn a_host_that_has_run_out_of_something_is_told_so_wherever_it_is_noticed() {
        for (number, code) in [
            (Errno::MFILE, ErrorCode::HostExhausted),
            (Errno::NFILE, ErrorCode::HostExhausted),
            (Errno::NOMEM, ErrorCode::HostExhausted),
            (Errno::ACCESS, ErrorCode::StartFailed),
        ] {
            let launch = pyro_engine::launch::LaunchError::Talk(number.into());
            let error = Error::Engine { operation: "start", source: EngineError::Launch(launch) };
            let body = error_body(&error);
            assert_eq!((body.retryable, &body.code), (code.retryable(), &code), "{error}");
            assert_eq!(body.hint.as_deref() == Some(EXHAUSTION_HINT), code == ErrorCode::HostExhausted);
        }
        let opened = Error::Store { operation: "open", path: "/x".into(), source: Errno::MFILE.into() };
        assert_eq!(error_body(&opened).code, ErrorCode::HostExhausted);
    }

    #[test]
    fn a_guest_that_refuses_keeps_to_the_rules() {
        let code = |source| error_body(&Error::Guest { operation: "x", source }).code;
        let refused = SessionError::Refused { code: FailureCode::Exhausted, message: "do so".into() };
        assert_eq!(code(refused), ErrorCode::GuestRefused);
        assert_eq!(code(SessionError::Unexpected { operation: "x" }), ErrorCode::GuestMisbehaved);
    }

    #[test]
    fn the_timeout_is_always_before_the_end_of_life() {
        let request = |timeout_seconds, ttl_seconds| {
            run_request(&run::RunRequest {
                timeout_seconds,
                ttl_seconds,
                ..run::RunRequest::new("debian:12", CommandLine::Shell("true".into()))
            })
        };
        assert_eq!(request(30, 600).ttl, Some(Duration::from_secs(600)));
        assert_eq!(request(3600, 600).ttl, Some(Duration::from_secs(3660)));
        assert_eq!(request(30, 0).ttl, None);
        assert_eq!(request(30, 600).argv.len(), 3);
    }

    #[test]
    fn what_a_caller_can_do_decides_the_code() {
        let unknown =
            pyro_environments::Error::UnknownEnvironment { name: "x".into(), known: vec!["y".into()] };
        let body = error_body(&Error::from(unknown));
        assert_eq!((body.code, body.retryable), (ErrorCode::UnknownEnvironment, false));
        assert!(body.error.contains('y'));
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let body = error_body(&Error::Store { operation: "write", path: "/x".into(), source: full });
        assert_eq!((body.code, body.retryable), (ErrorCode::DiskFull, false));
        assert!(body.hint.is_some());
        let lost = Error::MachineLost { reason: "killed".into(), console: String::new(), work_started: true };
        let body = error_body(&lost);
        assert_eq!((body.work_started, body.retryable), (Some(true), true));
        assert_eq!(error_body(&Error::Cancelled).code, ErrorCode::Cancelled);
    }

    #[test]
    fn a_lost_command_says_whether_it_ran() {
        let lost = |fate| error_body(&Error::CommandLost { sequence: 7, fate, reason: "x".into() });
        let never = lost(Fate::NeverStarted);
        assert_eq!(
            (never.code, never.work, never.work_started),
            (ErrorCode::NeverStarted, Some(Work::NeverStarted), Some(false))
        );
        let unknown = lost(Fate::Unknown);
        assert_eq!(
            (unknown.code, unknown.work, unknown.work_started),
            (ErrorCode::WorkUnknown, Some(Work::Unknown), Some(true))
        );
        assert_eq!((never.job_id.as_deref(), unknown.job_id.as_deref()), (Some("c7"), Some("c7")));
    }

    #[test]
    fn nobody_is_told_to_repeat_blindly_what_a_workspace_may_have_done() {
        let lost = Error::WorkspaceMachineLost { reason: "killed".into(), console: String::new() };
        let body = error_body(&lost);
        assert_eq!((body.code, body.work_started), (ErrorCode::MachineLost, Some(true)));
        assert!(body.hint.unwrap().contains("workspace start"));
    }

    #[test]
    fn each_refusal_has_the_code_that_is_documented_for_it() {
        let pattern = Error::Invalid { field: "pattern", reason: "unclosed group".into() };
        assert_eq!(error_body(&pattern).code, ErrorCode::BadPattern);
        let workspace = pyro_workspace::workspaces::WorkspaceId::from_bytes([0; 6]);
        let expired = error_body(&Error::WorkspaceExpired { operation: "work in it", workspace });
        assert_eq!(expired.code, ErrorCode::WorkspaceExpired);
        assert!(expired.hint.unwrap().contains("workspace start"));
        let other = Error::OtherEnvironment {
            environment: "debian:12".into(),
            wanted: "1".into(),
            found: "2".into(),
        };
        assert_eq!(error_body(&other).code, ErrorCode::EnvironmentMismatch);
    }

    #[test]
    fn a_machine_that_cannot_be_saved_is_told_apart_from_a_full_disk() {
        let of_memory = |kind: io::ErrorKind| Error::SnapshotMemory {
            snapshot: "x".into(),
            source: Box::new(io::Error::from(kind)),
        };
        let of_engine = |source| Error::Engine { operation: "take a snapshot", source };
        let unreadable = || io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, code) in [
            (of_memory(io::ErrorKind::StorageFull), ErrorCode::DiskFull),
            (of_memory(io::ErrorKind::InvalidData), ErrorCode::SnapshotFailed),
            (Error::NoSnapshots { reason: "x" }, ErrorCode::SnapshotFailed),
            (of_engine(EngineError::CaptureUnprepared), ErrorCode::SnapshotFailed),
            (
                of_engine(EngineError::MemoryUnreadable { pid: 1, source: unreadable() }),
                ErrorCode::SnapshotFailed,
            ),
        ] {
            assert_eq!(error_body(&error).code, code, "{error}");
        }
    }
}
