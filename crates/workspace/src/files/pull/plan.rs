//! What a pull will do, decided before anything is written: each path that the guest changed, against the host.
//!
//! A directory that the guest removed goes only if nothing of the host's own is left in it, and one that it replaced by
//! something else is a conflict then. What the guest put into a directory that is something else on the host is a conflict
//! too, unless that something is itself replaced by the guest's directory.

use std::collections::{BTreeMap, BTreeSet};

use pyro_protocol::work::{Change, ChangeStatus, Entry, EntryKind};
use pyro_tree::{FileKind, Metadata, RelativePath};

use super::{
    super::{error::FileError, ignored::Ignored},
    Conflict,
    decision::{Decision, Thing, decide, status},
    host_tree::{HostTree, Seen, is_reserved},
};

/// Notes of one kind that are kept.
const MOST_NOTES: usize = 100;

/// A path that will be as the guest has it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Take {
    /// How it changed.
    pub(super) status: ChangeStatus,
    /// What it will be; none: it goes.
    pub(super) now: Option<Entry>,
    /// What is on the host.
    pub(super) seen: Option<Metadata>,
}

impl Take {
    fn makes_directory(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.kind() == EntryKind::Directory)
    }

    /// Whether something else of the host gives way to a directory: nothing of the host's is below.
    pub(super) fn is_cleared_for_directory(&self) -> bool {
        self.makes_directory() && self.seen.is_some()
    }

    /// Whether a directory of the host goes, or gives way.
    pub(super) fn clears_directory(&self) -> bool {
        self.seen.is_some_and(|seen| seen.kind == FileKind::Directory) && !self.makes_directory()
    }
}

/// What will be done, and what will not.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order of their paths' bytes, so that a directory comes before what is in it.
    pub(super) takes: BTreeMap<RelativePath, Take>,
    /// What both sides have alike; none: nothing.
    pub(super) alike: Vec<(RelativePath, Option<Entry>)>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) notes: Vec<String>,
}

/// Decides everything. Changes the guest sent may be in any order and of any quality. Blocks.
pub(super) fn plan(
    host: &HostTree,
    changes: Vec<Change>,
    paths: &[RelativePath],
    ignored: &mut Ignored,
) -> Result<Plan, FileError> {
    let mut planning = Planning {
        host,
        plan: Plan::default(),
        cleared: BTreeSet::new(),
        refused: BTreeMap::new(),
        left_out: 0,
    };
    for (path, change) in by_path(changes)? {
        let is_wanted = paths.is_empty() || paths.iter().any(|wanted| path.below(wanted).is_some());
        if !is_wanted || is_reserved(&path) {
            continue;
        }
        if ignored.leaves_out(&path, kind(&change)) {
            planning.left_out += 1;
        } else {
            planning.decide(path, change)?;
        }
    }
    planning.spare_what_is_the_hosts()?;
    Ok(planning.finish())
}

/// The changes by checked path, each once.
fn by_path(changes: Vec<Change>) -> Result<BTreeMap<RelativePath, Change>, FileError> {
    let mut sorted = BTreeMap::new();
    // The mode and owner of the directory itself are the host's affair.
    for change in changes.into_iter().filter(|change| !change.path.is_empty()) {
        let path = RelativePath::new(&change.path).ok().filter(|path| !path.is_root());
        let path = path.ok_or(FileError::Protocol("a changed path leads elsewhere"))?;
        if sorted.insert(path, change).is_some() {
            return Err(FileError::Protocol("a path changed twice"));
        }
    }
    Ok(sorted)
}

fn kind(change: &Change) -> FileKind {
    let entry = change.now.as_ref().or(change.base.as_ref());
    match entry.map_or(EntryKind::File, Entry::kind) {
        EntryKind::Directory => FileKind::Directory,
        EntryKind::Symlink => FileKind::Symlink,
        EntryKind::File | EntryKind::Special => FileKind::File,
    }
}

