//! What can go wrong with an environment. Every variant has a stable [`Error::code`].

use std::{io, path::PathBuf};

use crate::disk_space::Shortage;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation on environments.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing in the catalogue and nothing imported has this name.
    #[error("unknown environment `{name}` (known: {})", known.join(", "))]
    UnknownEnvironment {
        /// What was asked for.
        name: String,
        /// Names that would have worked, sorted.
        known: Vec<String>,
    },
    /// The name starts with `oci:`, which is kept for images from registries.
    #[error(
        "environment name `{name}` is reserved: names starting with `oci:` are kept for images from registries"
    )]
    ReservedName {
        /// What was asked for.
        name: String,
    },
    /// The name cannot be the name of an environment.
    #[error("bad environment name `{name}`: {reason}")]
    BadName {
        /// What was given.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A program or a setting of this host is missing.
    #[error("building an environment needs {tool}, which is missing")]
    MissingTool {
        /// What is missing.
        tool: String,
        /// The command that mends it.
        mend: String,
    },
    /// A step of the build failed.
    #[error("building `{name}` failed while {stage}: {log_tail}")]
    BuildFailed {
        /// Environment being built.
        name: String,
        /// What it was doing.
        stage: String,
        /// The last lines that the builder printed.
        log_tail: String,
    },
    /// A file system is full, or has too little room for what is about to begin.
    #[error("no space left on the disk of {}{}", path.display(), shortage.map_or_else(String::new, |shortage| format!(": {shortage}")))]
    DiskFull {
        /// A path on the full file system.
        path: PathBuf,
        /// What was missing, when that was seen beforehand.
        shortage: Option<Shortage>,
    },
    /// An installed file is not what was recorded when it was installed.
    #[error("{} is damaged: expected {expected}, found {found}", file.display())]
    Damaged {
        /// The damaged (or missing) file.
        file: PathBuf,
        /// What the record says.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The archive or directory to import cannot become a root file system.
    #[error("cannot use {} as a root file system: {reason}", origin.display())]
    BadRootfs {
        /// The archive.
        origin: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The root file system has no usable kernel or lacks a module.
    #[error("no usable kernel: {reason}")]
    BadKernel {
        /// What is wrong with it.
        reason: String,
    },
    /// The caller's cancellation fired.
    #[error("cancelled")]
    Cancelled,
    /// The operating system refused something.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// Verb, e.g. `write`.
        operation: &'static str,
        /// Object.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::UnknownEnvironment { .. } => "unknown_environment",
            Error::ReservedName { .. } => "environment_name_reserved",
            Error::BadName { .. } => "bad_environment_name",
            Error::MissingTool { .. } => "missing_tool",
            Error::BuildFailed { .. } => "environment_build_failed",
            Error::DiskFull { .. } => "disk_full",
            Error::Damaged { .. } => "environment_damaged",
            Error::BadRootfs { .. } => "bad_rootfs",
            Error::BadKernel { .. } => "bad_kernel",
            Error::Cancelled => "cancelled",
            Error::Io { .. } => "io",
        }
    }

    /// For `map_err`: names operation and object, and tells a full disk from other causes.
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { path, shortage: None }
            }
            _ => Error::Io { operation, path, source },
        }
    }
}
