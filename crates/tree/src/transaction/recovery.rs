//! What becomes of a transaction after its journal is written: by the one who wrote it, or after his death by [`recover`].

use std::{collections::HashSet, fs::File, io};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    Durability, Error, Hook, Result, Spared, Trust, io_error,
    staging::{Name, Staging, read_journal, staging_path},
    step::{Completed, Step},
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

/// The outcome of [`recover`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// What became of the transaction.
    pub outcome: Recovered,
    /// What somebody had changed since it was cut off, and is therefore neither as before nor as after.
    pub spared: Vec<Spared>,
}

impl From<Recovered> for Recovery {
    fn from(outcome: Recovered) -> Self {
        Self { outcome, spared: Vec::new() }
    }
}

/// Brings a tree out of a transaction whose process died. Cheap if there was none; may be killed and repeated. What
/// somebody has changed since, at a path that is part of it, stays as it is and is told.
/// [`Error::Busy`] while a transaction is alive; [`Error::Foreign`], [`Error::Unsealed`], [`Error::BadJournal`] or
/// [`Error::OtherVersion`] if what is there is not to be believed or understood, and then nothing was touched.
pub fn recover(root: &Root, trust: Trust<'_>, durability: Durability, hook: Hook<'_>) -> Result<Recovery> {
    match Staging::take_existing(root, trust)? {
        Some(staging) => recover_taken(&staging, durability, hook),
        None => Ok(Recovered::Nothing.into()),
    }
}

/// Whether [`recover`] has something to do. Writes nothing. The errors are those of [`recover`].
pub fn is_cut_off(root: &Root, trust: Trust<'_>) -> Result<bool> {
    let root = root.try_clone().map_err(io_error("open", &RelativePath::root()))?.without_links();
    let Some(found) = root.find(&staging_path())? else { return Ok(false) };
    trust.admit(&found)?;
    if let Some(lock) = lock_file(&root)? {
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(&lock, FlockOperation::Unlock),
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy),
            Err(errno) => Err(errno),
        }
        .map_err(io::Error::from)
        .map_err(io_error("lock", &Name::Lock.path()))?;
    }
    for name in [Name::Undo, Name::Journal] {
        if root.find(&name.path())?.is_some() {
            read_journal(&root, name, trust)?;
            return Ok(true);
        }
    }
    // What is left of one that was never decided, or was done, changes nothing.
    Ok(false)
}

/// The lock of a staging directory, if there is one.
fn lock_file(root: &Root) -> Result<Option<File>> {
    match root.write(&Name::Lock.path()) {
        Err(error) if error.is_not_found() => Ok(None),
        lock => Ok(Some(lock?)),
    }
}

