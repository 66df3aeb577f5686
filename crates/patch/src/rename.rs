//! Which of the files that went and of those that came are the same, moved.
//!
//! As git finds them. First files of equal content; among several, one that keeps its name. Then files whose name
//! is the only one of its kind on either side. Then each of the rest with each, as long as they are few. Similar
//! are files that have at least half of the larger one's content in common.
//!
//! Content is asked for when it is needed, a file at most twice. Work is bounded by [`Limits`].

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

use crate::{
    FilePath, Mode, Similarity, blob,
    similarity::{Fingerprint, Score},
};

/// A file that went or came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a, D> {
    /// Where.
    pub path: &'a FilePath,
    /// What it is; only files of one kind can be the same one.
    pub mode: Mode,
    /// Length of its content.
    pub size_bytes: u64,
    /// A digest of its content, if it is at hand. Unless all files have one, content of equal size is read.
    pub digest: Option<D>,
}

/// Which list a file is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum List {
    /// Of those that went.
    Deleted,
    /// Of those that came.
    Added,
}

/// Bounds of the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Each file is compared with each while there are no more pairs than this number squared (git's rename limit).
    pub files: usize,
    /// Larger files are found only when their digests are equal.
    pub file_bytes: u64,
    /// So much content is read to find similar files; what is left over is not compared.
    pub total_bytes: u64,
}

impl Default for Limits {
    /// 1000 files as git, of 16 MiB, together 64 MiB.
    fn default() -> Self {
        Self { files: 1000, file_bytes: 16 << 20, total_bytes: 64 << 20 }
    }
}

/// A file that moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rename {
    /// Index among the deleted ones.
    pub deleted: usize,
    /// Index among the added ones.
    pub added: usize,
    /// How much stayed.
    pub similarity: Similarity,
}

/// Finds the pairs, in the order of the added files. Each file is in one pair at most.
///
/// # Errors
///
/// What `content` fails with.
pub fn detect<'c, D: Eq + Hash, E>(
    deleted: &[Entry<'_, D>],
    added: &[Entry<'_, D>],
    limits: Limits,
    content: impl FnMut(List, usize) -> Result<Cow<'c, [u8]>, E>,
) -> Result<Vec<Rename>, E> {
    let mut search = Search {
        deleted,
        added,
        limits,
        content,
        source_of: vec![None; added.len()],
        taken: vec![false; deleted.len()],
        fingerprints: HashMap::new(),
        read_bytes: 0,
        all_digests: deleted.iter().chain(added).all(|entry| entry.digest.is_some()),
    };
    search.pair_equal()?;
    search.pair_by_name()?;
    search.pair_similar()?;
    Ok(search.renames())
}

struct Search<'a, 'p, D, F> {
    deleted: &'a [Entry<'p, D>],
    added: &'a [Entry<'p, D>],
    limits: Limits,
    content: F,
    /// For each added file the deleted one it is.
    source_of: Vec<Option<(usize, Similarity)>>,
    /// The deleted ones that are some added one.
    taken: Vec<bool>,
    /// Of files that were read; `None` of those that will not be.
    fingerprints: HashMap<(List, usize), Option<Fingerprint>>,
    read_bytes: u64,
    /// No content need be read to tell whether files are equal.
    all_digests: bool,
}

/// Size, and whether it is a link.
type Form = (u64, bool);

/// What files of equal content have in common.
type Identity<'a, D> = (Form, Content<'a, D>);

#[derive(PartialEq, Eq, Hash)]
enum Content<'a, D> {
    Empty,
    Digest(&'a D),
    Blob([u8; 20]),
}

impl<D> Entry<'_, D> {
    fn form(&self) -> Form {
        (self.size_bytes, self.mode == Mode::Symlink)
    }
}

/// Deleted files of equal content.
#[derive(Default)]
struct Group<'p> {
    by_name: HashMap<&'p [u8], VecDeque<usize>>,
    all: VecDeque<usize>,
}

impl<'p> Group<'p> {
    fn put(&mut self, name: &'p [u8], deleted: usize) {
        self.by_name.entry(name).or_default().push_back(deleted);
        self.all.push_back(deleted);
    }

    fn take_named(&mut self, name: &[u8]) -> Option<usize> {
        self.by_name.get_mut(name)?.pop_front()
    }

    fn take_first(&mut self, taken: &[bool]) -> Option<usize> {
        loop {
            let first = self.all.pop_front()?;
            if !taken[first] {
                return Some(first);
            }
        }
    }
}

