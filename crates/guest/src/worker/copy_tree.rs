//! The tree of `Copy`: what a walk finds, made again below a new directory.
//!
//! What is neither file, directory nor link is left out and noted. What vanishes meanwhile is left out. One directory of
//! the copy is open at a time, and the way back up is checked, so that nothing is written where somebody moved it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use pyro_protocol::work::Unpacked;
use pyro_tree::path::RelativePath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, linkat, mkdirat, openat};
use rustix::io::Errno;

use super::duplicate::{At, attributes, leaf};
use super::entry::{type_of, word_for};
use super::error::{Result, WorkError, quoted};
use super::walk::{Step, Walk};
use super::workspace::Workspace;

const COPY: &str = "copy";
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Copies the directory `from`, of which `stat` is the status, to a name that nothing has.
pub(crate) fn copy(
    workspace: &Workspace<'_>,
    from: &RelativePath,
    stat: &Stat,
    to: At<'_>,
) -> Result<Unpacked> {
    let mut walk = Walk::new(workspace, from)?.start()?;
    let mut copy = TreeCopy::new(to, from.as_bytes().len() + 1).map_err(WorkError::at(COPY, from))?;
    while let Some(step) = walk.step()? {
        match step {
            Step::Left => copy.leave(),
            Step::Found(_) => match walk.stat() {
                Ok(found) => copy.add(&mut walk, &found)?,
                Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
        .map_err(|error| walk.failed(COPY, error))?;
    }
    attributes(copy.directory.as_fd(), stat).map_err(WorkError::at(COPY, from))?;
    copy.copied.notes = walk.take_notes();
    Ok(copy.copied)
}

struct TreeCopy {
    /// Its top.
    top: OwnedFd,
    /// Where it is at work.
    directory: OwnedFd,
    /// How to get from there to the top.
    above: Vec<Above>,
    /// Where in the copy the files are that have more than one name.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Bytes of a found path that lead to the top.
    prefix_bytes: usize,
    copied: Unpacked,
}

/// One directory down.
struct Above {
    /// Of the directory above.
    identity: (u64, u64),
    /// What the directory below gets when it is complete.
    stat: Stat,
}

impl TreeCopy {
    fn new(to: At<'_>, prefix_bytes: usize) -> rustix::io::Result<Self> {
        let directory = make(to)?;
        let top = rustix::io::fcntl_dupfd_cloexec(&directory, 0)?;
        let copied = Unpacked { entry_count: 1, ..Unpacked::default() };
        Ok(Self { top, directory, above: Vec::new(), linked: HashMap::new(), prefix_bytes, copied })
    }

    /// Copies what the walk has found. Into a directory both go.
    fn add(&mut self, walk: &mut Walk<'_>, found: &Stat) -> Result<io::Result<()>> {
        match type_of(found) {
            FileType::Directory => {
                if let Err(error) = self.enter(walk.name(), found) {
                    return Ok(Err(error.into()));
                }
                if !walk.enter()? {
                    // It is gone: its copy stays empty.
                    return Ok(self.leave());
                }
                Ok(Ok(()))
            }
            FileType::RegularFile | FileType::Symlink => Ok(self.add_leaf(walk, found)),
            other => {
                walk.note(format!("{} left out, it is {}", quoted(walk.path()), word_for(other)));
                Ok(Ok(()))
            }
        }
    }

    fn add_leaf(&mut self, walk: &Walk<'_>, found: &Stat) -> io::Result<()> {
        let identity = (found.st_dev, found.st_ino);
        if let Some(first) = self.linked.get(&identity) {
            linkat(&self.top, OsStr::from_bytes(first), &self.directory, walk.name(), AtFlags::empty())?;
            self.copied.entry_count += 1;
            return Ok(());
        }
        let name = walk.name();
        let from = At { directory: walk.directory()?, name };
        match leaf(from, At { directory: self.directory.as_fd(), name }, found) {
            Ok(content_bytes) => {
                self.copied.content_bytes += content_bytes;
                self.copied.entry_count += 1;
            }
            // Gone, or something else, since it was looked at.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO)
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if found.st_nlink > 1 {
            self.linked.insert(identity, walk.path().get(self.prefix_bytes..).unwrap_or_default().to_vec());
        }
        Ok(())
    }

    fn enter(&mut self, name: &OsStr, stat: &Stat) -> rustix::io::Result<()> {
        let inside = fstat(&self.directory)?;
        let made = make(At { directory: self.directory.as_fd(), name })?;
        self.above.push(Above { identity: (inside.st_dev, inside.st_ino), stat: *stat });
        self.directory = made;
        self.copied.entry_count += 1;
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        let Some(Above { identity, stat }) = self.above.pop() else { return Ok(()) };
        attributes(self.directory.as_fd(), &stat)?;
        let above = openat(&self.directory, "..", DIRECTORY, Mode::empty())?;
        let found = fstat(&above)?;
        if (found.st_dev, found.st_ino) != identity {
            return Err(io::Error::other("somebody moved the copy while it was made"));
        }
        self.directory = above;
        Ok(())
    }
}

fn make(at: At<'_>) -> rustix::io::Result<OwnedFd> {
    mkdirat(at.directory, at.name, Mode::RWXU)?;
    openat(at.directory, at.name, DIRECTORY, Mode::empty())
}
