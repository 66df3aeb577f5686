//! What becomes of a transaction after its journal is written: by the one who wrote it, or after his death by [`recover`].

use std::io::{self, Read as _};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    Durability, Error, Hook, Result, io_error, journal,
    staging::{Name, Staging, staging_path},
    step::Step,
};
use crate::{beneath::Root, path::RelativePath};

/// What [`recover`] found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovered {
    /// No transaction had been cut off.
    Nothing,
    /// One had not been decided yet: the tree is as before it.
    Discarded,
    /// One had been decided: the tree is as after it.
    Completed,
    /// One had failed, or could not be completed: the tree is as before it.
    Undone,
}

/// Brings a tree out of a transaction whose process died. Cheap if there was none; may be killed and repeated.
/// [`Error::Busy`] while a transaction is alive.
pub fn recover(root: &Root, durability: Durability, hook: Hook<'_>) -> Result<Recovered> {
    match Staging::take_existing(root)? {
        Some(staging) => recover_taken(&staging, durability, hook),
        None => Ok(Recovered::Nothing),
    }
}

/// Lets no decided transaction be half done: waits for one that is being carried out, and does what [`recover`] does for a
/// dead one. What is written to the tree afterwards is not replaced by it. Costs one look-up where there is none; one that
/// is still being prepared is not waited for.
pub fn settle(root: &Root, durability: Durability, hook: Hook<'_>) -> Result<()> {
    while is_decided(root)? {
        match recover(root, durability, hook) {
            Err(Error::Busy) => wait_for_owner(root)?,
            recovered => return recovered.map(drop),
        }
    }
    Ok(())
}

fn is_decided(root: &Root) -> Result<bool> {
    let root = root.try_clone().map_err(io_error("open", &RelativePath::root()))?.without_links();
    if root.find(&staging_path())?.is_none() {
        return Ok(false);
    }
    Ok(root.find(&Name::Journal.path())?.is_some() || root.find(&Name::Undo.path())?.is_some())
}

/// Returns when whoever has the lock is done, or dead.
fn wait_for_owner(root: &Root) -> Result<()> {
    let path = Name::Lock.path();
    let lock = match root.write(&path) {
        Err(error) if error.is_not_found() => return Ok(()),
        lock => lock?,
    };
    loop {
        match flock(&lock, FlockOperation::LockShared) {
            Err(Errno::INTR) => {}
            locked => return locked.map_err(io::Error::from).map_err(io_error("lock", &path)),
        }
    }
}

/// What [`recover`] does, with the lock in hand.
pub(super) fn recover_taken(staging: &Staging, durability: Durability, hook: Hook<'_>) -> Result<Recovered> {
    if staging.has(&Name::Undo.path())? {
        take_back(staging, &read(staging, Name::Undo)?, durability, hook)?;
        return Ok(Recovered::Undone);
    }
    if staging.has(&Name::Journal.path())? {
        let steps = read(staging, Name::Journal)?;
        return match carry_out(staging, &steps, durability, hook) {
            Ok(()) => Ok(Recovered::Completed),
            Err(failure) if failure.is_undone => Ok(Recovered::Undone),
            Err(failure) => Err(failure.error),
        };
    }
    staging.clean(hook)?;
    Ok(Recovered::Discarded)
}

/// What stopped a decided transaction.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether all was taken back, and nothing is left in the staging.
    is_undone: bool,
}

/// Carries the steps out and finishes, or takes them back.
pub(super) fn carry_out(
    staging: &Staging,
    steps: &[Step],
    durability: Durability,
    hook: Hook<'_>,
) -> std::result::Result<(), Failure> {
    let done = steps
        .iter()
        .enumerate()
        .try_for_each(|(index, step)| match step.is_outdated(steps.get(index + 1), staging)? {
            true => Ok(()),
            false => step.carry_out(staging, hook),
        })
        .and_then(|()| staging.conclude(Name::Journal, durability, hook));
    let first = match done {
        Ok(()) => {
            return clean(staging, durability, hook).map_err(|error| Failure { error, is_undone: false });
        }
        Err(Error::Crashed) => return Err(Failure { error: Error::Crashed, is_undone: false }),
        Err(first) => first,
    };
    let undone =
        staging.turn_back(durability, hook).and_then(|()| take_back(staging, steps, durability, hook));
    Err(match undone {
        Ok(aside) => Failure { error: with_aside(first, aside), is_undone: true },
        Err(Error::Crashed) => Failure { error: Error::Crashed, is_undone: false },
        Err(undo) => {
            Failure { error: Error::Stuck { undo: chain(&undo), first: Box::new(first) }, is_undone: false }
        }
    })
}

/// What had to get another name than the one that it had.
type Aside = Vec<(RelativePath, RelativePath)>;

fn with_aside(first: Error, aside: Aside) -> Error {
    let more = aside.len().saturating_sub(1);
    match aside.into_iter().next() {
        Some((path, aside)) => Error::SetAside { path, aside, more, first: Box::new(first) },
        None => first,
    }
}

/// Takes all back that can be; stops at the end with the first that could not.
fn take_back(staging: &Staging, steps: &[Step], durability: Durability, hook: Hook<'_>) -> Result<Aside> {
    let (mut first, mut all_aside) = (None, Vec::new());
    for step in steps.iter().rev() {
        match step.take_back(staging, hook) {
            Ok(aside) => all_aside.extend(aside.map(|aside| (step.target().clone(), aside))),
            Err(Error::Crashed) => return Err(Error::Crashed),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) => Err(error),
        None => {
            staging.conclude(Name::Undo, durability, hook)?;
            clean(staging, durability, hook)?;
            Ok(all_aside)
        }
    }
}

/// Cleans up after the journal. The outcome stands by now, so a failure is left for the next one who comes.
fn clean(staging: &Staging, durability: Durability, hook: Hook<'_>) -> Result<()> {
    match staging.flush_names(durability).and_then(|()| staging.clean(hook)) {
        Err(Error::Crashed) => Err(Error::Crashed),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(staging: &Staging, name: Name) -> Result<Vec<Step>> {
    let path = name.path();
    let mut bytes = Vec::new();
    staging.root.read(&path)?.read_to_end(&mut bytes).map_err(io_error("read", &path))?;
    journal::decode(&bytes)
}

fn chain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
