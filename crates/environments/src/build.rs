//! One build: an origin becomes an installed directory.
//!
//! ```text
//! (nothing) ── archive ──> archive kept ── kernel, modules, image ──> recorded ── rename ──> installed
//! ```
//!
//! Everything happens in `.partial-NAME`, under the name's lock. A builder that dies is taken over: a kept
//! archive (the minutes of downloading and installing) is used again if its digest still fits, and a recorded
//! partial directory only needs its rename. Whatever fails otherwise takes the partial directory with it.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{
    Cancellation, EnvironmentsConfig, Error, Phase, Result, Source,
    catalogue::{PLATFORM, Recipe},
    digest::Digest,
    disk_space, erofs, initramfs, kernel,
    lock::Lock,
    mmdebstrap, modules,
    name::EnvironmentName,
    progress::Reporter,
    record::{self, EnvironmentRecord, FileRecord},
    rootfs::{archive::Archive, source::ImportSource},
};

const ARCHIVE: &str = "rootfs.tar";
const ARCHIVE_BEING_WRITTEN: &str = "rootfs.tar.part";
const ARCHIVE_RECORD: &str = "rootfs.json";

/// Begins the names of what waits to be removed.
pub(crate) const REMOVED: &str = ".removed-";

/// What a build starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    Recipe(&'a Recipe),
    Import(&'a ImportSource),
}

/// A build under the lock of its name.
pub(crate) struct Build<'a> {
    pub(crate) config: &'a EnvironmentsConfig,
    pub(crate) platform_dir: &'a Path,
    pub(crate) name: &'a EnvironmentName,
    pub(crate) origin: Origin<'a>,
    pub(crate) newer_than_unix_ms: u64,
    pub(crate) cancel: &'a Cancellation,
}

/// What is known of a kept archive.
#[derive(Serialize, Deserialize)]
struct KeptArchive {
    recipe_digest: Digest,
    file: FileRecord,
}

/// Name of the directory in which `name` is built.
pub(crate) fn partial_name(name: &EnvironmentName) -> String {
    format!(".partial-{}", name.for_path())
}