/// Lets no decided transaction be half done: waits for one that is being carried out, and does what [`recover`] does for a
/// dead one. What is written to the tree afterwards is not replaced by it. Costs one look-up where there is none; one that
/// is still being prepared is not waited for.
pub fn settle(root: &Root, trust: Trust<'_>, durability: Durability, hook: Hook<'_>) -> Result<()> {
    while is_decided(root)? {
        match recover(root, trust, durability, hook) {
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
    let Some(lock) = lock_file(root)? else { return Ok(()) };
    loop {
        match flock(&lock, FlockOperation::LockShared) {
            Err(Errno::INTR) => {}
            locked => return locked.map_err(io::Error::from).map_err(io_error("lock", &path)),
        }
    }
}

/// What [`recover`] does, with the lock in hand.
pub(super) fn recover_taken(
    staging: &Staging<'_>,
    durability: Durability,
    hook: Hook<'_>,
) -> Result<Recovery> {
    if staging.has(&Name::Undo.path())? {
        let steps = staging.read_journal(Name::Undo)?;
        let spared = take_back(staging, &steps, durability, hook)?;
        return Ok(Recovery { outcome: Recovered::Undone, spared });
    }
    if staging.has(&Name::Journal.path())? {
        let steps = staging.read_journal(Name::Journal)?;
        let completed = complete(staging, &steps, hook)
            .and_then(|spared| staging.conclude(Name::Journal, durability, hook).map(|()| spared));
        return match completed {
            Ok(spared) => {
                clean(staging, durability, hook)?;
                Ok(Recovery { outcome: Recovered::Completed, spared })
            }
            Err(Error::Crashed) => Err(Error::Crashed),
            Err(first) => {
                let (spared, _first) = turn_back(staging, &steps, durability, hook, first)?;
                Ok(Recovery { outcome: Recovered::Undone, spared })
            }
        };
    }
    staging.clean(hook)?;
    Ok(Recovered::Discarded.into())
}

/// Carries the steps out and finishes, or takes them back.
pub(super) fn carry_out(
    staging: &Staging<'_>,
    steps: &[Step],
    durability: Durability,
    hook: Hook<'_>,
) -> Result<()> {
    let done = steps
        .iter()
        .try_for_each(|step| step.carry_out(staging, hook))
        .and_then(|()| staging.conclude(Name::Journal, durability, hook));
    match done {
        Ok(()) => clean(staging, durability, hook),
        Err(Error::Crashed) => Err(Error::Crashed),
        Err(first) => {
            let (spared, first) = turn_back(staging, steps, durability, hook, first)?;
            Err(with_spared(first, spared))
        }
    }
}

/// Does for a dead process what it had decided, but for what somebody has changed since. Carried out or not, nothing is lost:
/// what was to be where somebody else has made something gets a name beside it.
fn complete(staging: &Staging<'_>, steps: &[Step], hook: Hook<'_>) -> Result<Vec<Spared>> {
    let mut targets = HashSet::new();
    let mut all_spared = Vec::new();
    let mut left = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let target = step.target();
        // What depends on a step that was not done is not done either, such as placing what was to have room made for it.
        if targets.contains(target) || target.ancestors().any(|above| targets.contains(&above)) {
            left.push(step);
        } else if !step.is_outdated(steps.get(index + 1), staging)?
            && step.complete(staging, hook)? == Completed::Spared
        {
            targets.insert(target.clone());
            all_spared.push(Spared { path: target.clone(), kept: None });
            left.push(step);
        }
    }
    // At the end: without what it was to place, a step looks done to whoever recovers after another death.
    for step in left {
        let Some(kept) = step.keep_new(staging, hook)? else { continue };
        match all_spared.iter_mut().find(|spared| spared.path == *step.target()) {
            Some(spared) => spared.kept = Some(kept),
            None => all_spared.push(Spared { path: step.target().clone(), kept: Some(kept) }),
        }
    }
    Ok(all_spared)
}

/// Takes everything back that can be. Gives why, unless it could not be.
fn turn_back(
    staging: &Staging<'_>,
    steps: &[Step],
    durability: Durability,
    hook: Hook<'_>,
    first: Error,
) -> Result<(Vec<Spared>, Error)> {
    let undone =
        staging.turn_back(durability, hook).and_then(|()| take_back(staging, steps, durability, hook));
    match undone {
        Ok(spared) => Ok((spared, first)),
        Err(Error::Crashed) => Err(Error::Crashed),
        Err(undo) => Err(Error::Stuck { undo: chain(&undo), first: Box::new(first) }),
    }
}

fn with_spared(first: Error, spared: Vec<Spared>) -> Error {
    let more = spared.len().saturating_sub(1);
    match spared.into_iter().next() {
        Some(spared) => Error::Spared { spared: Box::new(spared), more, first: Box::new(first) },
        None => first,
    }
}

/// Takes all back that can be; stops at the end with the first that could not.
fn take_back(
    staging: &Staging<'_>,
    steps: &[Step],
    durability: Durability,
    hook: Hook<'_>,
) -> Result<Vec<Spared>> {
    let (mut first, mut all_spared) = (None, Vec::new());
    for step in steps.iter().rev() {
        match step.take_back(staging, hook) {
            Ok(spared) => all_spared.extend(spared),
            Err(Error::Crashed) => return Err(Error::Crashed),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) => Err(error),
        None => {
            staging.conclude(Name::Undo, durability, hook)?;
            clean(staging, durability, hook)?;
            Ok(all_spared)
        }
    }
}

/// Cleans up after the journal. The outcome stands by now, so a failure is left for the next one who comes.
fn clean(staging: &Staging<'_>, durability: Durability, hook: Hook<'_>) -> Result<()> {
    match staging.flush_names(durability).and_then(|()| staging.clean(hook)) {
        Err(Error::Crashed) => Err(Error::Crashed),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn chain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
