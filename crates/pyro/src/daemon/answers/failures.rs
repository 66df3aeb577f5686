//! What became of an operation on files that failed, in the contract's codes.

use std::io;

use pyro_api::ErrorCode;
use pyro_workspace::files::{FileError, WorkFailureCode};

/// The code of a failure.
pub(in crate::daemon) fn file_code(error: &FileError) -> ErrorCode {
    match error {
        FileError::Refused { code, .. } => refusal_code(*code),
        FileError::Session { .. }
        | FileError::Ended
        | FileError::Protocol(_)
        | FileError::GuestArchive { .. } => ErrorCode::GuestMisbehaved,
        FileError::Abandoned => ErrorCode::Cancelled,
        FileError::TooLong { .. } | FileError::TooMuch { .. } => ErrorCode::FileTooLarge,
        FileError::Unsuited { .. } => ErrorCode::InvalidRequest,
        FileError::OutputExists { .. } => ErrorCode::OutputExists,
        error if is_disk_full(error) => ErrorCode::DiskFull,
        error if error.is_conflict() => ErrorCode::Conflict,
        FileError::Archive { .. } => ErrorCode::BadArchive,
        error if error.is_untrusted_journal() => ErrorCode::UntrustedJournal,
        FileError::Source { .. } | FileError::Incomplete { .. } => ErrorCode::SeedFailed,
        FileError::Host { .. }
        | FileError::Change { .. }
        | FileError::SealKey { .. }
        | FileError::Unpack { .. } => ErrorCode::FileFailed,
    }
}

fn refusal_code(code: WorkFailureCode) -> ErrorCode {
    match code {
        WorkFailureCode::Unspecified => ErrorCode::FileFailed,
        WorkFailureCode::Invalid => ErrorCode::InvalidRequest,
        WorkFailureCode::NotFound => ErrorCode::PathNotFound,
        WorkFailureCode::Exists => ErrorCode::AlreadyExists,
        WorkFailureCode::Escapes => ErrorCode::PathEscapes,
        WorkFailureCode::WrongType => ErrorCode::WrongFileType,
        WorkFailureCode::NotEmpty => ErrorCode::NotEmpty,
        WorkFailureCode::CountMismatch => ErrorCode::CountMismatch,
        WorkFailureCode::PatchMalformed => ErrorCode::PatchMalformed,
        WorkFailureCode::PatchRejected => ErrorCode::PatchRejected,
        WorkFailureCode::DiskFull => ErrorCode::GuestDiskFull,
        WorkFailureCode::BadArchive => ErrorCode::BadArchive,
        WorkFailureCode::TooLarge => ErrorCode::FileTooLarge,
        WorkFailureCode::BadPattern => ErrorCode::BadPattern,
        WorkFailureCode::Unsupported => ErrorCode::GuestRefused,
        WorkFailureCode::Abandoned => ErrorCode::Cancelled,
        WorkFailureCode::Changed => ErrorCode::Conflict,
    }
}

/// Whether the host's disk was full, wherever below that was noticed.
pub(in crate::daemon) fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_whose_it_is() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let host = FileError::Host { operation: "write", path: "/x".into(), source: full() };
        assert_eq!((file_code(&host), host.hint().is_some()), (ErrorCode::DiskFull, true));
        let refused = |code| FileError::Refused { code, message: "write `x`".to_owned(), path: Vec::new() };
        let guest = refused(WorkFailureCode::DiskFull);
        assert_eq!((file_code(&guest), guest.hint().is_some()), (ErrorCode::GuestDiskFull, true));
        let absent =
            FileError::Host { operation: "read", path: "/x".into(), source: io::ErrorKind::NotFound.into() };
        assert_eq!(file_code(&absent), ErrorCode::FileFailed);
        // The one is noticed here, the other in the guest: to whoever gave the archive it is the same.
        let torn = FileError::Archive { path: "/x".into(), source: io::ErrorKind::UnexpectedEof.into() };
        assert_eq!(file_code(&torn), ErrorCode::BadArchive);
        assert_eq!(file_code(&refused(WorkFailureCode::BadArchive)), ErrorCode::BadArchive);
        assert!(file_code(&refused(WorkFailureCode::Changed)).retryable());
    }
}
