//! What lies around that nobody needs, each with the reason why.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Workspaces, kept_environment};
use crate::{error::Error, machine_directory, task};

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
    /// Finds what nobody needs and, unless it is a dry run, removes it. A workspace with a record is never touched.
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<Vec<Garbage>, Error> {
        // Nobody makes a workspace meanwhile, whose files would look like garbage.
        let _admission = self.shared.admission.lock().await;
        let resources = &self.shared.resources;
        let records: Vec<_> = self.shared.registry.all().into_iter().map(|seen| seen.record).collect();
        let digests: HashSet<String> = records.iter().map(|record| record.boot_digest.clone()).collect();
        let ids: HashSet<String> = records.iter().map(|record| record.id.to_string()).collect();
        let current = resources.environments.boot_digests().await?;
        let (layout, templates) = (resources.layout.clone(), resources.templates.clone());
        let found = task::blocking(move || {
            let mut found = Vec::new();
            for path in machine_directory::ownerless(&layout)? {
                let reason = "the process that started it is dead".to_owned();
                found.push(Garbage::at(GarbageKind::Machine, path, reason));
            }
            for path in kept_environment::unneeded(&layout, &digests)? {
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
        if !dry_run {
            self.remove_garbage(&found).await?;
        }
        Ok(found)
    }

    async fn remove_garbage(&self, found: &[Garbage]) -> Result<(), Error> {
        let resources = &self.shared.resources;
        if found.iter().any(|garbage| garbage.kind == GarbageKind::Machine) {
            machine_directory::end_orphans(&resources.layout, resources.engine.as_ref(), true).await?;
        }
        if found.iter().any(|garbage| garbage.kind == GarbageKind::Template) {
            let current = resources.environments.boot_digests().await?;
            let templates = resources.templates.clone();
            task::blocking(move || templates.prune(&current)).await?;
        }
        let is_plain = |garbage: &&Garbage| {
            matches!(garbage.kind, GarbageKind::KeptEnvironment | GarbageKind::Workspace)
        };
        let plain: Vec<PathBuf> = found.iter().filter(is_plain).map(|garbage| garbage.path.clone()).collect();
        task::blocking(move || {
            for path in plain {
                fs::remove_dir_all(&path).map_err(|source| Error::Store {
                    operation: "remove",
                    path,
                    source,
                })?;
            }
            Ok(())
        })
        .await
    }
}

impl Garbage {
    fn at(kind: GarbageKind, path: PathBuf, reason: String) -> Self {
        Self { kind, bytes: disk_bytes(&path), path, reason }
    }
}

/// Directories of workspaces that have neither a record nor a card of their own. Those with a card are somebody's work.
pub(super) fn recordless(workspaces: &Path, known: &HashSet<String>) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Store { operation: "look over", path: workspaces.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(workspaces).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.parse::<super::WorkspaceId>().is_ok()) else {
            continue;
        };
        if !known.contains(name) && !entry.path().join("workspace.json").exists() {
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
