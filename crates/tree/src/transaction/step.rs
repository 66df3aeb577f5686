//! One step of carrying a transaction out, and of taking it back. Both may be repeated after they were cut off: whether a
//! rename has happened is seen by its name in the staging, and attributes may be set twice.

use std::io::ErrorKind;

use super::{
    Hook, Result, reach,
    staging::{Name, Staging},
};
use crate::{attributes::Attributes, beneath, path::RelativePath};

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

    pub(super) fn take_back(&self, staging: &Staging, hook: Hook<'_>) -> Result<()> {
        reach(hook, "transaction-undo-step", self.target())?;
        let root = &staging.root;
        match self {
            Self::Place { number, target, is_over } => {
                let (new, old) = (Name::New.numbered(*number), Name::Old.numbered(*number));
                if staging.has(&new)? {
                    return Ok(());
                }
                if !is_over {
                    unless_missing(root.rename_new(target, &new))?;
                } else if staging.has(&old)? {
                    root.rename(&old, target)?;
                }
            }
            Self::Remove { number, target } => {
                let old = Name::Old.numbered(*number);
                if staging.has(&old)? {
                    root.rename_new(&old, target)?;
                }
            }
            Self::Prune { target, old } => {
                if !staging.has(target)? {
                    root.make_directory(target, 0o700)?;
                    let made = root.metadata(target)?.attributes;
                    staging.set_attributes(target, &made, old)?;
                }
            }
            Self::Attributes { target, old, new } => {
                unless_missing(staging.set_attributes(target, new, old))?;
            }
        }
        Ok(())
    }
}

impl Staging {
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

fn unless_filled(error: beneath::Error) -> beneath::Result<()> {
    match error.io_kind() {
        Some(ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => Ok(()),
        _ => Err(error),
    }
}
