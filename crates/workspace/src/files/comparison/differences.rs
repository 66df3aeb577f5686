//! [`Differences`]: which paths of two trees differ, as far as what is listed tells.

use std::collections::{HashMap, HashSet};

use pyro_protocol::work::{Entry, EntryKind};
use pyro_tree::RelativePath;

/// A path that has not the same on both sides.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Difference {
    /// Which.
    pub(super) path: RelativePath,
    /// What the old side has.
    pub(super) old: Option<Entry>,
    /// What the new side has.
    pub(super) new: Option<Entry>,
}

/// What two trees have not in common.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// What differs, in no order.
    pub(super) certain: Vec<Difference>,
    /// Files whose contents have to be looked at.
    pub(super) doubtful: Vec<Difference>,
}

enum Likeness {
    Same,
    Different,
    Doubtful,
}

impl Differences {
    /// Of trees that may be in any order. A path that comes twice, which no honest guest does, counts as it came last.
    pub(super) fn between(old: Vec<(RelativePath, Entry)>, new: Vec<(RelativePath, Entry)>) -> Self {
        let mut old: HashMap<_, _> = old.into_iter().collect();
        let mut found = Self::default();
        for (path, new) in new.into_iter().collect::<HashMap<_, _>>() {
            let old = old.remove(&path);
            let likeness = old.as_ref().map_or(Likeness::Different, |old| likeness(old, &new));
            let difference = Difference { path, old, new: Some(new) };
            match likeness {
                Likeness::Same => {}
                Likeness::Different => found.certain.push(difference),
                Likeness::Doubtful => found.doubtful.push(difference),
            }
        }
        let gone = old.into_iter().map(|(path, old)| Difference { path, old: Some(old), new: None });
        found.certain.extend(gone);
        found
    }
}

fn likeness(old: &Entry, new: &Entry) -> Likeness {
    let same = |is_same| if is_same { Likeness::Same } else { Likeness::Different };
    if old.kind() != new.kind() {
        return Likeness::Different;
    }
    match new.kind() {
        EntryKind::Symlink => same(old.link_target == new.link_target),
        EntryKind::Directory | EntryKind::Special => same(old.mode == new.mode),
        EntryKind::File if old.mode != new.mode || old.size_bytes != new.size_bytes => Likeness::Different,
        EntryKind::File if new.size_bytes == 0 => Likeness::Same,
        EntryKind::File if !new.stamp.is_empty() && old.stamp == new.stamp => Likeness::Same,
        EntryKind::File => Likeness::Doubtful,
    }
}

/// Without directories that came or went with something in them: what is in them tells.
pub(super) fn without_implied_directories(mut differences: Vec<Difference>) -> Vec<Difference> {
    let parents = |side: fn(&Difference) -> bool| {
        let paths = differences.iter().filter(|difference| side(difference));
        paths.filter_map(|difference| difference.path.parent()).collect::<HashSet<_>>()
    };
    let with_new = parents(|difference| difference.new.is_some());
    let with_old = parents(|difference| difference.old.is_some());
    let is_directory = |entry: &Entry| entry.kind() == EntryKind::Directory;
    differences.retain(|Difference { path, old, new }| match (old, new) {
        (None, Some(new)) if is_directory(new) => !with_new.contains(path),
        (Some(old), None) if is_directory(old) => !with_old.contains(path),
        _ => true,
    });
    differences
}