struct Planning<'a> {
    host: &'a HostTree,
    plan: Plan,
    /// Paths where something else of the host gives way to a directory: nothing is below them.
    cleared: BTreeSet<RelativePath>,
    /// Directories of the guest that are a conflict, with what the host did: nothing can be put into them.
    refused: BTreeMap<RelativePath, ChangeStatus>,
    /// Changed paths that the patterns leave out.
    left_out: u64,
}

impl Planning<'_> {
    fn decide(&mut self, path: RelativePath, change: Change) -> Result<(), FileError> {
        if change.now.as_ref().is_some_and(|now| now.kind() == EntryKind::Special) {
            self.note(format!("`{path}` left out, it is a socket, a named pipe or a device"));
            return Ok(());
        }
        let is_below_cleared = path.ancestors().any(|above| self.cleared.contains(&above));
        let seen = if is_below_cleared { Seen::default() } else { self.host.look(&path, &change)? };
        let (base, guest) = (change.base.as_ref().map(Thing::of), change.now.as_ref().map(Thing::of));
        match decide(base.as_ref(), guest.as_ref(), seen.thing.as_ref()) {
            Decision::Untouched => {}
            Decision::Alike => self.plan.alike.push((path, change.now)),
            Decision::Conflict { guest: status, host } => {
                if guest == Some(Thing::Directory) {
                    self.refused.insert(path.clone(), host);
                }
                self.conflict(&path, status, host);
            }
            Decision::Take => {
                let status = status(base.as_ref(), guest.as_ref());
                let refused = path.ancestors().find_map(|above| self.refused.get(&above).copied());
                if let Some(host) = refused.filter(|_| guest.is_some()) {
                    self.conflict(&path, status, host);
                    return Ok(());
                }
                let take = Take { status, now: change.now, seen: seen.metadata };
                if take.is_cleared_for_directory() {
                    self.cleared.insert(path.clone());
                }
                self.plan.takes.insert(path, take);
            }
        }
        Ok(())
    }

    /// Lets directories stay in which the host has something that does not go.
    fn spare_what_is_the_hosts(&mut self) -> Result<(), FileError> {
        let clearing = self.plan.takes.iter().filter(|(_, take)| take.clears_directory());
        // What is in a directory comes before it, so that it is known whether that goes.
        let clearing: Vec<_> = clearing.map(|(path, _)| path.clone()).rev().collect();
        for path in clearing {
            if all_go(self.host, &path, &self.plan.takes)? {
                continue;
            }
            match self.plan.takes.remove(&path) {
                Some(Take { now: Some(_), status, .. }) => {
                    self.conflict(&path, status, ChangeStatus::Modified);
                }
                _ => self.note(format!("directory `{path}` stays, the host has something in it")),
            }
        }
        Ok(())
    }

    fn conflict(&mut self, path: &RelativePath, guest: ChangeStatus, host: ChangeStatus) {
        self.plan.conflicts.push(Conflict { path: path.as_bytes().to_vec(), guest, host });
    }

    fn note(&mut self, note: String) {
        if self.plan.notes.len() < MOST_NOTES {
            self.plan.notes.push(note);
        }
    }

    fn finish(mut self) -> Plan {
        if self.left_out > 0 {
            let text = format!("{} changed paths are left out by patterns", self.left_out);
            self.plan.notes.push(text);
        }
        self.plan.conflicts.sort_by(|one, other| one.path.cmp(&other.path));
        self.plan
    }
}

/// Whether everything that the host has in a directory goes by itself; of what is further below, the same was asked.
pub(super) fn all_go(
    host: &HostTree,
    directory: &RelativePath,
    takes: &BTreeMap<RelativePath, Take>,
) -> Result<bool, FileError> {
    let goes = |path: &RelativePath| takes.get(path).is_some_and(|take| take.now.is_none());
    Ok(host.children(directory)?.iter().all(goes))
}
