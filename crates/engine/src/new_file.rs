//! [`NewFile`]: a file that stays only when all that it is a part of came about.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use crate::EngineError;

/// A file that is gone with its handle unless it is kept.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    keep: bool,
}

impl NewFile {
    /// Makes it, for its owner alone.
    pub(crate) fn create(path: PathBuf) -> Result<Self, EngineError> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = created.map_err(|e| EngineError::file("create", &path, e))?;
        Ok(Self { path, file, keep: false })
    }

    /// The same file for somebody else to write to.
    pub(crate) fn share(&self) -> Result<File, EngineError> {
        self.file.try_clone().map_err(|e| EngineError::file("share", &self.path, e))
    }

    /// From now on it stays.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = ?self.path, "a file of a failed capture stays");
        }
    }
}
