//! One step of carrying a transaction out, and of taking it back. Both may be repeated after they were cut off: whether a
//! rename has happened is seen by its name in the staging, and attributes may be set twice.
//!
//! Between the death of a process and its recovery people go on working. So a step is only ever done, or taken back, where its
//! target is what the step had found, or made of it; else the later edit is spared.

use std::io::ErrorKind;

use super::{
    Error, Hook, Kept, Result, Spared, reach,
    staging::{Name, Staging},
    stamp::{Now, Stamp},
};
use crate::{
    attributes::{Attributes, FileKind},
    beneath::{self, Root},
    path::{MAX_NAME_BYTES, RelativePath},
};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// `new/number`, of which `new` is the stamp, becomes the target: a new name, or in place of what is also `old/number`.
    Place { number: u32, target: RelativePath, over: Option<Stamp>, new: Stamp },
    /// The target, and all below, becomes `old/number`.
    Remove { number: u32, target: RelativePath, old: Stamp },
    /// The target, a directory, goes if it is empty by now.
    Prune { target: RelativePath, old: Attributes },
    /// The target stays and gets other attributes.
    Attributes { target: RelativePath, old: Attributes, new: Attributes },
}

/// What became of a step that was to be completed for a dead process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Completed {
    /// It is done.
    Done,
    /// Somebody has changed its target since, so nothing was done.
    Spared,
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
    pub(super) fn is_outdated(&self, next: Option<&Self>, staging: &Staging<'_>) -> Result<bool> {
        match (self, next) {
            (Self::Attributes { target, .. }, Some(Self::Remove { number, target: removed, .. }))
                if target == removed =>
            {
                staging.has(&Name::Old.numbered(*number))
            }
            _ => Ok(false),
        }
    }

    /// Does it for the first time, right after all was looked at. What was changed since even then stops everything; what is
    /// written into a directory in the moment before it goes is not noticed any more.
    pub(super) fn carry_out(&self, staging: &Staging<'_>, hook: Hook<'_>) -> Result<()> {
        let target = self.target();
        reach(hook, self.point(), target)?;
        let root = &staging.root;
        let changed = || Error::Changed { path: target.clone() };
        match self {
            Self::Place { number, over: Some(over), .. } => match over.glance(root, target)? {
                Now::Same => root.rename(&Name::New.numbered(*number), target)?,
                Now::Nothing | Now::Other => return Err(changed()),
            },
            Self::Place { number, over: None, .. } => {
                root.rename_new(&Name::New.numbered(*number), target)
                    .map_err(|error| if error.is_exists() { changed() } else { error.into() })?;
            }
            Self::Remove { number, old, .. } => match old.glance(root, target)? {
                Now::Same => unless_missing(root.rename_new(target, &Name::Old.numbered(*number)))?,
                // That somebody else removed it meanwhile is as good.
                Now::Nothing => {}
                Now::Other => return Err(changed()),
            },
            Self::Prune { .. } => prune(root, target)?,
            Self::Attributes { old, new, .. } => match is_between(root, target, old, new)? {
                Some(true) => unless_missing(staging.set_attributes(target, old, new))?,
                Some(false) => return Err(changed()),
                None => {}
            },
        }
        Ok(())
    }

    /// Does it for a process that died, any time later: only where the target is still what it was.
    pub(super) fn complete(&self, staging: &Staging<'_>, hook: Hook<'_>) -> Result<Completed> {
        let target = self.target();
        reach(hook, self.point(), target)?;
        let root = &staging.root;
        match self {
            Self::Place { number, over, new, .. } => {
                let staged = Name::New.numbered(*number);
                if !staging.has(&staged)? {
                    return Ok(Completed::Done);
                }
                let placed = match (over, new.compare(root, target)?) {
                    // Somebody has made the very same.
                    (_, Now::Same) => return Ok(Completed::Done),
                    (Some(over), _) if over.compare(root, target)? == Now::Same => {
                        root.rename(&staged, target)
                    }
                    (None, Now::Nothing) => root.rename_new(&staged, target),
                    _ => return Ok(Completed::Spared),
                };
                unless_gone_or_taken(placed)
            }
            Self::Remove { number, old, .. } => {
                let kept = Name::Old.numbered(*number);
                if staging.has(&kept)? {
                    return Ok(Completed::Done);
                }
                match old.compare(root, target)? {
                    Now::Same => unless_missing(root.rename_new(target, &kept))?,
                    Now::Nothing => {}
                    Now::Other => return Ok(Completed::Spared),
                }
                Ok(Completed::Done)
            }
            Self::Prune { .. } => {
                prune(root, target)?;
                Ok(Completed::Done)
            }
            Self::Attributes { old, new, .. } => match is_between(root, target, old, new)? {
                Some(true) => {
                    unless_missing(staging.set_attributes(target, old, new))?;
                    Ok(Completed::Done)
                }
                Some(false) => Ok(Completed::Spared),
                None => Ok(Completed::Done),
            },
        }
    }

    /// Keeps what a spared step was to put in its place, beside it.
    pub(super) fn keep_new(&self, staging: &Staging<'_>, hook: Hook<'_>) -> Result<Option<Kept>> {
        let Self::Place { number, target, .. } = self else { return Ok(None) };
        let staged = Name::New.numbered(*number);
        if !staging.has(&staged)? {
            return Ok(None);
        }
        reach(hook, self.point(), target)?;
        staging.set_aside(&staged, target, NEW_SUFFIX).map(|kept| Some(Kept::New(kept)))
    }

    /// Only where the target is still what the step made of it. What cannot have its name again, because something else has
    /// it by now, gets another one, which is told.
    pub(super) fn take_back(&self, staging: &Staging<'_>, hook: Hook<'_>) -> Result<Option<Spared>> {
        reach(hook, "transaction-undo-step", self.target())?;
        let root = &staging.root;
        let spared = |kept| Some(Spared { path: self.target().clone(), kept });
        let aside = |aside: Option<RelativePath>| aside.and_then(|aside| spared(Some(Kept::Old(aside))));
        match self {
            Self::Place { number, target, over, new } => {
                let (staged, old) = (Name::New.numbered(*number), Name::Old.numbered(*number));
                if staging.has(&staged)? {
                    return Ok(None);
                }
                if over.is_none() {
                    return match new.compare(root, target)? {
                        Now::Same => Ok(unless_missing(root.rename_new(target, &staged)).map(|()| None)?),
                        Now::Nothing => Ok(None),
                        Now::Other => Ok(spared(None)),
                    };
                }
                if !staging.has(&old)? {
                    return Ok(None);
                }
                let put = match new.compare(root, target)? {
                    Now::Same => root.rename(&old, target),
                    Now::Nothing => root.rename_new(&old, target),
                    Now::Other => {
                        return staging.set_aside(&old, target, OLD_SUFFIX).map(|kept| aside(Some(kept)));
                    }
                };
                staging.put_back(&old, target, put).map(aside)
            }
            Self::Remove { number, target, .. } => {
                let old = Name::Old.numbered(*number);
                if !staging.has(&old)? {
                    return Ok(None);
                }
                staging.put_back(&old, target, root.rename_new(&old, target)).map(aside)
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
                Ok(None)
            }
            Self::Attributes { target, old, new } => {
                match is_between(root, target, old, new)? {
                    Some(true) => unless_gone(staging.set_attributes(target, new, old))?,
                    Some(false) => return Ok(spared(None)),
                    None => {}
                }
                Ok(None)
            }
        }
    }
}

