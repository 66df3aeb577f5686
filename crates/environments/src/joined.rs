//! Joined initramfs: an environment's modules with an agent, kept for the next machine.
//!
//! ```text
//! .initramfs/ENVIRONMENT-AGENT.cpio     the archive
//! .initramfs/ENVIRONMENT-AGENT.json     its size, time and digest when it was written
//! .initramfs/.lock                      held while something is written or removed here
//! ```
//!
//! An archive is used only if size and time are those of its record; otherwise it is joined again, which costs less
//! than to read it. Whether the contents are still those of the record is looked at by a verification.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result, VerifiedFile,
    build::remove_if_there,
    digest::{Digest, sha256_of, sha256_of_file},
    environments::{INITRAMFS_DIR, entries},
    initramfs,
    lock::Lock,
    prune::{PruneReport, delete},
    record::{self, FileRecord},
};

const ARCHIVE: &str = "cpio";
const RECORD: &str = "json";
const LOCK: &str = ".lock";

/// One archive, there or not.
pub(crate) struct JoinedInitramfs {
    pub(crate) path: PathBuf,
}

impl JoinedInitramfs {
    /// That of the environment and the agent with these digests.
    pub(crate) fn of(platform_dir: &Path, environment: &Digest, agent: &Digest) -> Self {
        let name = format!("{}-{}.{ARCHIVE}", environment.short(), agent.short());
        Self { path: platform_dir.join(INITRAMFS_DIR).join(name) }
    }

    /// Whether it is there with the recorded size and time.
    pub(crate) fn is_intact(&self) -> bool {
        let metadata = fs::metadata(&self.path).ok();
        metadata.zip(self.record()).is_some_and(|(found, record)| record.fits(&found))
    }

    /// It, read again. One without a record is nothing that would be used.
    fn verify(self) -> Option<VerifiedFile> {
        let record = self.record()?;
        let found = sha256_of_file(&self.path, |_| Ok(())).map_err(|error| error.to_string());
        let (size_bytes, expected) = (record.size_bytes, record.sha256);
        Some(VerifiedFile { file: self.path, size_bytes, expected, found })
    }

    fn record(&self) -> Option<FileRecord> {
        serde_json::from_slice(&fs::read(self.record_path()).ok()?).ok()
    }

    fn record_path(&self) -> PathBuf {
        self.path.with_extension(RECORD)
    }

    /// Short digests of its environment and its agent; `None` for another file.
    fn parts(&self) -> Option<(&str, &str)> {
        let is_archive = self.path.extension().is_some_and(|extension| extension == ARCHIVE);
        let stem = is_archive.then(|| self.path.file_stem()?.to_str()).flatten()?;
        stem.split_once('-').filter(|_| !stem.starts_with('.'))
    }
}

/// The right to write and remove joined initramfs, while it lives. Nobody else changes anything then.
pub(crate) struct Joining {
    directory: PathBuf,
    _lock: Lock,
}

impl Joining {
    /// Waits for whoever has it, which takes moments.
    pub(crate) fn begin(platform_dir: &Path) -> Result<Self> {
        let directory = platform_dir.join(INITRAMFS_DIR);
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let lock = Lock::acquire_brief(&directory.join(LOCK))?;
        Ok(Self { directory, _lock: lock })
    }

    /// The same, unless nothing was ever joined.
    pub(crate) fn begin_if_any(platform_dir: &Path) -> Result<Option<Self>> {
        platform_dir.join(INITRAMFS_DIR).exists().then(|| Self::begin(platform_dir)).transpose()
    }

    /// All that were joined of that environment, read again.
    pub(crate) fn verify(&self, environment: &Digest) -> Vec<VerifiedFile> {
        let archives = entries(&self.directory).into_iter().map(|path| JoinedInitramfs { path });
        archives
            .filter(|joined| joined.parts().is_some_and(|(of, _)| of == environment.short()))
            .filter_map(JoinedInitramfs::verify)
            .collect()
    }

    /// Joins `modules`, an archive already, with the binary of an agent.
    pub(crate) fn write(&self, joined: &JoinedInitramfs, modules: &[u8], agent: &[u8]) -> Result<()> {
        let mut contents = modules.to_vec();
        contents.extend_from_slice(&initramfs::agent_part(agent));
        record::write_by_rename(&joined.path, &contents)?;
        let metadata = fs::metadata(&joined.path).map_err(Error::io("inspect", &joined.path))?;
        let record = FileRecord {
            sha256: sha256_of(&contents),
            size_bytes: metadata.len(),
            mtime_ns: record::mtime_ns(&metadata),
        };
        record::write_by_rename(&joined.record_path(), &serde_json::to_vec(&record).unwrap_or_default())
    }

    /// Removes one, so that it is joined again when it is needed.
    pub(crate) fn remove(&self, archive: &Path) -> Result<()> {
        let joined = JoinedInitramfs { path: archive.to_owned() };
        for path in [joined.record_path(), joined.path] {
            remove_if_there(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Removes everything but the archives of `environments` with `agent`, or with any agent when none is known. Since
    /// nobody writes here meanwhile, what looks unfinished was left by the dead.
    pub(crate) fn prune(
        &self,
        environments: &HashSet<Digest>,
        agent: Option<&Digest>,
        report: &mut PruneReport,
    ) -> Result<()> {
        let is_wanted = |path: &Path| {
            // A record stays with its archive.
            let joined = JoinedInitramfs { path: path.with_extension(ARCHIVE) };
            let is_ours =
                [ARCHIVE, RECORD].iter().any(|ours| path.extension().is_some_and(|found| found == *ours));
            is_ours
                && joined.path.exists()
                && joined.parts().is_some_and(|(of, with)| {
                    environments.iter().any(|digest| digest.short() == of)
                        && agent.is_none_or(|agent| agent.short() == with)
                })
        };
        for path in entries(&self.directory) {
            if path.file_name().is_some_and(|name| name == LOCK) || is_wanted(&path) {
                continue;
            }
            if path.extension().is_some_and(|extension| extension == ARCHIVE) {
                delete(&path, report)?;
            } else {
                remove_if_there(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}
