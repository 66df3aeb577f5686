//! `environment.json`: what is installed, and how every file looked then.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{
    Cancellation, Error, Result,
    digest::{Digest, sha256_of, sha256_of_file},
};

/// File names in an installed directory.
pub(crate) const RECORD: &str = "environment.json";
pub(crate) const VMLINUX: &str = "vmlinux";
pub(crate) const MODULES: &str = "modules.cpio";
pub(crate) const ROOT_IMAGE: &str = "root.img";
pub(crate) const FILES: [&str; 3] = [VMLINUX, MODULES, ROOT_IMAGE];

/// Version of this file's form; another one is treated as not installed.
const FORMAT: u32 = 1;

/// Where an environment came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Built from the catalogue's recipe.
    Mmdebstrap,
    /// Given by the user.
    Import,
}

/// One recorded file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileRecord {
    /// Digest of its contents.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Its time of modification in nanoseconds since 1970.
    pub mtime_ns: i128,
}

impl FileRecord {
    /// Whether size and time are those that were recorded.
    pub(crate) fn fits(&self, metadata: &Metadata) -> bool {
        metadata.len() == self.size_bytes && mtime_ns(metadata) == self.mtime_ns
    }
}

/// Tells, without reading it, whether a file is still the one that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    size_bytes: u64,
    mtime_ns: i128,
}

impl FileIdentity {
    #[expect(clippy::needless_pass_by_value, reason = "a step in a chain of results")]
    pub(crate) fn of(metadata: Metadata) -> Self {
        let (device, inode) = (metadata.dev(), metadata.ino());
        Self { device, inode, size_bytes: metadata.len(), mtime_ns: mtime_ns(&metadata) }
    }
}

/// The record of one installed environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EnvironmentRecord {
    /// Version of the record's form.
    pub format: u32,
    /// Name of the environment.
    pub name: String,
    /// Version of the recipe, or of the import.
    pub version: String,
    /// One line for people.
    pub description: String,
    /// Packages that users may count on.
    pub default_packages: Vec<String>,
    /// Distribution, as in `/etc/os-release`.
    pub distribution: String,
    /// Its version.
    pub distribution_version: String,
    /// Platform key.
    pub platform: String,
    /// Where it came from.
    pub source: Source,
    /// Digest of the rootfs archive.
    pub source_digest: Digest,
    /// Digest of the recipe, when there was one.
    pub recipe_digest: Option<Digest>,
    /// Release of its kernel.
    pub kernel_release: String,
    /// Milliseconds since 1970; of several imports under one name the newest counts.
    pub created_unix_ms: u64,
    /// Every file by name.
    pub files: BTreeMap<String, FileRecord>,
}

impl EnvironmentRecord {
    /// The form that this version writes.
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Digest of everything a machine sees: kernel, modules and root image.
    pub fn digest(&self) -> Digest {
        let lines: Vec<_> =
            self.files.iter().map(|(name, file)| format!("{name} {}\n", file.sha256)).collect();
        sha256_of(lines.concat().as_bytes())
    }

    /// The record in `directory`; `None` when there is none that this version understands.
    pub(crate) fn load(directory: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()?;
        let is_whole = FILES.iter().all(|name| record.files.contains_key(*name));
        (record.format == FORMAT && is_whole).then_some(record)
    }

    /// Writes the record, by rename and flushed.
    pub(crate) fn store(&self, directory: &Path) -> Result<()> {
        write_by_rename(&directory.join(RECORD), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// Looks at sizes and times only. A changed time alone (a copied cache) leads to a full look at that file.
    pub(crate) fn check(&self, directory: &Path) -> Result<()> {
        for (name, expected) in &self.files {
            let path = directory.join(name);
            let found =
                fs::metadata(&path).map_err(|error| damaged(&path, expected, error.kind().to_string()))?;
            if found.len() != expected.size_bytes {
                return Err(Error::Damaged {
                    file: path,
                    expected: format!("{} bytes", expected.size_bytes),
                    found: format!("{} bytes", found.len()),
                });
            }
            if mtime_ns(&found) != expected.mtime_ns {
                let found = sha256_of_file(&path, |_| Ok(())).map_err(Error::io("read", &path))?;
                if found != expected.sha256 {
                    return Err(damaged(&path, expected, format!("sha256:{found}")));
                }
            }
        }
        Ok(())
    }
}

/// Records a finished file.
pub(crate) fn record_file(path: &Path, cancel: &Cancellation) -> Result<FileRecord> {
    let sha256 =
        sha256_of_file(
            path,
            |_| {
                if cancel.is_cancelled() { Err(io::Error::other("cancelled")) } else { Ok(()) }
            },
        );
    cancel.check()?;
    let metadata = fs::metadata(path).map_err(Error::io("inspect", path))?;
    Ok(FileRecord {
        sha256: sha256.map_err(Error::io("read", path))?,
        size_bytes: metadata.len(),
        mtime_ns: mtime_ns(&metadata),
    })
}

/// Writes, flushes and renames, so that `path` is never half there.
pub(crate) fn write_by_rename(path: &Path, contents: &[u8]) -> Result<()> {
    let temporary = path.with_added_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(Error::io("write", path))
}

pub(crate) fn mtime_ns(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

fn damaged(path: &Path, expected: &FileRecord, found: String) -> Error {
    Error::Damaged { file: path.to_owned(), expected: format!("sha256:{}", expected.sha256), found }
}
