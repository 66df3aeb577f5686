//! [`Plan`]: what a patch finds in the workspace before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use pyro_patch::{Change, FilePatch, FilePath, Mode, Patch};
use pyro_protocol::work::WorkFailureCode;
use pyro_tree::attributes::{FileKind, Metadata};
use pyro_tree::beneath::{self, Root};
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::{Below, Transaction};

use super::rejected;
use crate::worker::error::{Result, WorkError};
use crate::worker::workspace::{RESERVED, Workspace};

/// The file that hunks apply to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub(super) path: RelativePath,
    pub(super) metadata: Metadata,
}

impl Source {
    pub(super) fn is_link(&self) -> bool {
        self.metadata.kind == FileKind::Symlink
    }
}

/// What a patch will do, once it was seen that it can.
#[derive(Debug)]
pub(super) struct Plan {
    /// For each file of the patch what it applies to; none for what is created.
    pub(super) sources: Vec<Option<Source>>,
    /// What goes and is not replaced; a directory with all that was seen below.
    removed: BTreeMap<RelativePath, Below>,
    /// Directories that go if nothing is left in them.
    prunable: BTreeSet<RelativePath>,
}

impl Plan {
    pub(super) fn of(workspace: &Workspace<'_>, root: &Root, patch: &Patch<'_>) -> Result<Self> {
        let mut planner = Planner { workspace, root, leaving: BTreeMap::new(), written: BTreeSet::new() };
        // What leaves makes room for what comes, wherever in the patch it stands.
        for file in &patch.files {
            if let Change::Delete | Change::Rename { .. } = file.change
                && let Some(source) = planner.source(file)?
            {
                planner.leaving.insert(source.path.clone(), source);
            }
        }
        let mut sources = Vec::with_capacity(patch.files.len());
        for file in &patch.files {
            sources.push(planner.source(file)?);
        }
        let mut replaced_directories = BTreeMap::new();
        for (file, source) in patch.files.iter().zip(&sources) {
            if file.change != Change::Delete {
                replaced_directories.extend(planner.make_way(file, source.as_ref())?);
            }
        }
        Ok(planner.plan(sources, replaced_directories))
    }

    /// Takes away what goes.
    pub(super) fn remove(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        for (path, below) in &self.removed {
            transaction.remove_seen(path, *below)?;
        }
        for path in &self.prunable {
            transaction.prune(path)?;
        }
        Ok(())
    }

    /// Looks whether the sources are still what was patched. What is changed after this the transaction sees.
    pub(super) fn verify(&self, root: &Root) -> Result<()> {
        for source in self.sources.iter().flatten() {
            let contents =
                |metadata: &Metadata| (metadata.kind, metadata.size_bytes, metadata.attributes.mtime);
            if root.find(&source.path)?.as_ref().map(contents) != Some(contents(&source.metadata)) {
                let cause = "it was changed while the patch was applied; nothing was done";
                return Err(WorkError::about(WorkFailureCode::Changed, "patch", &source.path, cause));
            }
        }
        Ok(())
    }
}

struct Planner<'a> {
    workspace: &'a Workspace<'a>,
    root: &'a Root,
    /// What is deleted or moved away.
    leaving: BTreeMap<RelativePath, Source>,
    /// What will be there.
    written: BTreeSet<RelativePath>,
}

impl Planner<'_> {
    /// What a file of the patch applies to, which is of the right kind.
    fn source(&self, file: &FilePatch<'_>) -> Result<Option<Source>> {
        let Some(name) = file.source() else { return Ok(None) };
        let path = path(name)?;
        let metadata = match self.find(&path)? {
            Some(metadata) => metadata,
            None if file.may_create() => return Ok(None),
            None => return Err(rejected(&path, "it is not there")),
        };
        // A move alone says nothing of what moves.
        let is_any_kind = file.old_mode.is_none() && file.hunks.is_empty();
        let is_link = metadata.kind == FileKind::Symlink;
        let is_fitting = is_any_kind || is_link == (file.old_mode == Some(Mode::Symlink));
        match metadata.kind {
            FileKind::File | FileKind::Symlink if is_fitting => Ok(Some(Source { path, metadata })),
            FileKind::File => {
                Err(rejected(&path, "the patch is for a symbolic link, and it is a regular file"))
            }
            kind => Err(rejected(&path, format_args!("it is a {}", kind.word()))),
        }
    }

    /// Looks whether the result has a place; gives directories that must go for it.
    fn make_way(
        &mut self,
        file: &FilePatch<'_>,
        source: Option<&Source>,
    ) -> Result<Option<(RelativePath, Below)>> {
        let path = path(&file.path)?;
        self.written.insert(path.clone());
        if source.is_some_and(|source| source.path == path) {
            return Ok(None);
        }
        for directory in path.ancestors() {
            match self.find(&directory)? {
                Some(found)
                    if found.kind != FileKind::Directory && !self.leaving.contains_key(&directory) =>
                {
                    // Says so if it is a link that leaves.
                    self.find(&path)?;
                    return Err(rejected(&path, format_args!("`{directory}` is a {}", found.kind.word())));
                }
                _ => {}
            }
        }
        match self.find(&path)? {
            None => Ok(None),
            Some(_) if self.leaving.contains_key(&path) => Ok(None),
            Some(found) => {
                // Before the look: what comes after it is noticed.
                let below = Below::of(self.root, &path);
                if found.kind == FileKind::Directory && self.is_left_empty(&path)? {
                    return Ok(Some((path, below)));
                }
                Err(rejected(&path, format_args!("there is a {} already", found.kind.word())))
            }
        }
    }

    /// Whether nothing stays in a directory, at any depth.
    fn is_left_empty(&self, directory: &RelativePath) -> Result<bool> {
        for entry in self.root.list(directory)? {
            let path = directory.child(&entry.name)?;
            let is_left = self.leaving.contains_key(&path)
                || self.root.metadata(&path)?.kind == FileKind::Directory && self.is_left_empty(&path)?;
            if !is_left {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn plan(self, sources: Vec<Option<Source>>, replaced_directories: BTreeMap<RelativePath, Below>) -> Plan {
        let leaving = self.leaving.into_keys().filter(|path| {
            !self.written.contains(path)
                && !path.ancestors().any(|above| replaced_directories.contains_key(&above))
        });
        let mut removed: BTreeMap<_, _> = leaving.map(|path| (path, Below::default())).collect();
        let prunable = removed.keys().flat_map(RelativePath::ancestors).collect();
        removed.extend(replaced_directories);
        Plan { sources, removed, prunable }
    }

    /// What is at a path, on which no link lies.
    fn find(&self, path: &RelativePath) -> Result<Option<Metadata>> {
        if path.ancestors().any(|above| self.leaving.contains_key(&above)) {
            return Ok(None);
        }
        match self.root.find(path) {
            Err(beneath::Error::ThroughLink { .. }) => match self.workspace.root.find(path) {
                Err(error @ beneath::Error::Escapes { .. }) => Err(error.into()),
                _ => Err(rejected(path, "it lies beyond a symbolic link")),
            },
            found => Ok(found?),
        }
    }
}

/// A path of a patch in the workspace.
pub(super) fn path(path: &FilePath) -> Result<RelativePath> {
    let path = RelativePath::new(path.as_bytes())?;
    if path.components().next() == Some(RESERVED) {
        return Err(WorkError::about(WorkFailureCode::Invalid, "patch", &path, "the name is reserved"));
    }
    Ok(path)
}
