//! What lies around that nobody needs, each with the reason why.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Shared, WorkspaceId, Workspaces, kept_environment};
use crate::{
    error::Error,
    machine_directory::{self, Unclear},
    task,
};

/// One thing that nobody needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Garbage {
    /// What it is.
    pub kind: GarbageKind,
    /// Where it lies.
    pub path: PathBuf,
    /// What it takes on the host, bytes; files that others share by hard links are not counted.
    pub bytes: u64,
    /// Why nobody needs it.
    pub reason: String,
    /// Why it could not be removed, if it could not.
    pub failure: Option<String>,
}

/// Kinds of garbage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GarbageKind {
    /// A machine whose owner died.
    Machine,
    /// Boot files that no workspace needs any more.
    KeptEnvironment,
    /// A template that no installed environment leads to.
    Template,
    /// Files of a workspace that has no record.
    Workspace,
}

impl GarbageKind {
    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::KeptEnvironment => "kept_environment",
            Self::Template => "template",
            Self::Workspace => "workspace_files",
        }
    }
}

impl Workspaces {
    /// Finds what nobody needs and, unless it is a dry run, removes it; what cannot be removed says why and keeps nothing
    /// else. A workspace with a record is never touched.
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<Vec<Garbage>, Error> {
        // Nobody makes a workspace meanwhile, whose files would look like garbage.
        let _admission = self.shared.admission.lock().await;
        let resources = &self.shared.resources;
        let (ids, needed) = (self.shared.known(), self.shared.needed_environments());
        let unreadable = self.shared.unreadable.clone();
        let current = resources.environments.boot_digests().await?;
        let (layout, templates) = (resources.layout.clone(), resources.templates.clone());
        let found = task::blocking(move || {
            let mut found = Vec::new();
            let (ownerless, unclear) = machine_directory::ownerless(&layout, &unreadable)?;
            for path in ownerless {
                let reason = "the process that started it is dead".to_owned();
                found.push(Garbage::at(GarbageKind::Machine, path, reason));
            }
            for Unclear { path, why } in unclear {
                let reason = "nobody can tell whether somebody answers for it, so it is spared".to_owned();
                let garbage = Garbage::at(GarbageKind::Machine, path, reason);
                found.push(Garbage { failure: Some(why), ..garbage });
            }
            let unneeded = needed.map(|needed| kept_environment::unneeded(&layout, &needed)).transpose()?;
            for path in unneeded.into_iter().flatten() {
                let reason = "no workspace boots from it".to_owned();
                found.push(Garbage::at(GarbageKind::KeptEnvironment, path, reason));
            }
            for path in templates.unneeded(&current)? {
                let reason = "no installed environment leads to it".to_owned();
                found.push(Garbage::at(GarbageKind::Template, path, reason));
            }
            for path in recordless(&layout.workspaces(), &ids)? {
                let reason =
                    "no record names it, and it says of itself that it was never finished".to_owned();
                found.push(Garbage::at(GarbageKind::Workspace, path, reason));
            }
            Ok(found)
        })
        .await?;
        if dry_run { Ok(found) } else { self.remove_garbage(found).await }
    }

    async fn remove_garbage(&self, mut found: Vec<Garbage>) -> Result<Vec<Garbage>, Error> {
        let resources = &self.shared.resources;
        if found.iter().any(|garbage| garbage.kind == GarbageKind::Machine) {
            let spared = self.spared();
            let ended =
                machine_directory::end_orphans(&resources.layout, resources.engine.as_ref(), &spared).await;
            tell_failure(&mut found, GarbageKind::Machine, ended.err());
        }
        if found.iter().any(|garbage| garbage.kind == GarbageKind::Template) {
            let templates = resources.templates.clone();
            let pruned = match resources.environments.boot_digests().await {
                Ok(current) => task::blocking(move || templates.prune(&current)).await,
                Err(error) => Err(error),
            };
            tell_failure(&mut found, GarbageKind::Template, pruned.err());
        }
        task::blocking(move || {
            for garbage in &mut found {
                garbage.remove_if_plain();
            }
            Ok(found)
        })
        .await
    }
}

