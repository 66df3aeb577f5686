//! What can go wrong with the store's database.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

/// The store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer release wrote it. It is left alone.
    #[error("`{}` was written by a newer release (store version {found}, this release knows {known})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Newest version that this release knows.
        known: i64,
    },
    /// The database refused.
    #[error("cannot {operation} in the store")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// The database's own check of itself found damage.
    #[error("the store is damaged: {finding}")]
    Damaged {
        /// What it found first.
        finding: String,
    },
    /// A file of the store cannot be used.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A record is not what it should be.
    #[error("the record of {object} is unreadable")]
    Record {
        /// Of what.
        object: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no such workspace in the store.
    #[error("the store has no workspace `{id}`")]
    NoWorkspace {
        /// The id.
        id: String,
    },
    /// The store's thread is gone.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the host's disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::File { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether the database is broken in itself, so that making it again can help.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Database { source, .. } => matches!(
                source.sqlite_error_code(),
                // A table or column that is missing is "unknown".
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
            ),
            _ => false,
        }
    }

    /// For `map_err`: the database failed at `operation`.
    pub(super) fn database(operation: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Database { operation, source }
    }
}