/// Removes a directory if nothing is in it.
fn prune(root: &Root, target: &RelativePath) -> Result<()> {
    Ok(unless_missing(root.remove_directory(target)).or_else(unless_filled)?)
}

/// Whether each attribute of what is at `path` is one of those that it had or is to have: a change may have been cut off
/// between two of them. None if nothing is there. The time of a directory says nothing.
fn is_between(root: &Root, path: &RelativePath, old: &Attributes, new: &Attributes) -> Result<Option<bool>> {
    const SET_ID: u32 = 0o6000;
    let found = match root.find(path) {
        Err(error) if is_gone(&error) => return Ok(None),
        found => found?,
    };
    let Some(found) = found else { return Ok(None) };
    let now = found.attributes;
    // A change of owner takes these bits away.
    let modes = [old.mode, new.mode, old.mode & !SET_ID, new.mode & !SET_ID];
    Ok(Some(
        found.kind != FileKind::Symlink
            && modes.contains(&now.mode)
            && [old.uid, new.uid].contains(&now.uid)
            && [old.gid, new.gid].contains(&now.gid)
            && (found.kind == FileKind::Directory || [old.mtime, new.mtime].contains(&now.mtime)),
    ))
}

/// What an old file is called when it cannot have its name again.
const OLD_SUFFIX: &str = ".pyro-old";
/// What a new file is called when somebody else has changed what it was to replace.
const NEW_SUFFIX: &str = ".pyro-new";
const OWNER_WRITES: u32 = 0o200;

impl Staging<'_> {
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
            Err(error) if is_gone(&error) || is_taken(&error) => {
                self.set_aside(old, target, OLD_SUFFIX).map(Some)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Moves what is in the staging to a free name beside `target`, or above where that directory is gone.
    fn set_aside(&self, staged: &RelativePath, target: &RelativePath, suffix: &str) -> Result<RelativePath> {
        let is_directory = |path: &RelativePath| {
            let found = self.root.find(path).ok().flatten();
            found.is_some_and(|found| found.kind == FileKind::Directory)
        };
        let directory = target.ancestors().find(is_directory).unwrap_or_default();
        let name = target.name().unwrap_or_default();
        let mut number = 1_u64;
        loop {
            let suffix = if number == 1 { suffix.to_owned() } else { format!("{suffix}-{number}") };
            let kept = &name[..name.len().min(MAX_NAME_BYTES - suffix.len())];
            let aside = directory
                .child([kept, suffix.as_bytes()].concat())
                .map_err(|source| Error::BadPath { path: target.clone(), source })?;
            match self.root.rename_new(staged, &aside) {
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
pub(super) fn is_gone(error: &beneath::Error) -> bool {
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

/// Who lost the name to somebody else in the last moment spares what he made.
fn unless_gone_or_taken(placed: beneath::Result<()>) -> Result<Completed> {
    match placed {
        Ok(()) => Ok(Completed::Done),
        Err(error) if is_gone(&error) || is_taken(&error) => Ok(Completed::Spared),
        Err(error) => Err(error.into()),
    }
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
