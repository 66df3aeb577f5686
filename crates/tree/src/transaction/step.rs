//! One step of carrying a transaction out, and of taking it back. Both may be repeated after they were cut off: whether a
//! rename has happened is seen by its name in the staging, and attributes may be set twice.

use std::io::ErrorKind;

use super::{
    Error, Hook, Result, reach,
    staging::{Name, Staging},
};
use crate::{
    attributes::{Attributes, FileKind},
    beneath,
    path::{MAX_NAME_BYTES, RelativePath},
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// `new/number` becomes the target: a new name, or in place of what is also `old/number`.
    Place { number: u32, target: RelativePath, is_over: bool },
    /// The target, and all below, becomes `old/number`.
    Remove { number: u32, target: RelativePath },
    /// The target, a directory, goes if it is empty by now.
    Prune { target: RelativePath, old: Attributes },
    /// The target stays and gets other attributes.
    Attributes { target: RelativePath, old: Attributes, new: Attributes },
}

impl Step {
    pub(super) fn target(&self) -> &RelativePath {
        match self {
            Self::Place { target, .. }
            | Self::Remove { target, .. }
            | Self::Prune { target, .. }
            | Self::Attributes { target, .. } => target,
        }
    }

    fn point(&self) -> &'static str {
        match self {
            Self::Place { .. } => "transaction-place",
            Self::Remove { .. } => "transaction-remove",
            Self::Prune { .. } => "transaction-prune",
            Self::Attributes { .. } => "transaction-attributes",
        }
    }

    /// Whether this made a directory movable that the step after it has moved away: what has its name now is something else.
    pub(super) fn is_outdated(&self, next: Option<&Self>, staging: &Staging) -> Result<bool> {
        match (self, next) {
            (Self::Attributes { target, .. }, Some(Self::Remove { number, target: removed }))
                if target == removed =>
            {
                staging.has(&Name::Old.numbered(*number))
            }
            _ => Ok(false),
        }
    }

    pub(super) fn carry_out(&self, staging: &Staging, hook: Hook<'_>) -> Result<()> {
        reach(hook, self.point(), self.target())?;
        let root = &staging.root;
        match self {
            Self::Place { number, target, is_over } => {
                let new = Name::New.numbered(*number);
                if !staging.has(&new)? {
                    return Ok(());
                }
                if *is_over { root.rename(&new, target)? } else { root.rename_new(&new, target)? }
            }
            Self::Remove { number, target } => {
                let old = Name::Old.numbered(*number);
                if !staging.has(&old)? {
                    // That somebody else removed it meanwhile is as good.
                    unless_missing(root.rename_new(target, &old))?;
                }
            }
            Self::Prune { target, .. } => {
                unless_missing(root.remove_directory(target)).or_else(unless_filled)?;
            }
            Self::Attributes { target, old, new } => {
                unless_missing(staging.set_attributes(target, old, new))?;
            }
        }
        Ok(())
    }

    /// What cannot have its name again, because something else has it by now, gets another one, which is told.
    pub(super) fn take_back(&self, staging: &Staging, hook: Hook<'_>) -> Result<Option<RelativePath>> {
        reach(hook, "transaction-undo-step", self.target())?;
        let root = &staging.root;
        match self {
            Self::Place { number, target, is_over } => {
                let (new, old) = (Name::New.numbered(*number), Name::Old.numbered(*number));
                if staging.has(&new)? {
                    return Ok(None);
                }
                if !is_over {
                    unless_missing(root.rename_new(target, &new))?;
                } else if staging.has(&old)? {
                    return staging.put_back(&old, target, root.rename(&old, target));
                }
            }
            Self::Remove { number, target } => {
                let old = Name::Old.numbered(*number);
                if staging.has(&old)? {
                    return staging.put_back(&old, target, root.rename_new(&old, target));
                }
            }
            Self::Prune { target, old } => {
                // Aside, so that it is never seen half made. It is movable there, and what it was only in its place.
                let movable = Attributes { mode: old.mode | OWNER_WRITES, ..*old };
                if root.find(target).is_ok_and(|found| found.is_none()) {
                    let again = Name::Again.path();
                    root.remove_tree(&again)?;
                    root.make_directory(&again, 0o700)?;
                    let made = root.metadata(&again)?.attributes;
                    staging.set_attributes(&again, &made, &movable)?;
                    reach(hook, "transaction-undo-step", target)?;
                    // An empty directory in one that is gone is no loss, nor is one whose name is taken.
                    unless_gone(root.rename_new(&again, target)).or_else(unless_exists)?;
                }
                let is_made = root.find(target).ok().flatten().is_some_and(|found| {
                    found.kind == FileKind::Directory && found.attributes == movable && movable != *old
                });
                if is_made {
                    unless_gone(staging.set_attributes(target, &movable, old))?;
                }
            }
            Self::Attributes { target, old, new } => {
                unless_gone(staging.set_attributes(target, new, old))?;
            }
        }
        Ok(None)
    }
}