impl<'a, 'p, 'c, D: Eq + Hash, E, F> Search<'a, 'p, D, F>
where
    F: FnMut(List, usize) -> Result<Cow<'c, [u8]>, E>,
{
    fn pair_equal(&mut self) -> Result<(), E> {
        let sizes = |entries: &[Entry<'_, D>]| entries.iter().map(Entry::form).collect::<HashSet<_>>();
        let common: HashSet<_> = sizes(self.deleted).intersection(&sizes(self.added)).copied().collect();
        let mut groups: HashMap<Identity<'a, D>, Group<'p>> = HashMap::new();
        for (index, entry) in
            self.deleted.iter().enumerate().filter(|(_, entry)| common.contains(&entry.form()))
        {
            if let Some(identity) = self.identity((List::Deleted, index))? {
                groups.entry(identity).or_default().put(entry.path.file_name(), index);
            }
        }
        let mut left = Vec::new();
        for (index, entry) in
            self.added.iter().enumerate().filter(|(_, entry)| common.contains(&entry.form()))
        {
            let Some(identity) = self.identity((List::Added, index))? else { continue };
            let Some(group) = groups.get_mut(&identity) else { continue };
            match group.take_named(entry.path.file_name()) {
                Some(deleted) => self.pair(deleted, index, Similarity::EQUAL),
                None => left.push((index, identity)),
            }
        }
        // Those whose name is not among the equal ones take what is left, in order.
        for (added, identity) in left {
            if let Some(deleted) = groups.get_mut(&identity).and_then(|group| group.take_first(&self.taken)) {
                self.pair(deleted, added, Similarity::EQUAL);
            }
        }
        Ok(())
    }

    /// What files of equal content have in common; `None` if that is not known and too long to find out.
    fn identity(&mut self, file: (List, usize)) -> Result<Option<Identity<'a, D>>, E> {
        let entry = self.entry(file);
        let content = match &entry.digest {
            _ if entry.size_bytes == 0 => Content::Empty,
            Some(digest) if self.all_digests => Content::Digest(digest),
            _ if entry.size_bytes > self.limits.file_bytes => return Ok(None),
            _ => Content::Blob(blob::digest(&(self.content)(file.0, file.1)?)),
        };
        Ok(Some((entry.form(), content)))
    }

    fn entry(&self, (list, index): (List, usize)) -> &'a Entry<'p, D> {
        match list {
            List::Deleted => &self.deleted[index],
            List::Added => &self.added[index],
        }
    }

    /// A file that moved to another directory usually keeps its name.
    fn pair_by_name(&mut self) -> Result<(), E> {
        let deleted = unique_names(self.deleted, |index| !self.taken[index]);
        let added = unique_names(self.added, |index| self.source_of[index].is_none());
        let mut pairs: Vec<(usize, usize)> =
            deleted.iter().filter_map(|(name, deleted)| Some(((*deleted)?, (*added.get(name)?)?))).collect();
        pairs.sort_unstable_by_key(|(_, added)| *added);
        for (deleted, added) in pairs {
            if let Some(score) = self.score(deleted, added)?
                && score >= Score::OF_RENAMES
            {
                self.pair(deleted, added, score.similarity());
            }
        }
        Ok(())
    }

    fn pair_similar(&mut self) -> Result<(), E> {
        let deleted: Vec<usize> = (0..self.deleted.len()).filter(|index| !self.taken[*index]).collect();
        let added: Vec<usize> =
            (0..self.added.len()).filter(|index| self.source_of[*index].is_none()).collect();
        let most = self.limits.files.saturating_mul(self.limits.files);
        if deleted.len().saturating_mul(added.len()) > most {
            return Ok(());
        }
        let mut candidates = Vec::new();
        for added in added {
            for deleted in &deleted {
                if let Some(score) = self.score(*deleted, added)?
                    && score >= Score::OF_RENAMES
                {
                    let same_name =
                        self.deleted[*deleted].path.file_name() == self.added[added].path.file_name();
                    candidates.push((std::cmp::Reverse((score, same_name)), added, *deleted));
                }
            }
            // Each pair of this file is known now.
            self.fingerprints.remove(&(List::Added, added));
        }
        candidates.sort_unstable();
        for (std::cmp::Reverse((score, _)), added, deleted) in candidates {
            if self.source_of[added].is_none() && !self.taken[deleted] {
                self.pair(deleted, added, score.similarity());
            }
        }
        Ok(())
    }

    /// How similar two files are; `None` if they are not to be compared.
    fn score(&mut self, deleted: usize, added: usize) -> Result<Option<Score>, E> {
        let (old, new) = (&self.deleted[deleted], &self.added[added]);
        let links = old.mode == Mode::Symlink || new.mode == Mode::Symlink;
        if links || !Score::possible(old.size_bytes, new.size_bytes) {
            return Ok(None);
        }
        let (old, new) = ((List::Deleted, deleted), (List::Added, added));
        self.read(old)?;
        self.read(new)?;
        let print = |file| self.fingerprints.get(&file).and_then(Option::as_ref);
        Ok(print(old).zip(print(new)).map(|(old, new)| old.score(new)))
    }

    fn read(&mut self, file: (List, usize)) -> Result<(), E> {
        if self.fingerprints.contains_key(&file) {
            return Ok(());
        }
        let size_bytes = self.entry(file).size_bytes;
        let total = self.read_bytes.saturating_add(size_bytes);
        let print = if size_bytes > self.limits.file_bytes || total > self.limits.total_bytes {
            None
        } else {
            self.read_bytes = total;
            Some(Fingerprint::of(&(self.content)(file.0, file.1)?))
        };
        self.fingerprints.insert(file, print);
        Ok(())
    }

    fn pair(&mut self, deleted: usize, added: usize, similarity: Similarity) {
        self.taken[deleted] = true;
        self.source_of[added] = Some((deleted, similarity));
    }

    fn renames(self) -> Vec<Rename> {
        let pairs = self.source_of.into_iter().enumerate();
        pairs
            .filter_map(|(added, source)| {
                source.map(|(deleted, similarity)| Rename { deleted, added, similarity })
            })
            .collect()
    }
}

/// For each name the one file that has it; `None` if several have.
fn unique_names<'p, D>(
    entries: &[Entry<'p, D>],
    is_left: impl Fn(usize) -> bool,
) -> HashMap<&'p [u8], Option<usize>> {
    let mut names = HashMap::new();
    for (index, entry) in entries.iter().enumerate().filter(|(index, _)| is_left(*index)) {
        names.entry(entry.path.file_name()).and_modify(|only| *only = None).or_insert(Some(index));
    }
    names
}
