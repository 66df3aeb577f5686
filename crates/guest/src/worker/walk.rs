//! [`Walk`]: what is below a directory, depth first; the names of each directory in the order of their bytes.
//!
//! The order is that of paths compared name by name, so what is in `a` comes right after `a` and before `a.txt`.
//! Links are never entered. What vanishes meanwhile is left out. [`RESERVED`] is.
//!
//! Memory: the names of the directories on the way down, and with [`Walk::at_most`] of each no more than that many.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use pyro_tree::path::{MAX_PATH_BYTES, RelativePath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, openat, statat};
use rustix::io::Errno;

use super::error::{Result, WorkError, quoted};
use super::workspace::{RESERVED, Workspace};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Directories that stay open at once; those further up are opened again on the way back.
const MAX_OPEN: usize = 64;
/// Bytes of names that the kernel gives at once.
const LISTING_BYTES: usize = 32 << 10;
/// Longest note.
const MAX_NOTE_BYTES: usize = 2_000;
/// Most notes that are kept.
const MAX_NOTES: usize = 100;

/// A step of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Something is there; [`Walk::path`] and the others speak of it until the next step.
    Found(FileType),
    /// A directory that was entered has no more; [`Walk::path`] is its path.
    Left,
}

/// A walk; see the [module](self).
pub(crate) struct Walk<'a> {
    workspace: &'a Workspace<'a>,
    /// The directories from the top down to the one at hand.
    levels: Vec<Level>,
    /// Path of what is at hand, relative to the workspace.
    path: Vec<u8>,
    /// Bytes of `path` that are its last name, 0 for none.
    name_bytes: usize,
    /// Names of the path that the walk is to go on behind.
    after: Vec<Vec<u8>>,
    /// Whether it goes on in directories on that way.
    enters_after: bool,
    at_most: Option<usize>,
    notes: Vec<String>,
}

struct Level {
    /// None while too many others are open.
    directory: Option<OwnedFd>,
    /// Bytes of the path of this directory.
    path_bytes: usize,
    /// Those to come, the next one last.
    names: Vec<Name>,
}

struct Name {
    bytes: Box<[u8]>,
    kind: FileType,
}

