//! Why memory was not kept, or cannot be used.

use std::{io, path::PathBuf};

use pyro_engine::memory_delta::MemoryDeltaError;

use super::{page_digests::PageDigestsError, sealed::SealedError};

/// Memory was not kept, or what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptMemoryError {
    /// What a capture wrote is no delta of such a machine.
    #[error("cannot keep the memory in `{}`", path.display())]
    Captured {
        /// The delta.
        path: PathBuf,
        /// What is wrong with it.
        source: MemoryDeltaError,
    },
    /// What was kept cannot be opened or is not what was kept, as [`SealedError`] tells.
    #[error("cannot use what was kept in `{}`", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealedError,
    },
    /// What was kept is sealed by this store, and still no digests of such a machine.
    #[error("cannot use the digests in `{}`", path.display())]
    Digests {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PageDigestsError,
    },
    /// A file cannot be read or written.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}
