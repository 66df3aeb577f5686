//! [`Transaction`]: changes are collected and their contents staged, then committed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, Read},
    ops::Bound,
};

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown, fstat, futimens};

use super::{
    Below, Durability, Error, Hook, Result, STAGING_NAME, Trust, io_error,
    placement::Location,
    reach, recovery,
    staging::{Name, Staging},
    stamp::Stamp,
    step::Step,
};
use crate::{
    attributes::{Attributes, FileKind, Metadata, Time},
    beneath::{Root, only_mtime},
    path::RelativePath,
};

/// What holds for a whole transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What it survives.
    pub durability: Durability,
    /// Owner and group of what is new; otherwise whoever makes it.
    pub owner: Option<(u32, u32)>,
}

/// Attributes of something placed. What is not given is that of the file it replaces; of what is new, the usual
/// mode (0644, directories 0755), the transaction's owner, and now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NewAttributes {
    /// Permission and set-id bits.
    pub mode: Option<u32>,
    /// Owner and group by number.
    pub owner: Option<(u32, u32)>,
    /// Time of last change; a replaced file's is never kept.
    pub mtime: Option<Time>,
}

/// What a transaction changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// Files, links and whole new directories placed.
    pub placed: u64,
    /// Names removed, with all below.
    pub removed: u64,
}

const OWNER_WRITES: u32 = 0o200;

/// What a path will be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    Removed,
    /// `new/number`.
    Placed {
        number: u32,
        is_directory: bool,
    },
    /// Only its attributes change, or it may be pruned.
    Touched,
}

/// A step that will be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Planned {
    /// [`Step::Place`], whose stamp can be made when all of it is staged.
    Place {
        number: u32,
        target: RelativePath,
        over: Option<Stamp>,
    },
    Ready(Step),
}

/// A collection of changes to one tree. Nothing of the tree changes before [`Transaction::commit`]; dropped without it,
/// everything staged is removed.
pub struct Transaction<'h> {
    pub(super) staging: Staging<'h>,
    options: Options,
    pub(super) hook: Hook<'h>,
    next_number: u32,
    pub(super) plans: BTreeMap<RelativePath, Plan>,
    /// Directories of the tree that were seen to exist.
    pub(super) live_directories: HashSet<RelativePath>,
    /// What the tree's paths were when their change was prepared.
    seen: Vec<(RelativePath, Option<Metadata>)>,
    /// What lay below directories that go whole.
    seen_below: Vec<(RelativePath, Below)>,
    pub(super) steps: Vec<Planned>,
    prunes: Vec<Step>,
    attributes: Vec<Step>,
    /// Directories in the staging, and what they get when they are full.
    staged_directories: Vec<(RelativePath, Attributes)>,
    /// A change was planned whose contents did not come whole.
    is_incomplete: bool,
    /// Nothing is left to clean up, or somebody else will.
    is_over: bool,
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("plans", &self.plans).finish_non_exhaustive()
    }
}

impl<'h> Transaction<'h> {
    /// Begins one; what a dead one left is recovered first, as far as it is believed. The errors are those of
    /// [`recover`](super::recover).
    pub fn begin(root: &Root, trust: Trust<'h>, options: Options, hook: Hook<'h>) -> Result<Self> {
        let staging = loop {
            let staging = Staging::take(root, trust)?;
            let left = [Name::Journal, Name::Undo, Name::Draft, Name::New, Name::Old];
            let is_clean = left
                .iter()
                .try_fold(true, |clean, name| Ok::<_, Error>(clean && !staging.has(&name.path())?))?;
            if is_clean {
                break staging;
            }
            recovery::recover_taken(&staging, options.durability, hook)?;
        };
        let transaction = Self {
            staging,
            options,
            hook,
            next_number: 0,
            plans: BTreeMap::new(),
            live_directories: HashSet::new(),
            seen: Vec::new(),
            seen_below: Vec::new(),
            steps: Vec::new(),
            prunes: Vec::new(),
            attributes: Vec::new(),
            staged_directories: Vec::new(),
            is_incomplete: false,
            is_over: false,
        };
        transaction.staging.prepare()?;
        Ok(transaction)
    }