/// What an old file is called when it cannot have its name again.
const ASIDE_SUFFIX: &str = ".pyro-old";
const OWNER_WRITES: u32 = 0o200;

impl Staging {
    /// Looks at how giving an old file its name again has ended. Where the name cannot be had, it gets one beside: a change
    /// that could never be taken back would keep all others from the tree.
    fn put_back(
        &self,
        old: &RelativePath,
        target: &RelativePath,
        put: beneath::Result<()>,
    ) -> Result<Option<RelativePath>> {
        match put {
            Ok(()) => Ok(None),
            Err(error) if is_gone(&error) || is_taken(&error) => self.set_aside(old, target).map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves an old file to a free name beside `target`, or above where that directory is gone.
    fn set_aside(&self, old: &RelativePath, target: &RelativePath) -> Result<RelativePath> {
        let is_directory = |path: &RelativePath| {
            let found = self.root.find(path).ok().flatten();
            found.is_some_and(|found| found.kind == FileKind::Directory)
        };
        let directory = target.ancestors().find(is_directory).unwrap_or_default();
        let name = target.name().unwrap_or_default();
        let mut number = 1_u64;
        loop {
            let suffix =
                if number == 1 { ASIDE_SUFFIX.to_owned() } else { format!("{ASIDE_SUFFIX}-{number}") };
            let kept = &name[..name.len().min(MAX_NAME_BYTES - suffix.len())];
            let aside = directory
                .child([kept, suffix.as_bytes()].concat())
                .map_err(|source| Error::BadPath { path: target.clone(), source })?;
            match self.root.rename_new(old, &aside) {
                Ok(()) => return Ok(aside),
                Err(error) if error.is_exists() => number += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sets what differs; the owner before the mode, since a change of owner clears set-id bits.
    pub(super) fn set_attributes(
        &self,
        path: &RelativePath,
        old: &Attributes,
        new: &Attributes,
    ) -> beneath::Result<()> {
        let is_given = (old.uid, old.gid) != (new.uid, new.gid);
        if is_given {
            self.root.set_owner(path, new.uid, new.gid)?;
        }
        if is_given || old.mode != new.mode {
            self.root.set_mode(path, new.mode)?;
        }
        self.root.set_mtime(path, new.mtime)
    }
}

fn unless_missing(done: beneath::Result<()>) -> beneath::Result<()> {
    done.or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

/// Whether the name, or a directory above it, is not there any more or is something else.
fn is_gone(error: &beneath::Error) -> bool {
    let is_gone_kind = matches!(error.io_kind(), Some(ErrorKind::NotFound | ErrorKind::NotADirectory));
    is_gone_kind || matches!(error, beneath::Error::ThroughLink { .. } | beneath::Error::Escapes { .. })
}

/// Whether something has the name that cannot be replaced.
fn is_taken(error: &beneath::Error) -> bool {
    let kinds = [ErrorKind::AlreadyExists, ErrorKind::IsADirectory, ErrorKind::DirectoryNotEmpty];
    error.io_kind().is_some_and(|kind| kinds.contains(&kind))
}

fn unless_gone(done: beneath::Result<()>) -> beneath::Result<()> {
    done.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
}

fn unless_exists(error: beneath::Error) -> beneath::Result<()> {
    if is_taken(&error) { Ok(()) } else { Err(error) }
}

fn unless_filled(error: beneath::Error) -> beneath::Result<()> {
    match error.io_kind() {
        Some(ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => Ok(()),
        _ => Err(error),
    }
}
