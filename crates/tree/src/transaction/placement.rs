//! Where a change is made: in the tree, or in a directory that is itself new and still in the staging.

use super::{
    Below, Error, Result, backup, reach,
    stage::{NewAttributes, Plan, Planned, Transaction},
    staging::Name,
    stamp::Stamp,
};
use crate::{
    attributes::{Attributes, FileKind},
    path::RelativePath,
};

/// Where a path is to be made.
pub(super) enum Location {
    /// In the tree, in a directory that exists.
    Live,
    /// In a new directory, at this path of the staging.
    Staged(RelativePath),
}

impl Transaction<'_> {
    /// Decides where `path` will be made, and plans it. Gives its path in the staging and what it replaces.
    pub(super) fn place(
        &mut self,
        path: &RelativePath,
        is_directory: bool,
    ) -> Result<(RelativePath, Option<Attributes>)> {
        self.check_name(path)?;
        reach(self.hook, "transaction-stage", path).inspect_err(|error| self.abandon_if_crashed(error))?;
        let location = self.locate(path)?;
        if let Location::Staged(staged) = location {
            if self.staging.has(&staged)? {
                return Err(Error::Twice { path: path.clone() });
            }
            return Ok((staged, None));
        }
        let replaced = match self.plans.get(path) {
            Some(Plan::Removed) => None,
            Some(_) => return Err(Error::Twice { path: path.clone() }),
            None => {
                let found = self.staging.root.find(path)?;
                if let Some(found) = &found
                    && found.kind == FileKind::Directory
                {
                    return Err(Error::WrongKind { path: path.clone(), found: found.kind.word() });
                }
                if found.is_none() {
                    self.see(path, None);
                }
                found
            }
        };
        let number = self.number();
        if replaced.is_some() {
            let old = Name::Old.numbered(number);
            reach(self.hook, "transaction-backup", path)
                .inspect_err(|error| self.abandon_if_crashed(error))?;
            backup::keep(&self.staging.root, path, &old)?;
            self.see(path, replaced);
        }
        let over = match &replaced {
            Some(found) => Some(Stamp::of(&self.staging.root, path, found, Below::default())?),
            None => None,
        };
        self.plans.insert(path.clone(), Plan::Placed { number, is_directory });
        self.steps.push(Planned::Place { number, target: path.clone(), over });
        Ok((Name::New.numbered(number), replaced.map(|metadata| metadata.attributes)))
    }

    /// Where `path` is to be made. A missing directory above it becomes a new one in the staging.
    pub(super) fn locate(&mut self, path: &RelativePath) -> Result<Location> {
        let mut above: Vec<_> = path.ancestors().collect();
        above.reverse();
        for directory in above {
            let number = match self.plans.get(&directory) {
                Some(Plan::Placed { number, is_directory: true }) => *number,
                Some(Plan::Placed { .. }) => {
                    return Err(Error::WrongKind { path: directory, found: "file or link" });
                }
                Some(Plan::Removed) => self.new_directory_number(&directory)?,
                Some(Plan::Touched) | None if self.live_directories.contains(&directory) => continue,
                Some(Plan::Touched) | None => match self.staging.root.find(&directory)? {
                    Some(found) if found.kind == FileKind::Directory => {
                        self.live_directories.insert(directory);
                        continue;
                    }
                    Some(found) => {
                        return Err(Error::WrongKind { path: directory, found: found.kind.word() });
                    }
                    None => {
                        self.see(&directory, None);
                        self.new_directory_number(&directory)?
                    }
                },
            };
            let staged = Name::New.numbered(number);
            let below = path.below(&directory).unwrap_or_default();
            let joined = |below: &RelativePath| {
                staged.join(below).map_err(|source| Error::BadPath { path: path.clone(), source })
            };
            let staged_path = joined(&below)?;
            if let (Some(below), Some(parent)) = (below.parent(), path.parent()) {
                self.make_staged_directories(&joined(&below)?, &parent)?;
            }
            return Ok(Location::Staged(staged_path));
        }
        Ok(Location::Live)
    }

    /// Plans a whole new directory in place of nothing; gives its path in the staging.
    pub(super) fn new_directory(&mut self, path: &RelativePath) -> Result<RelativePath> {
        if self.plans.get(path) != Some(&Plan::Removed) {
            self.see(path, None);
        }
        self.new_directory_number(path).map(|number| Name::New.numbered(number))
    }

    fn new_directory_number(&mut self, path: &RelativePath) -> Result<u32> {
        reach(self.hook, "transaction-stage", path).inspect_err(|error| self.abandon_if_crashed(error))?;
        let number = self.number();
        self.make_staged_directory(&Name::New.numbered(number), path)?;
        self.plans.insert(path.clone(), Plan::Placed { number, is_directory: true });
        self.steps.push(Planned::Place { number, target: path.clone(), over: None });
        Ok(number)
    }

    /// `staged` is where `path` will come from.
    fn make_staged_directories(&mut self, staged: &RelativePath, path: &RelativePath) -> Result<()> {
        if let Some(found) = self.staging.root.find(staged)? {
            return must_be_directory(found.kind, path);
        }
        if let (Some(staged), Some(path)) = (staged.parent(), path.parent()) {
            self.make_staged_directories(&staged, &path)?;
        }
        self.make_staged_directory(staged, path)
    }

    /// Makes a directory in the staging, like one nobody describes, if it is not there. It stays writable until it is placed.
    pub(super) fn make_staged_directory(&mut self, staged: &RelativePath, path: &RelativePath) -> Result<()> {
        match self.staging.root.make_directory(staged, 0o755) {
            Err(error) if error.is_exists() => {
                return must_be_directory(self.staging.root.metadata(staged)?.kind, path);
            }
            made => made?,
        }
        let made = self.staging.root.metadata(staged)?.attributes;
        let wanted = self.resolve(NewAttributes::default(), None, &made, 0o755);
        self.staging.set_attributes(staged, &made, &wanted)?;
        Ok(())
    }
}

fn must_be_directory(found: FileKind, path: &RelativePath) -> Result<()> {
    match found {
        FileKind::Directory => Ok(()),
        found => Err(Error::WrongKind { path: path.clone(), found: found.word() }),
    }
}