    /// Demands that what is at `path` when the changes are committed is what the caller saw (nothing, for `None`): of the
    /// same kind, and unless a directory of the same size, mode, owner and time. Ask for the file's metadata before it
    /// is read.
    pub fn expect(&mut self, path: &RelativePath, seen: Option<&Metadata>) {
        self.seen.push((path.clone(), seen.copied()));
    }

    /// Places a regular file with these contents, in place of a file or link or as a new one; missing directories are
    /// made. Gives the number of bytes.
    pub fn put_file(
        &mut self,
        path: &RelativePath,
        contents: &mut dyn Read,
        attributes: NewAttributes,
    ) -> Result<u64> {
        let (staged, replaced) = self.place(path, false)?;
        self.is_incomplete = true;
        let mut file = self.staging.root.create(&staged, 0o600)?;
        let bytes = io::copy(contents, &mut file).map_err(io_error("write", path))?;
        let made = fstat(&file).map_err(io::Error::from).map_err(io_error("inspect", path))?;
        let made = Metadata::of(&made).attributes;
        let wanted = self.resolve(attributes, replaced, &made, 0o644);
        set_attributes(&file, &made, &wanted)
            .map_err(io::Error::from)
            .map_err(io_error("set attributes of", path))?;
        self.is_incomplete = false;
        Ok(bytes)
    }

    /// Places a symbolic link, in place of a file or link or as a new one.
    pub fn put_symlink(
        &mut self,
        path: &RelativePath,
        target: &[u8],
        attributes: NewAttributes,
    ) -> Result<()> {
        let (staged, replaced) = self.place(path, false)?;
        self.is_incomplete = true;
        self.staging.root.make_link(&staged, target)?;
        let made = self.staging.root.metadata(&staged)?.attributes;
        let wanted = self.resolve(attributes, replaced, &made, made.mode);
        if (wanted.uid, wanted.gid) != (made.uid, made.gid) {
            self.staging.root.set_owner(&staged, wanted.uid, wanted.gid)?;
        }
        self.staging.root.set_mtime(&staged, wanted.mtime)?;
        self.is_incomplete = false;
        Ok(())
    }

    /// Places another name of a file that is in the tree and stays, or was placed before.
    pub fn put_hard_link(&mut self, path: &RelativePath, existing: &RelativePath) -> Result<()> {
        let source = self.current_place(existing)?;
        let (staged, _) = self.place(path, false)?;
        self.is_incomplete = true;
        self.staging.root.hard_link(&source, &staged)?;
        self.is_incomplete = false;
        Ok(())
    }

    /// Makes a directory, or gives one that exists these attributes.
    pub fn put_directory(&mut self, path: &RelativePath, attributes: NewAttributes) -> Result<()> {
        self.check_name(path)?;
        if !self.plans.contains_key(path)
            && matches!(self.locate(path)?, Location::Live)
            && let Some(found) = self.staging.root.find(path)?
        {
            if found.kind != FileKind::Directory {
                return Err(Error::WrongKind { path: path.clone(), found: found.kind.word() });
            }
            self.live_directories.insert(path.clone());
            return self.set_attributes(path, attributes);
        }
        let staged = match self.plans.get(path) {
            Some(Plan::Placed { number, is_directory: true }) => Name::New.numbered(*number),
            Some(Plan::Placed { .. } | Plan::Touched) => return Err(Error::Twice { path: path.clone() }),
            Some(Plan::Removed) | None => match self.locate(path)? {
                Location::Staged(staged) => staged,
                Location::Live => self.new_directory(path)?,
            },
        };
        self.make_staged_directory(&staged, path)?;
        let made = self.staging.root.metadata(&staged)?.attributes;
        let wanted = self.resolve(attributes, None, &made, 0o755);
        self.staged_directories.push((staged, wanted));
        Ok(())
    }

