//! Removing what nobody can ask for any more, while others build and install.
//!
//! Whether something in the cache still counts is decided under the lock of the name to which it belongs.

use std::{collections::HashSet, fs, path::Path};

use crate::{
    Environments, Error, Result,
    build::{REMOVED, remove_if_there, removed_path},
    catalogue::CATALOGUE,
    digest::Digest,
    environments::{INITRAMFS_DIR, entries, is_hidden},
    joined::Joining,
    lock::Lock,
    mmdebstrap,
    name::EnvironmentName,
    record::EnvironmentRecord,
};

/// What a [`prune`](Environments::prune) removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PruneReport {
    /// Names of the removed directories, sorted.
    pub deleted: Vec<String>,
    /// Bytes that they held.
    pub freed_bytes: u64,
}

impl Environments {
    /// Removes what nobody can ask for any more: partial builds without a builder, superseded and unreadable
    /// directories, initramfs of gone environments and of other agents than the one that
    /// [`boot_files`](Self::boot_files) was asked for last. Environments whose digest is in `in_use` stay.
    pub fn prune(&self, in_use: &HashSet<Digest>) -> Result<PruneReport> {
        let mut report = PruneReport::default();
        for entry in entries(&self.platform_dir) {
            let file_name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file_name.starts_with(".lock-") || file_name == INITRAMFS_DIR {
                continue;
            }
            if file_name.starts_with(REMOVED) {
                remove_if_there(&entry).map_err(Error::io("remove", &entry))?;
                report.deleted.push(file_name);
                continue;
            }
            let lock = match owner_of(&entry) {
                Some(name) => match Lock::try_acquire(&self.lock_path(&name))? {
                    // Somebody is building under this name; the directory may be theirs.
                    None => continue,
                    lock => lock,
                },
                None => None,
            };
            // Looked at under the lock: what was installed a moment ago is not taken for what it replaced.
            if entry.exists() && !self.is_kept(&entry, in_use) {
                delete(&entry, &mut report)?;
            }
            drop(lock);
        }
        for recipe in CATALOGUE {
            let name = EnvironmentName::parse(recipe.name)?;
            if let Some(_lock) = Lock::try_acquire(&self.lock_path(&name))? {
                mmdebstrap::remove_leftover(&self.config, recipe);
            }
        }
        self.prune_initramfs(in_use, &mut report)?;
        report.deleted.sort();
        Ok(report)
    }

    fn prune_initramfs(&self, in_use: &HashSet<Digest>, report: &mut PruneReport) -> Result<()> {
        let Some(joining) = Joining::begin_if_any(&self.platform_dir)? else { return Ok(()) };
        // Looked at under the lock: whatever has an initramfs by now was installed before.
        let kept = self.all().into_iter().filter(|known| self.is_kept(&known.directory, in_use));
        let digests = kept.map(|environment| environment.digest()).collect();
        joining.prune(&digests, self.last_agent().as_ref().map(|agent| &agent.digest), report)
    }

    /// Whether `directory` is what its name stands for now, or is in use.
    fn is_kept(&self, directory: &Path, in_use: &HashSet<Digest>) -> bool {
        let is_current =
            |name: &str| self.current(name).is_some_and(|current| current.directory == directory);
        !is_hidden(directory)
            && EnvironmentRecord::load(directory)
                .is_some_and(|record| in_use.contains(&record.digest()) || is_current(&record.name))
    }
}

/// The environment to which something in the cache belongs, by what is in it or by its name.
fn owner_of(path: &Path) -> Option<EnvironmentName> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let by_file_name = || {
        let installed = || file_name.rsplit_once('-').map(|(name, _key)| name);
        Some(file_name.strip_prefix(".partial-").or_else(installed)?.replace('_', ":"))
    };
    let name = EnvironmentRecord::load(path).map(|record| record.name).or_else(by_file_name)?;
    EnvironmentName::parse(&name).ok()
}

pub(crate) fn delete(path: &Path, report: &mut PruneReport) -> Result<()> {
    let size = |path: &Path| path.symlink_metadata().map_or(0, |metadata| metadata.len());
    report.freed_bytes +=
        if path.is_dir() { entries(path).iter().map(|path| size(path)).sum() } else { size(path) };
    let doomed = removed_path(path);
    remove_if_there(&doomed)
        .and_then(|()| fs::rename(path, &doomed))
        .and_then(|()| remove_if_there(&doomed))
        .map_err(Error::io("remove", path))?;
    report.deleted.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_bears_a_name_belongs_to_it_even_unreadable() {
        let owner = |name: &str| owner_of(Path::new(name)).map(|name| name.to_string());
        assert_eq!(owner("debian_12-base-0123456789abcdef").as_deref(), Some("debian:12-base"));
        assert_eq!(owner(".partial-debian_12").as_deref(), Some("debian:12"));
        assert_eq!(owner("stray"), None);
    }
}