/// Things of that kind that are still there could not be removed.
fn tell_failure(found: &mut [Garbage], kind: GarbageKind, error: Option<Error>) {
    let reason = error.map_or_else(
        || "it could not be removed; the daemon's log says why".to_owned(),
        |error| crate::error::chain(&error),
    );
    for garbage in found.iter_mut().filter(|garbage| garbage.kind == kind && garbage.path.exists()) {
        garbage.failure.get_or_insert_with(|| reason.clone());
    }
}

impl Shared {
    /// Workspaces that there are, those included whose records cannot be read.
    pub(super) fn known(&self) -> HashSet<WorkspaceId> {
        let readable = self.registry.all().into_iter().map(|seen| seen.record.id.clone());
        readable.chain(self.unreadable.iter().cloned()).collect()
    }

    /// Boot digests that workspaces need; none: what one needs cannot be read, so all are.
    pub(super) fn needed_environments(&self) -> Option<HashSet<String>> {
        let digests =
            || self.registry.all().into_iter().map(|seen| seen.record.boot_digest.clone()).collect();
        self.unreadable.is_empty().then(digests)
    }
}

impl Garbage {
    fn at(kind: GarbageKind, path: PathBuf, reason: String) -> Self {
        Self { kind, bytes: disk_bytes(&path), path, reason, failure: None }
    }

    /// Removes what is nothing but files. Blocks.
    fn remove_if_plain(&mut self) {
        if !matches!(self.kind, GarbageKind::KeptEnvironment | GarbageKind::Workspace) {
            return;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => self.failure = Some(error.to_string()),
            _ => {}
        }
    }
}

/// Directories of workspaces that have neither a record nor a card of their own. Those with a card are somebody's work.
pub(super) fn recordless(workspaces: &Path, known: &HashSet<WorkspaceId>) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Store { operation: "look over", path: workspaces.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(workspaces).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<WorkspaceId>().ok()) else {
            continue;
        };
        if !known.contains(&id) && !entry.path().join("workspace.json").exists() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// What a tree takes on the disk that nothing else shares. What cannot be looked at counts nothing.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() {
        return if about.nlink() > 1 { 0 } else { about.blocks() * 512 };
    }
    let children = fs::read_dir(path).into_iter().flatten().flatten();
    children.map(|entry| disk_bytes(&entry.path())).sum::<u64>() + about.blocks() * 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_removed_says_why_and_keeps_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let place = |name: &str| home.path().join(name);
        fs::create_dir(place("directory")).unwrap();
        // A file where a directory should be cannot be removed as one, whoever tries.
        fs::write(place("file"), "").unwrap();
        let mut found: Vec<Garbage> = ["file", "directory", "gone"]
            .map(|name| Garbage::at(GarbageKind::Workspace, place(name), String::new()))
            .into();
        found.iter_mut().for_each(Garbage::remove_if_plain);
        let failed: Vec<bool> = found.iter().map(|garbage| garbage.failure.is_some()).collect();
        assert_eq!(failed, [true, false, false]);
        assert!(!place("directory").exists());
    }

    #[test]
    fn only_what_is_still_there_failed() {
        let home = tempfile::tempdir().unwrap();
        let at = |kind, name: &str| Garbage::at(kind, home.path().join(name), String::new());
        fs::create_dir(home.path().join("stays")).unwrap();
        let mut found = [
            at(GarbageKind::Machine, "stays"),
            at(GarbageKind::Machine, "gone"),
            at(GarbageKind::Template, "stays"),
        ];
        tell_failure(&mut found, GarbageKind::Machine, None);
        let failed = found.map(|garbage| garbage.failure.is_some());
        assert_eq!(failed, [true, false, false]);
    }
}