    /// Changes only mode, owner or time of a file or directory that exists.
    pub fn set_attributes(&mut self, path: &RelativePath, attributes: NewAttributes) -> Result<()> {
        self.check_name(path)?;
        match self.plans.get(path) {
            None => {}
            Some(_) => return Err(Error::Twice { path: path.clone() }),
        }
        let found = self.live(path)?.ok_or_else(|| Error::Missing { path: path.clone() })?;
        if found.kind == FileKind::Symlink {
            return Err(Error::WrongKind { path: path.clone(), found: found.kind.word() });
        }
        let old = found.attributes;
        let (uid, gid) = attributes.owner.unwrap_or((old.uid, old.gid));
        let new = Attributes {
            mode: attributes.mode.unwrap_or(old.mode),
            uid,
            gid,
            mtime: attributes.mtime.unwrap_or(old.mtime),
        };
        if old != new {
            self.plans.insert(path.clone(), Plan::Touched);
            self.see(path, Some(found));
            self.attributes.push(Step::Attributes { target: path.clone(), old, new });
        }
        Ok(())
    }

    /// Removes what is at `path`, a directory with all below. What comes to lie below it before the changes are committed is
    /// not taken along: then they are not made.
    pub fn remove(&mut self, path: &RelativePath) -> Result<()> {
        let below = Below::of(&self.staging.root, path);
        self.remove_seen(path, below)
    }

    /// The same for a caller who has looked below already, at what may go.
    pub fn remove_seen(&mut self, path: &RelativePath, below: Below) -> Result<()> {
        if path.is_root() {
            return Err(Error::WrongKind { path: path.clone(), found: "whole tree" });
        }
        self.check_name(path)?;
        if self.is_planned_at_or_below(path) {
            return Err(Error::Twice { path: path.clone() });
        }
        let found = self.live(path)?.ok_or_else(|| Error::Missing { path: path.clone() })?;
        self.see(path, Some(found));
        let is_directory = found.kind == FileKind::Directory;
        let below = if is_directory { below } else { Below::default() };
        let old = Stamp::of(&self.staging.root, path, &found, below)?;
        if is_directory {
            self.seen_below.push((path.clone(), below));
            self.make_movable(path, found.attributes);
        }
        let number = self.number();
        self.steps.push(Planned::Ready(Step::Remove { number, target: path.clone(), old }));
        self.plans.insert(path.clone(), Plan::Removed);
        Ok(())
    }

    /// Removes a directory at the end if it is empty then; it is no failure if it is not.
    pub fn prune(&mut self, path: &RelativePath) -> Result<()> {
        self.check_name(path)?;
        if self.plans.contains_key(path) {
            return Ok(());
        }
        if let Some(found) = self.live(path)?
            && found.kind == FileKind::Directory
            && !path.is_root()
        {
            self.plans.insert(path.clone(), Plan::Touched);
            self.prunes.push(Step::Prune { target: path.clone(), old: found.attributes });
        }
        Ok(())
    }

    /// Makes the changes. On an error the tree is as before, unless it is [`Error::Stuck`].
    pub fn commit(mut self) -> Result<Committed> {
        if self.is_incomplete {
            return Err(Error::Incomplete);
        }
        self.finish_directories()?;
        let durability = self.options.durability;
        // First what takes long: what somebody changes between the look and the steps stops them half way.
        self.staging.flush_all(durability)?;
        let steps = self.steps()?;
        let count = |wanted: fn(&Step) -> bool| steps.iter().filter(|step| wanted(step)).count() as u64;
        let committed = Committed {
            placed: count(|step| matches!(step, Step::Place { .. })),
            removed: count(|step| matches!(step, Step::Remove { .. })),
        };
        self.verify().inspect_err(|error| self.abandon_if_crashed(error))?;
        self.staging
            .write_journal(&steps, durability, self.hook)
            .inspect_err(|error| self.abandon_if_crashed(error))?;
        // From here on the journal says what becomes of the staging.
        self.is_over = true;
        recovery::carry_out(&self.staging, &steps, durability, self.hook)?;
        Ok(committed)
    }