impl<'a> Walk<'a> {
    /// A walk through a directory, which links may lead to.
    pub(crate) fn new(workspace: &'a Workspace<'a>, path: &RelativePath) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = workspace.open(path.as_bytes(), flags).map_err(WorkError::resolving("list", path))?;
        let level =
            Level { directory: Some(directory), path_bytes: path.as_bytes().len(), names: Vec::new() };
        Ok(Self {
            workspace,
            levels: vec![level],
            path: path.as_bytes().to_vec(),
            name_bytes: 0,
            after: Vec::new(),
            enters_after: false,
            at_most: None,
            notes: Vec::new(),
        })
    }

    /// Goes on behind `path`, which is below the top; with `recursive` in what it holds.
    pub(crate) fn after(mut self, top: &RelativePath, path: &RelativePath, recursive: bool) -> Self {
        self.after = path.components().skip(top.components().count()).map(<[u8]>::to_vec).collect();
        self.enters_after = recursive;
        self
    }

    /// No more than so many steps will be wanted; of larger directories only so many names are kept.
    pub(crate) fn at_most(mut self, count: Option<usize>) -> Self {
        self.at_most = count;
        self
    }

    /// Reads the top directory. Comes before the first step.
    pub(crate) fn start(mut self) -> Result<Self> {
        self.read_names(true)?;
        Ok(self)
    }

    /// The next step; none at the end.
    pub(crate) fn step(&mut self) -> Result<Option<Step>> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            self.path.truncate(level.path_bytes);
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                self.name_bytes =
                    self.levels.last().map_or(0, |above| name_bytes(&self.path, above.path_bytes));
                return Ok(if self.levels.is_empty() { None } else { Some(Step::Left) });
            };
            if self.path.len() + 1 + name.bytes.len() > MAX_PATH_BYTES {
                self.note(format!("what is in {} has a path that is too long", quoted(&self.path)));
                continue;
            }
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name.bytes);
            self.name_bytes = name.bytes.len();
            if !self.reopen()? {
                continue;
            }
            let kind = match name.kind {
                FileType::Unknown => match self.stat() {
                    Ok(stat) => super::entry::type_of(&stat),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(self.failed("inspect", error)),
                },
                kind => kind,
            };
            // The way down to where the walk is to go on was found before.
            if self.is_on_the_way(&name.bytes) {
                if kind == FileType::Directory && self.enters_after {
                    self.enter()?;
                } else {
                    self.after.clear();
                }
                continue;
            }
            return Ok(Some(Step::Found(kind)));
        }
    }

    /// Goes into the directory that was just found, so that [`Step::Left`] will come. False if that cannot be, as when
    /// it is gone.
    pub(crate) fn enter(&mut self) -> Result<bool> {
        let opened = match self.levels.last().and_then(|level| level.directory.as_ref()) {
            Some(directory) => openat(directory, self.name(), DIRECTORY, Mode::empty()),
            None => return Ok(false),
        };
        let directory = match opened {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.after.clear();
                return Ok(false);
            }
            Err(error) => {
                self.after.clear();
                let cause = super::error::cause_of(&error.into());
                self.note(format!("{} cannot be listed: {cause}", quoted(&self.path)));
                return Ok(false);
            }
        };
        self.levels.push(Level {
            directory: Some(directory),
            path_bytes: self.path.len(),
            names: Vec::new(),
        });
        if let Some(hidden) = self.levels.len().checked_sub(MAX_OPEN + 1) {
            self.levels[hidden].directory = None;
        }
        self.read_names(false)?;
        Ok(true)
    }

    /// The path of what is at hand, relative to the workspace.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last name of what is at hand.
    pub(crate) fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.path[self.path.len() - self.name_bytes..])
    }

    /// The directory in which [`Walk::name`] lies, after [`Step::Found`].
    pub(crate) fn directory(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        self.levels.last().and_then(|level| level.directory.as_ref()).map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// The status of what was found, a link not followed.
    pub(crate) fn stat(&self) -> rustix::io::Result<Stat> {
        statat(self.directory()?, self.name(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What was left out and why.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Remembers that something was left out.
    pub(crate) fn note(&mut self, mut note: String) {
        if self.notes.len() < MAX_NOTES {
            // All of them fit into one reply.
            note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
            self.notes.push(note);
        }
    }

    /// A failure about what is at hand.
    pub(crate) fn failed(&self, operation: &str, error: impl Into<io::Error>) -> WorkError {
        let mut failure = WorkError::from(error.into());
        failure.message = format!("{operation} {}: {}", quoted(&self.path), failure.message);
        failure.path.clone_from(&self.path);
        failure
    }

    /// Whether the name at this level is the one on the way to `after`, which is then one name shorter.
    fn is_on_the_way(&mut self, name: &[u8]) -> bool {
        let on_the_way = self.after.first().is_some_and(|first| **first == *name);
        if on_the_way {
            self.after.remove(0);
        } else {
            self.after.clear();
        }
        on_the_way
    }

    /// Opens the directory at hand again if it is not open; false if it is not there any more.
    fn reopen(&mut self) -> Result<bool> {
        let Some(level) = self.levels.last_mut() else { return Ok(false) };
        if level.directory.is_none() {
            let path = &self.path[..level.path_bytes];
            match self.workspace.open(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(directory) => level.directory = Some(directory),
                Err(_) => {
                    level.names.clear();
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Reads the names of the directory at hand: those from `after` on, the first `at_most` of them.
    fn read_names(&mut self, is_top: bool) -> Result<()> {
        let hides_reserved = self.path.is_empty();
        // One more than wanted, since the first may be the one on the way to `after`.
        let at_most = self.at_most.map(|count| count.saturating_add(1));
        let first = self.after.first();
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let Some(directory) = &level.directory else { return Ok(()) };
        match names(directory.as_fd(), first.map(Vec::as_slice), at_most, hides_reserved) {
            Ok(names) => level.names = names,
            Err(Errno::NOENT) => {}
            Err(error) if is_top => return Err(self.failed("list", error)),
            Err(error) => {
                let cause = super::error::cause_of(&error.into());
                self.note(format!("{} cannot be listed: {cause}", quoted(&self.path)));
            }
        }
        Ok(())
    }
}

/// Bytes of the last name of `path`, which lies in a directory whose path has `above_bytes`.
fn name_bytes(path: &[u8], above_bytes: usize) -> usize {
    path.len() - if above_bytes == 0 { 0 } else { above_bytes + 1 }
}

/// The names in a directory in falling order: the `at_most` lowest of those that are not below `first`.
fn names(
    directory: BorrowedFd<'_>,
    first: Option<&[u8]>,
    at_most: Option<usize>,
    hides_reserved: bool,
) -> rustix::io::Result<Vec<Name>> {
    let falling = |a: &Name, b: &Name| -> Ordering { b.bytes.cmp(&a.bytes) };
    let mut names = Vec::new();
    let mut buffer = [const { MaybeUninit::uninit() }; LISTING_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." || hides_reserved && bytes == RESERVED {
            continue;
        }
        if first.is_some_and(|first| bytes < first) {
            continue;
        }
        names.push(Name { bytes: bytes.into(), kind: entry.file_type() });
        if let Some(at_most) = at_most
            && names.len() >= at_most.saturating_mul(2).max(1024)
        {
            keep_lowest(&mut names, at_most);
        }
    }
    if let Some(at_most) = at_most {
        keep_lowest(&mut names, at_most);
    }
    names.sort_unstable_by(falling);
    Ok(names)
}

fn keep_lowest(names: &mut Vec<Name>, count: usize) {
    if count < names.len() {
        names.select_nth_unstable_by(count, |a, b| a.bytes.cmp(&b.bytes));
        names.truncate(count);
    }
}