impl Build<'_> {
    /// Builds and installs; returns the installed directory.
    pub(crate) fn run(&self, reporter: &mut Reporter<'_>) -> Result<PathBuf> {
        let partial = self.platform_dir.join(partial_name(self.name));
        let built = self.run_in(&partial, reporter);
        if let Err(error) = &built {
            let is_resumable = matches!(error, Error::Cancelled) && partial.join(ARCHIVE_RECORD).exists();
            if !is_resumable && let Err(error) = remove_if_there(&partial) {
                tracing::warn!(path = %partial.display(), %error, "a partial environment is left");
            }
        }
        built
    }

    fn run_in(&self, partial: &Path, reporter: &mut Reporter<'_>) -> Result<PathBuf> {
        reporter.report(Phase::Starting, 0.0, "");
        if matches!(self.origin, Origin::Import(_)) {
            remove_if_there(partial).map_err(Error::io("remove", partial))?;
        }
        fs::create_dir_all(partial).map_err(Error::io("create", partial))?;
        self.reach("environment.partial-made", partial)?;
        let record = match self.recorded(partial) {
            Some(record) => record,
            None => {
                let archive = self.archive(partial, reporter)?;
                self.record(partial, &archive, reporter)?
            }
        };
        for leftover in [ARCHIVE, ARCHIVE_BEING_WRITTEN, ARCHIVE_RECORD] {
            remove_if_there(&partial.join(leftover)).map_err(Error::io("remove", partial.join(leftover)))?;
        }
        self.reach("environment.archive-removed", partial)?;
        let installed = self.install(partial, &record)?;
        self.reach("environment.installed", &installed)?;
        reporter.report(Phase::Ready, 1.0, "");
        Ok(installed)
    }

    /// The record of a predecessor that died between recording and installing, if every file fits it.
    fn recorded(&self, partial: &Path) -> Option<EnvironmentRecord> {
        let Origin::Recipe(recipe) = self.origin else { return None };
        let record = EnvironmentRecord::load(partial)?;
        let fits = record.recipe_digest == Some(recipe.digest())
            && record.files.iter().all(|(name, expected)| {
                record::record_file(&partial.join(name), self.cancel).is_ok_and(|found| found == *expected)
            });
        fits.then_some(record)
    }

    /// The rootfs archive: a predecessor's, or a new one.
    fn archive(&self, partial: &Path, reporter: &mut Reporter<'_>) -> Result<FileRecord> {
        let path = partial.join(ARCHIVE);
        if let Some(kept) = self.kept_archive(partial) {
            reporter.report(Phase::Archiving, mmdebstrap::SHARE, "kept from an interrupted build");
            return Ok(kept);
        }
        // Descendants of a dead builder may still hold the file as their output: its lock tells when they are gone.
        let being_written = partial.join(ARCHIVE_BEING_WRITTEN);
        let output = Lock::acquire(&being_written, self.cancel, &mut |_| ())?;
        output.file().set_len(0).map_err(Error::io("empty", &being_written))?;
        self.reach("environment.builder-starting", partial)?;
        match self.origin {
            Origin::Recipe(recipe) => {
                for directory in [self.platform_dir, &self.config.scratch_dir] {
                    disk_space::require(directory, recipe.build_space_mib)?;
                }
                mmdebstrap::write_archive(recipe, self.config, output.file(), self.cancel, reporter)?;
            }
            Origin::Import(source) => {
                reporter.report(Phase::Archiving, 0.0, &source.path().display().to_string());
                source.write_archive(&being_written, self.cancel)?;
            }
        }
        self.reach("environment.archive-written", partial)?;
        output.file().sync_all().map_err(Error::io("flush", &being_written))?;
        let file = record::record_file(&being_written, self.cancel)?;
        fs::rename(&being_written, &path).map_err(Error::io("rename", &being_written))?;
        if let Origin::Recipe(recipe) = self.origin {
            let kept = KeptArchive { recipe_digest: recipe.digest(), file: file.clone() };
            let bytes = serde_json::to_vec(&kept).unwrap_or_default();
            record::write_by_rename(&partial.join(ARCHIVE_RECORD), &bytes)?;
        }
        self.reach("environment.archive-kept", partial)?;
        Ok(file)
    }

    fn kept_archive(&self, partial: &Path) -> Option<FileRecord> {
        let Origin::Recipe(recipe) = self.origin else { return None };
        let kept: KeptArchive = serde_json::from_slice(&fs::read(partial.join(ARCHIVE_RECORD)).ok()?).ok()?;
        let found = record::record_file(&partial.join(ARCHIVE), self.cancel).ok()?;
        (kept.recipe_digest == recipe.digest() && found == kept.file).then_some(found)
    }

    /// Kernel, modules and image from the archive, and the record of them.
    fn record(
        &self,
        partial: &Path,
        source: &FileRecord,
        reporter: &mut Reporter<'_>,
    ) -> Result<EnvironmentRecord> {
        let archive =
            Archive::open(&partial.join(ARCHIVE), self.cancel).map_err(|error| self.blame_given(error))?;
        reporter.report(Phase::Kernel, 0.91, "");
        let kernel = kernel::find(&archive)?;
        let modules = modules::collect(&archive, &kernel.release)?;
        write_flushed(&partial.join(record::VMLINUX), &kernel.vmlinux)?;
        write_flushed(&partial.join(record::MODULES), &initramfs::environment_part(&modules))?;
        self.reach("environment.kernel-written", partial)?;

        let image = partial.join(record::ROOT_IMAGE);
        erofs::write_image(&archive, &image, &source.sha256, self.cancel, |share| {
            reporter.report(Phase::Image, 0.92 + 0.06 * share, "");
        })
        .map_err(|error| self.blame_given(error))?;
        self.reach("environment.image-written", partial)?;

        reporter.report(Phase::Recording, 0.98, "");
        let mut files = BTreeMap::new();
        for name in record::FILES {
            let path = partial.join(name);
            fs::set_permissions(&path, Permissions::from_mode(0o444)).map_err(Error::io("protect", &path))?;
            files.insert(name.to_owned(), record::record_file(&path, self.cancel)?);
        }
        let record = self.describe(&archive, source.sha256.clone(), kernel.release, files);
        record.store(partial)?;
        sync_directory(partial)?;
        self.reach("environment.recorded", partial)?;
        Ok(record)
    }

    fn describe(
        &self,
        archive: &Archive,
        source_digest: Digest,
        kernel_release: String,
        files: BTreeMap<String, FileRecord>,
    ) -> EnvironmentRecord {
        let now_unix_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let record = EnvironmentRecord {
            format: EnvironmentRecord::FORMAT,
            name: self.name.to_string(),
            version: source_digest.short().to_owned(),
            description: String::new(),
            default_packages: Vec::new(),
            distribution: String::new(),
            distribution_version: String::new(),
            platform: PLATFORM.to_owned(),
            source: Source::Import,
            source_digest,
            recipe_digest: None,
            kernel_release,
            created_unix_ms: now_unix_ms.max(self.newer_than_unix_ms.saturating_add(1)),
            files,
        };
        match self.origin {
            Origin::Recipe(recipe) => EnvironmentRecord {
                version: recipe.version.to_owned(),
                description: recipe.description.to_owned(),
                default_packages: recipe.default_packages.iter().map(ToString::to_string).collect(),
                distribution: recipe.distribution.to_owned(),
                distribution_version: recipe.distribution_version.to_owned(),
                source: Source::Mmdebstrap,
                recipe_digest: Some(recipe.digest()),
                ..record
            },
            Origin::Import(_) => {
                let release = archive.read(b"etc/os-release", 64 * 1024).unwrap_or_default();
                let release = String::from_utf8_lossy(&release).into_owned();
                EnvironmentRecord {
                    description: os_release(&release, "PRETTY_NAME").unwrap_or_else(|| "imported".to_owned()),
                    distribution: os_release(&release, "ID").unwrap_or_default(),
                    distribution_version: os_release(&release, "VERSION_ID").unwrap_or_default(),
                    ..record
                }
            }
        }
    }

    /// Puts the finished directory in its place in one step, in exchange for a damaged or equal one.
    fn install(&self, partial: &Path, record: &EnvironmentRecord) -> Result<PathBuf> {
        let key = record.recipe_digest.clone().unwrap_or_else(|| record.digest());
        let installed = self.platform_dir.join(format!("{}-{}", self.name.for_path(), key.short()));
        if installed.exists() {
            match renameat_with(CWD, partial, CWD, &installed, RenameFlags::EXCHANGE) {
                Ok(()) => remove_if_there(partial).map_err(Error::io("remove", partial))?,
                // Not every file system can exchange.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => replace(partial, &installed)?,
                Err(errno) => return Err(Error::io("replace", &installed)(errno.into())),
            }
        } else {
            fs::rename(partial, &installed).map_err(Error::io("install", &installed))?;
        }
        sync_directory(self.platform_dir)?;
        Ok(installed)
    }

    /// Says the user's path instead of our copy's.
    fn blame_given(&self, error: Error) -> Error {
        match (self.origin, error) {
            (Origin::Import(source), Error::BadRootfs { reason, .. }) => {
                Error::BadRootfs { origin: source.path().to_owned(), reason }
            }
            (_, error) => error,
        }
    }

    fn reach(&self, point: &'static str, path: &Path) -> Result<()> {
        self.cancel.check()?;
        self.config.reach(point).map_err(Error::io("go on with", path))
    }
}