    /// All steps in their order.
    fn steps(&mut self) -> Result<Vec<Step>> {
        let root = &self.staging.root;
        let planned = std::mem::take(&mut self.steps).into_iter();
        let mut steps = planned
            .map(|planned| match planned {
                Planned::Place { number, target, over } => {
                    let new = Stamp::of_staged(root, &Name::New.numbered(number), &target)?;
                    Ok(Step::Place { number, target, over, new })
                }
                Planned::Ready(step) => Ok(step),
            })
            .collect::<Result<Vec<_>>>()?;
        // What lies deeper first: it is emptied, or its change would show in the time of what holds it.
        let deepest_first = |steps: &mut Vec<Step>| {
            steps.sort_by(|a, b| b.target().cmp(a.target()));
            std::mem::take(steps)
        };
        steps.extend(deepest_first(&mut self.prunes));
        steps.extend(deepest_first(&mut self.attributes));
        Ok(steps)
    }

    /// Gives staged directories their attributes.
    fn finish_directories(&mut self) -> Result<()> {
        let mut directories = std::mem::take(&mut self.staged_directories);
        directories.sort_by(|a, b| b.0.cmp(&a.0));
        let has_read_only = directories.iter().any(|(_, wanted)| wanted.mode & OWNER_WRITES == 0);
        let mut targets = if has_read_only { self.targets() } else { HashMap::new() };
        for (path, wanted) in &directories {
            let made = self.staging.root.metadata(path)?.attributes;
            let movable = Attributes { mode: wanted.mode | OWNER_WRITES, ..*wanted };
            self.staging.set_attributes(path, &made, &movable)?;
            if movable == *wanted {
                continue;
            }
            match targets.remove(path) {
                // It gets its mode when it is in its place.
                Some(target) => self.attributes.push(Step::Attributes { target, old: movable, new: *wanted }),
                None => self.staging.set_attributes(path, &movable, wanted)?,
            }
        }
        Ok(())
    }

    /// Looks whether the tree is still what was seen.
    fn verify(&self) -> Result<()> {
        reach(self.hook, "transaction-verify", &RelativePath::root())?;
        for (path, seen) in &self.seen {
            if !is_same(self.staging.root.find(path)?.as_ref(), seen.as_ref()) {
                return Err(Error::Changed { path: path.clone() });
            }
        }
        for (path, seen) in &self.seen_below {
            if Below::of(&self.staging.root, path) != *seen {
                return Err(Error::Changed { path: path.clone() });
            }
        }
        Ok(())
    }

    /// The paths in the tree at which staged directories are placed by steps of their own.
    fn targets(&self) -> HashMap<RelativePath, RelativePath> {
        let placed = self.plans.iter().filter_map(|(path, plan)| match plan {
            Plan::Placed { number, is_directory: true } => Some((Name::New.numbered(*number), path.clone())),
            _ => None,
        });
        placed.collect()
    }

    /// Where the file is that will be at `path`, to be linked to.
    fn current_place(&mut self, path: &RelativePath) -> Result<RelativePath> {
        self.check_name(path)?;
        if let Some(plan) = self.plans.get(path) {
            return match plan {
                Plan::Placed { number, is_directory: false } => Ok(Name::New.numbered(*number)),
                Plan::Touched => Ok(path.clone()),
                Plan::Removed | Plan::Placed { .. } => Err(Error::Missing { path: path.clone() }),
            };
        }
        for directory in path.ancestors() {
            match self.plans.get(&directory) {
                Some(Plan::Placed { number, .. }) => {
                    let below = path.below(&directory).unwrap_or_default();
                    let staged = Name::New.numbered(*number).join(&below);
                    return staged.map_err(|source| Error::BadPath { path: path.clone(), source });
                }
                Some(Plan::Removed) => return Err(Error::Missing { path: path.clone() }),
                Some(Plan::Touched) | None => {}
            }
        }
        Ok(path.clone())
    }

