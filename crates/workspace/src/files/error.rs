//! Why a file operation failed.

use std::{
    io,
    path::{Path, PathBuf},
};

use pyro_protocol::work::{WorkFailure, WorkFailureCode};
use pyro_tree::{archive, transaction, unpack};

use crate::{
    fault::{self, FaultPoint},
    seal_key::SealKeyError,
    session::SessionError,
};

/// A file operation was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The guest says why.
    #[error("failed to {message}")]
    Refused {
        /// Stable code.
        code: WorkFailureCode,
        /// A fragment that reads after "failed to"; it names the object.
        message: String,
        /// The path it is about, relative to `/workspace`; empty if none.
        path: Vec<u8>,
    },
    /// The talk with the worker broke off.
    #[error("cannot talk to the guest's file worker")]
    Session {
        /// Why.
        source: SessionError,
    },
    /// The worker ended in the middle of a request.
    #[error("the guest's file worker ended before it answered")]
    Ended,
    /// The worker said something that is no answer to the request.
    #[error("the guest's file worker broke the protocol: {0}")]
    Protocol(&'static str),
    /// Whoever asked went away; nothing was changed.
    #[error("the transfer was given up")]
    Abandoned,
    /// The request does not fit into one message.
    #[error("the request takes {bytes} bytes, more than a message may have")]
    TooLong {
        /// How many it takes.
        bytes: usize,
    },
    /// A file or directory of the host cannot be used.
    #[error("cannot {operation} `{}`", path.display())]
    Host {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// An archive of the host is damaged.
    #[error("`{}` is a bad archive", path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// What its decompressor says.
        source: io::Error,
    },
    /// Files of the host cannot be packed, or an archive of the host is of a kind that is not taken.
    #[error("cannot take files from `{}`", path.display())]
    Source {
        /// The directory or archive.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Not all of the source can be read, and what would come of the rest is not what was asked for. Nothing was done.
    #[error("cannot take all files from `{}`: {note}", path.display())]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// The first thing that is missing, and why.
        note: String,
    },
    /// A directory of the host cannot be changed as a whole; it is as it was.
    #[error("cannot change `{}`", path.display())]
    Change {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Box<transaction::Error>,
    },
    /// The key with which journals are sealed cannot be used.
    #[error("cannot use the key `{}`", path.display())]
    SealKey {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What the guest packed cannot be unpacked.
    #[error("cannot unpack what the guest sent for `{}`", path.display())]
    Unpack {
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: Box<unpack::Error>,
    },
    /// What the guest packed is no archive, or not of what was asked for.
    #[error("the guest sent a bad archive: {reason}")]
    GuestArchive {
        /// What is wrong with it.
        reason: String,
    },
    /// Something is in the place of an export.
    #[error("`{}` exists", path.display())]
    OutputExists {
        /// The place.
        path: PathBuf,
    },
    /// The guest has more to say than is held in memory.
    #[error("the guest has more {what} than can be handled at once")]
    TooMuch {
        /// Of what.
        what: &'static str,
    },
    /// The request does not fit this workspace or this path.
    #[error("{reason}")]
    Unsuited {
        /// Why not.
        reason: String,
        /// What to do instead.
        hint: &'static str,
    },
}

impl FileError {
    /// Whether the guest refused with this code.
    pub(crate) fn is(&self, wanted: WorkFailureCode) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// Whether somebody else was at work there, so that trying again may help.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Change { source, .. } => {
                use transaction::Error;
                matches!(**source, Error::Busy | Error::Changed { .. } | Error::Spared { .. })
            }
            _ => false,
        }
    }

    /// Whether a directory of the host has a journal that is not carried out, because it was not written there by this store,
    /// or cannot be read. Nothing was touched.
    pub fn is_untrusted_journal(&self) -> bool {
        use transaction::Error;
        let Self::Change { source, .. } = self else { return false };
        matches!(**source, Error::Foreign | Error::Unsealed | Error::BadJournal | Error::OtherVersion)
    }

    /// Whether a directory of the host is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        let gone = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
        matches!(self, Self::Host { source, .. } if gone.contains(&source.kind()))
    }

    /// What is wrong with a change to a directory of the host.
    pub(super) fn change(place: &Path) -> impl Fn(transaction::Error) -> Self {
        let path = place.to_owned();
        move |source| Self::Change { path: path.clone(), source: Box::new(source) }
    }

    /// What the caller can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Change { path, .. } if self.is_untrusted_journal() => {
                let staging = path.join(transaction::STAGING_NAME);
                return Some(format!(
                    "if `{}` came with a repository or an archive, remove it; if a pull of yours was cut off here, give the \
                     directory the path that it had then, or take what you miss out of `old` in it before you remove it",
                    staging.display()
                ));
            }
            Self::SealKey { .. } => {
                "remove the file: a new key is made; pulls that are cut off now are not settled by themselves, and memory that was kept \
                 with the old key cannot be read"
            }
            Self::Refused { code, .. } => return refused_hint(*code).map(str::to_owned),
            Self::Unsuited { hint, .. } => hint,
            Self::Ended | Self::Session { .. } => "try again; nothing was changed, or all of it",
            Self::OutputExists { .. } => "name another place, or replace what is there with `--force`",
            Self::Incomplete { .. } => "mend it, or leave it out with `--exclude`",
            Self::TooMuch { .. } => "ask for a part of it: a directory below, or a smaller limit",
            Self::Change { source, .. } => match &**source {
                transaction::Error::Busy => "wait for the other one to end, then try again",
                transaction::Error::Changed { .. } | transaction::Error::Spared { .. } => {
                    "try again: what is there now is compared anew"
                }
                _ => return None,
            },
            Self::Host { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some disk space"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn refused_hint(code: WorkFailureCode) -> Option<&'static str> {
    Some(match code {
        WorkFailureCode::NotFound => "`pyro workspace file list` shows what is there",
        WorkFailureCode::Escapes => {
            "a link on the way leads out of /workspace; `pyro workspace exec` reaches every file of the guest"
        }
        WorkFailureCode::NotEmpty => "it goes with all that it holds with `--recursive`",
        WorkFailureCode::CountMismatch => "read the file again, and give more of the text around the place",
        WorkFailureCode::PatchRejected => {
            "nothing was changed: read the file again and make the patch anew; `--check` only tries"
        }
        WorkFailureCode::PatchMalformed => "give a patch as `git diff` or `diff -u` writes it",
        WorkFailureCode::DiskFull => "delete files in the workspace, or make one with a larger `--disk-mib`",
        WorkFailureCode::Changed => "nothing was changed: try again",
        WorkFailureCode::Unsupported => {
            "the workspace's agent is older than this release: make a new workspace"
        }
        _ => return None,
    })
}

impl From<WorkFailure> for FileError {
    fn from(failure: WorkFailure) -> Self {
        let code = failure.code();
        // The guest's word: quoted, never interpreted.
        let message = failure.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self::Refused { code, message, path: failure.path }
    }
}

impl From<archive::Error> for FileError {
    fn from(error: archive::Error) -> Self {
        Self::GuestArchive { reason: crate::error::chain(&error) }
    }
}

impl From<SealKeyError> for FileError {
    fn from(error: SealKeyError) -> Self {
        Self::SealKey { path: error.path, source: error.source }
    }
}

impl From<SessionError> for FileError {
    fn from(source: SessionError) -> Self {
        Self::Session { source }
    }
}

/// Reaches a fault point of an operation on a file or directory.
pub(super) fn reach(point: FaultPoint, path: &Path) -> Result<(), FileError> {
    fault::reach(point).map_err(|source| FileError::Host {
        operation: "go on with",
        path: path.to_owned(),
        source,
    })
}
