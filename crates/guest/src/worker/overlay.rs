//! What was changed in `/workspace` since it was seeded, found from the upper layer of its overlay alone: the work follows
//! what was changed and not the size of the seed.
//!
//! The walk goes through the directories that were changed. Where a directory lies in the seed under its own name, only
//! what the upper layer has in it is looked at; where it does not (it was renamed, replaced or removed), everything in it
//! is compared with what the seed has under its name. What was copied up and is as it was is no change, nor is an owner
//! or a time. At the end come the other names of files of the seed that were changed through one of their names.
//!
//! While programs go on writing, each path is taken as it is at the moment when it is looked at.

use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::STAGING_NAME;

use super::aliases;
use super::contents::{ContentError, Contents};
use super::filter::Filter;
use super::layers::{Layers, Merged, joined, listed};
use super::node::{Difference, Location, Node};

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// In the order of their paths' bytes; `/workspace` itself is none.
    pub(super) list: Vec<Difference>,
    /// How many names were looked at, in all layers together.
    pub(super) visited: u64,
    /// Paths that could not be compared, and why.
    pub(super) notes: Vec<String>,
}

/// Compares what `filter` takes.
///
/// # Errors
/// When a layer cannot be read.
pub(super) fn differences(
    layers: &Layers,
    contents: Contents<'_>,
    state: &Root,
    filter: &Filter,
) -> Result<Differences, ContentError> {
    let mut walk =
        Walk { layers, contents, filter, pending: vec![Pair::root()], found: Differences::default() };
    while let Some(pair) = walk.pending.pop() {
        walk.compare_directories(pair)?;
    }
    if layers.has_index() {
        for path in aliases::of_seed(layers, state)? {
            walk.compare_alias(path)?;
        }
    }
    let mut found = walk.found;
    found.list.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

struct Walk<'a> {
    layers: &'a Layers,
    contents: Contents<'a>,
    filter: &'a Filter,
    pending: Vec<Pair>,
    found: Differences,
}

/// A path that is a directory now, or is one in the seed, or both.
struct Pair {
    path: RelativePath,
    now: Option<Shown>,
    in_seed: bool,
}

/// Where a directory lies that is shown.
struct Shown {
    upper: bool,
    lower: Option<RelativePath>,
}

impl Pair {
    fn root() -> Self {
        let shown = Shown { upper: true, lower: Some(RelativePath::root()) };
        Self { path: RelativePath::root(), now: Some(shown), in_seed: true }
    }
}

impl Walk<'_> {
    fn compare_directories(&mut self, pair: Pair) -> Result<(), ContentError> {
        let Pair { path, now, in_seed } = pair;
        let now =
            match now.map(|shown| self.layers.merged(path.clone(), shown.upper, shown.lower)).transpose() {
                Err(error) if error.is_gone() => None,
                now => now?,
            };
        let seed = if in_seed { self.layers.seed_directory(&path)? } else { None };
        // Under its own name in the seed, a directory differs in nothing but what the upper layer has.
        let seed_path = now.as_ref().and_then(Merged::seed_path);
        let is_in_place = if in_seed { seed_path == Some(&path) } else { seed_path.is_none() };
        let mut names = now.as_ref().map_or(Ok(Vec::new()), |now| now.names(!is_in_place))?;
        if let Some(directory) = seed.as_ref().filter(|_| !is_in_place) {
            names.extend(listed(directory)?);
        }
        if path.is_root() {
            names.retain(|name| name.as_bytes() != STAGING_NAME.as_bytes());
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = match joined(&path, &name) {
                Ok(path) => path,
                Err(error) => {
                    self.found.notes.push(format!("a path is too long to be compared: {error}"));
                    continue;
                }
            };
            if !self.filter.enters(&path) {
                continue;
            }
            self.found.visited += 1;
            let shown = now.as_ref().map(|now| self.layers.shown(now, &name)).transpose()?.flatten();
            let seeded =
                seed.as_ref().map(|seed| self.layers.seeded(seed, &path, &name)).transpose()?.flatten();
            self.enter(&path, &name, now.as_ref(), shown.as_ref(), seeded.as_ref());
            self.compare(path, seeded, shown)?;
        }
        Ok(())
    }

    /// Goes below what is a directory on either side.
    fn enter(
        &mut self,
        path: &RelativePath,
        name: &RelativePath,
        directory: Option<&Merged>,
        shown: Option<&Node>,
        seeded: Option<&Node>,
    ) {
        let in_seed = seeded.is_some_and(Node::is_directory);
        let now = directory.zip(shown.filter(|node| node.is_directory())).map(|(directory, node)| {
            let (upper, lower) = directory.inherited(node, name);
            Shown { upper, lower }
        });
        let is_untouched =
            in_seed && now.as_ref().is_some_and(|now| !now.upper && now.lower.as_ref() == Some(path));
        if !is_untouched && (now.is_some() || in_seed) {
            self.pending.push(Pair { path: path.clone(), now, in_seed });
        }
    }

    /// Compares a file of the seed that may show what was written under another of its names. If the upper layer has
    /// anything to say about this very name, it was compared before.
    fn compare_alias(&mut self, path: RelativePath) -> Result<(), ContentError> {
        if !self.filter.takes(&path) {
            return Ok(());
        }
        self.found.visited += 1;
        let Some(shown) = self.layers.find(&path)? else { return Ok(()) };
        match &shown.location {
            Location::Index { seed, .. } if *seed == path => {}
            _ => return Ok(()),
        }
        let seeded = self.layers.find_seeded(&path)?;
        self.compare(path, seeded, Some(shown))
    }

    fn compare(
        &mut self,
        path: RelativePath,
        base: Option<Node>,
        now: Option<Node>,
    ) -> Result<(), ContentError> {
        let differs = match (&base, &now) {
            (None, None) => false,
            (Some(base), Some(now)) => self.contents.differ(base, now)?,
            _ => true,
        };
        if differs && self.filter.takes(&path) {
            self.found.list.push(Difference { path, base, now });
        }
        Ok(())
    }
}