    /// Moving a directory elsewhere changes its `..`, for which its owner must be allowed to write.
    fn make_movable(&mut self, path: &RelativePath, old: Attributes) {
        let new = Attributes { mode: old.mode | OWNER_WRITES, ..old };
        if new != old {
            self.steps.push(Planned::Ready(Step::Attributes { target: path.clone(), old, new }));
        }
    }

    /// What is in the tree at `path` and will be there until the end.
    fn live(&self, path: &RelativePath) -> Result<Option<Metadata>> {
        for directory in path.ancestors() {
            match self.plans.get(&directory) {
                Some(Plan::Removed) => return Ok(None),
                Some(Plan::Placed { .. }) => return Err(Error::Twice { path: path.clone() }),
                Some(Plan::Touched) | None => {}
            }
        }
        Ok(self.staging.root.find(path)?)
    }

    fn is_planned_at_or_below(&self, path: &RelativePath) -> bool {
        let from = (Bound::Included(path), Bound::Unbounded);
        // Names that go on with a byte below `/` sort between a directory and what it holds.
        let mut following = self.plans.range::<RelativePath, _>(from).map(|(planned, _)| planned);
        following
            .by_ref()
            .take_while(|planned| planned.as_bytes().starts_with(path.as_bytes()))
            .any(|planned| planned.below(path).is_some())
    }

    pub(super) fn see(&mut self, path: &RelativePath, metadata: Option<Metadata>) {
        self.seen.push((path.clone(), metadata));
    }

    pub(super) fn number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    pub(super) fn check_name(&self, path: &RelativePath) -> Result<()> {
        if path.components().next() == Some(STAGING_NAME.as_bytes()) {
            return Err(Error::Reserved { path: path.clone() });
        }
        Ok(())
    }

    pub(super) fn resolve(
        &self,
        given: NewAttributes,
        replaced: Option<Attributes>,
        made: &Attributes,
        usual_mode: u32,
    ) -> Attributes {
        let (uid, gid) = given
            .owner
            .or_else(|| replaced.map(|replaced| (replaced.uid, replaced.gid)))
            .or(self.options.owner)
            .unwrap_or((made.uid, made.gid));
        let mode = given.mode.or_else(|| replaced.map(|replaced| replaced.mode)).unwrap_or(usual_mode);
        Attributes { mode, uid, gid, mtime: given.mtime.unwrap_or(made.mtime) }
    }

    /// A process that died would not clean up either.
    pub(super) fn abandon_if_crashed(&mut self, error: &Error) {
        self.is_over |= matches!(error, Error::Crashed);
    }
}

/// Sets what differs of an open file, which of thousands of files costs less than by their names; the owner before the mode,
/// since a change of owner clears set-id bits.
fn set_attributes(file: &File, made: &Attributes, wanted: &Attributes) -> rustix::io::Result<()> {
    let is_given = (made.uid, made.gid) != (wanted.uid, wanted.gid);
    if is_given {
        fchown(file, Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid)))?;
    }
    if is_given || made.mode != wanted.mode {
        fchmod(file, Mode::from_raw_mode(wanted.mode))?;
    }
    if made.mtime == wanted.mtime { Ok(()) } else { futimens(file, &only_mtime(wanted.mtime)) }
}

/// Whether what is there is what was seen. Times of directories change with what is placed in them, and inode numbers on
/// an overlay when a file is copied up, for which making a backup of it is enough.
fn is_same(found: Option<&Metadata>, seen: Option<&Metadata>) -> bool {
    match (found, seen) {
        (None, None) => true,
        (Some(found), Some(seen)) => {
            let contents = |metadata: &Metadata| (metadata.size_bytes, metadata.attributes);
            found.kind == seen.kind
                && (found.kind == FileKind::Directory || contents(found) == contents(seen))
        }
        _ => false,
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // What stays is removed by the next transaction, or by recovery.
            let _cleaned = self.staging.clean(&|_| Ok(()));
        }
    }
}