/// Puts `finished` where `installed` is, in two steps. A builder that dies between them leaves a recorded partial
/// directory, which its successor installs.
fn replace(finished: &Path, installed: &Path) -> Result<()> {
    let old = removed_path(installed);
    remove_if_there(&old)
        .and_then(|()| fs::rename(installed, &old))
        .and_then(|()| fs::rename(finished, installed))
        .map_err(Error::io("replace", installed))?;
    remove_if_there(&old).map_err(Error::io("remove", old))
}

fn os_release(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find_map(|(found, value)| (found == key).then(|| value.trim_matches(['"', '\'']).to_owned()))
}

fn write_flushed(path: &Path, contents: &[u8]) -> Result<()> {
    // A read-only file of a dead builder cannot be opened for writing.
    remove_if_there(path).map_err(Error::io("remove", path))?;
    fs::write(path, contents).and_then(|()| File::open(path)?.sync_all()).map_err(Error::io("write", path))
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("flush", path))
}

/// Where something waits to be removed, so that a directory half removed is never taken for an installed one.
pub(crate) fn removed_path(path: &Path) -> PathBuf {
    path.with_file_name(format!("{REMOVED}{}", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Removes a file or a whole directory; that it is not there is fine.
pub(crate) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_exchanged_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let [finished, installed] = [".partial-x", "x-0"].map(|name| directory.path().join(name));
        for (path, contents) in
            [(&finished, "new"), (&installed, "old"), (&removed_path(&installed), "older")]
        {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), contents).unwrap();
        }
        replace(&finished, &installed).unwrap();
        assert_eq!(fs::read_to_string(installed.join("file")).unwrap(), "new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
