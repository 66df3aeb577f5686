//! A directory of binaries that every account of the host may run, gone when it is dropped.
//!
//! A checkout often lies where other accounts cannot go (root's home, a private directory), and the suite runs
//! under another account than the build.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};

use crate::checkout;

/// How many were made.
static STAGES: AtomicUsize = AtomicUsize::new(0);

/// The directory.
#[derive(Debug)]
pub(crate) struct Stage(PathBuf);

impl Stage {
    /// Makes an empty one.
    pub(crate) fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!(
            "pyro-stage-{}-{}",
            std::process::id(),
            STAGES.fetch_add(1, Ordering::Relaxed)
        ));
        // Fails on one that exists, so nobody can have prepared it for us.
        DirBuilder::new().mode(0o755).create(&path).with_context(|| format!("make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("open {} to all", path.display()))?;
        Ok(Self(path))
    }

    /// Copies an executable in, under its own name.
    pub(crate) fn add(&self, binary: &Path) -> Result<PathBuf> {
        let name = binary.file_name().context("a binary without a name")?;
        let staged = self.0.join(name);
        fs::copy(binary, &staged)
            .and_then(|_bytes| fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("stage {}", binary.display()))?;
        Ok(staged)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Copies a file in, at a place below.
    pub(crate) fn copy(&self, file: &Path, place: &Path) -> Result<PathBuf> {
        let staged = self.0.join(place);
        let copy = || {
            self.directory(place.parent().unwrap_or_else(|| Path::new("")))?;
            fs::copy(file, &staged)?;
            fs::set_permissions(&staged, fs::Permissions::from_mode(0o644))?;
            // With its time, or what Python compiled of it is compiled again in every process.
            fs::File::open(&staged)?.set_modified(fs::metadata(file)?.modified()?)
        };
        copy().with_context(|| format!("stage {}", file.display()))?;
        Ok(staged)
    }

    /// Makes a directory below, and those above it, which every account may look into whatever the mask of new files is.
    fn directory(&self, place: &Path) -> io::Result<()> {
        let mut made = self.0.clone();
        for name in place.components() {
            made.push(name);
            match DirBuilder::new().create(&made) {
                Ok(()) => fs::set_permissions(&made, fs::Permissions::from_mode(0o755))?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Copies the repository's files below `part` in, at a place below.
    pub(crate) fn part(&self, part: &Path, place: &Path) -> Result<()> {
        for file in checkout::files()? {
            if let Ok(inside) = file.strip_prefix(part) {
                self.copy(&checkout::root().join(&file), &place.join(inside))?;
            }
        }
        Ok(())
    }

    /// Puts the files of a directory in, at a place below, without the links among them. They are many and some are large, so
    /// they are the same files where that can be and every account may read them.
    pub(crate) fn tree(&self, directory: &Path, place: &Path) -> Result<PathBuf> {
        let staged = self.0.join(place);
        self.directory(place).with_context(|| format!("make {}", staged.display()))?;
        let entries =
            fs::read_dir(directory).with_context(|| format!("look into {}", directory.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("look into {}", directory.display()))?;
            let (file, place) = (entry.path(), place.join(entry.file_name()));
            let kind = entry.file_type().with_context(|| format!("look at {}", file.display()))?;
            if kind.is_dir() {
                self.tree(&file, &place)?;
            } else if kind.is_file() && !self.linked(&file, &place) {
                self.copy(&file, &place)?;
            }
        }
        Ok(staged)
    }
}

impl Stage {
    fn linked(&self, file: &Path, place: &Path) -> bool {
        let everybody_reads = fs::metadata(file).is_ok_and(|about| about.permissions().mode() & 0o004 != 0);
        everybody_reads && fs::hard_link(file, self.0.join(place)).is_ok()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}
