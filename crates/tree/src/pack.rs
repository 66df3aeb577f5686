//! [`Packer`]: files below a root become members of an archive.
//!
//! What cannot be read is left out and noted, as are sockets, named pipes and devices. The size of a file is written
//! before its contents, so one that shrinks is filled up with zeros and one that grows is cut; both, and one whose time of
//! change moved while it was read, are noted. A file of several names is packed once, its other names are hard links.
//! Memory grows only with the number of files that have several names. Sparse files are read with their holes as zeros.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd as _, BorrowedFd},
};

use rustix::fs::{Mode, OFlags, fstat, openat, readlinkat};

use crate::{
    archive::{Fit, Kind, Member, Writer},
    attributes::{FileKind, Metadata},
    beneath::Root,
    notes::{Notes, Remark},
    path::RelativePath,
    walk::{Met, Selection, cause, walk},
};

/// What was packed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packed {
    /// Members.
    pub entries: u64,
    /// Contents of all files together.
    pub bytes: u64,
    /// What was left out or is doubtful.
    pub notes: Notes,
}

/// Packs files below one root into one archive.
#[derive(Debug)]
pub struct Packer<'a, W> {
    root: Root,
    writer: &'a mut Writer<W>,
    /// Where a file of several names was packed, by device and inode.
    first_names: HashMap<(u64, u64), RelativePath>,
    packed: Packed,
}

impl<'a, W: Write> Packer<'a, W> {
    /// Packs from `root` into `writer`. Links on the way to a file are refused.
    pub fn new(root: &Root, writer: &'a mut Writer<W>) -> io::Result<Self> {
        let root = root.try_clone()?.without_links();
        Ok(Self { root, writer, first_names: HashMap::new(), packed: Packed::default() })
    }

    /// Packs what is at `path` and everything below that `selection` takes. The root itself becomes the member `./`.
    /// Nothing at `path` is noted; an error is the output's.
    pub fn append_tree(&mut self, path: &RelativePath, selection: &mut dyn Selection) -> io::Result<()> {
        if self.append(path)? != Some(FileKind::Directory) {
            return Ok(());
        }
        let root = self.root.try_clone()?;
        let mut notes = Notes::default();
        let done = walk(&root, path, selection, &mut notes, &mut |met, _| self.append_met(met));
        self.packed.notes.append(notes);
        done
    }

    /// Packs only what is at `path`, for a directory not what is in it. Says what it is; `None` if there is nothing or it
    /// could not be read, which is noted. An error is the output's.
    pub fn append(&mut self, path: &RelativePath) -> io::Result<Option<FileKind>> {
        let root = self.root.try_clone()?;
        let found = root.metadata(path).and_then(|metadata| {
            let place = if path.is_root() { None } else { Some(root.parent("pack", path)?) };
            Ok((metadata, place))
        });
        let (metadata, place) = match found {
            Ok(found) => found,
            Err(error) => {
                self.packed.notes.add(path, Remark::Unreadable(cause(&error)));
                return Ok(None);
            }
        };
        let (directory, name) = match &place {
            Some((parent, name)) => (parent.as_fd(), *name),
            None => (root.as_fd(), OsStr::new(".")),
        };
        self.append_met(Met { path, metadata: &metadata, directory, name })?;
        Ok(Some(metadata.kind))
    }

    /// What is at `path`, if anything is.
    pub fn kind(&self, path: &RelativePath) -> Option<FileKind> {
        self.root.find(path).ok().flatten().map(|metadata| metadata.kind)
    }

    /// Shows a directory to a selection, as a walk would.
    #[cfg(feature = "host")]
    pub(crate) fn show(&mut self, path: &RelativePath, selection: &mut dyn Selection) {
        let directory = self.root.descend(path);
        // What is no directory any more is shown as its root, which has no say below it.
        let shown = directory.as_ref().unwrap_or(&self.root);
        selection.enter(path, shown, &mut self.packed.notes);
    }

    /// Whether there is something at `path`.
    pub fn has(&self, path: &RelativePath) -> bool {
        self.kind(path).is_some()
    }

    /// What was packed so far, and the end of it. The archive's end mark is the writer's.
    pub fn finish(self) -> Packed {
        self.packed
    }

    /// Adds a remark to those of the packing.
    pub fn note(&mut self, path: &RelativePath, remark: Remark) {
        self.packed.notes.add(path, remark);
    }

    fn append_met(&mut self, met: Met<'_>) -> io::Result<()> {
        let metadata = met.metadata;
        let member = |kind| Member { path: met.path.clone(), kind, attributes: metadata.attributes };
        let has_names = metadata.kind != FileKind::Directory && metadata.links > 1;
        let identity = (metadata.device, metadata.inode);
        if has_names && let Some(target) = self.first_names.get(&identity) {
            let kind = Kind::HardLink { target: target.clone() };
            self.writer.append(&member(kind))?;
            self.packed.entries += 1;
            return Ok(());
        }
        let is_packed = match metadata.kind {
            FileKind::Directory => {
                self.writer.append(&member(Kind::Directory))?;
                true
            }
            FileKind::Symlink => match readlinkat(met.directory, met.name, Vec::new()) {
                Ok(target) => {
                    self.writer.append(&member(Kind::Symlink { target: target.into_bytes() }))?;
                    true
                }
                Err(errno) => self.unreadable(met.path, &errno.into()),
            },
            FileKind::File => match open_regular(met.directory, met.name) {
                Ok((file, metadata)) => {
                    self.append_contents(met.path, file, &metadata)?;
                    true
                }
                Err(error) => self.unreadable(met.path, &error),
            },
            special => {
                self.packed.notes.add(met.path, Remark::Skipped(special.word()));
                false
            }
        };
        if is_packed {
            self.packed.entries += 1;
            if has_names {
                self.first_names.insert(identity, met.path.clone());
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &RelativePath, error: &io::Error) -> bool {
        self.packed.notes.add(path, Remark::Unreadable(error.to_string()));
        false
    }

    fn append_contents(&mut self, path: &RelativePath, mut file: File, before: &Metadata) -> io::Result<()> {
        let kind = Kind::File { size_bytes: before.size_bytes };
        let member = Member { path: path.clone(), kind, attributes: before.attributes };
        let mut failure = None;
        let fit = self.writer.append_file(&member, &mut file, &mut |error| failure = Some(error))?;
        self.packed.bytes += before.size_bytes;
        let is_same = fstat(&file).is_ok_and(|stat| {
            let after = Metadata::of(&stat);
            (after.size_bytes, after.attributes.mtime) == (before.size_bytes, before.attributes.mtime)
        });
        if let Some(failure) = failure {
            self.packed.notes.add(path, Remark::CutShort(failure.to_string()));
        } else if fit != Fit::Exact || !is_same {
            self.packed.notes.add(path, Remark::ChangedWhileRead);
        }
        Ok(())
    }
}

/// Opens a file that was regular when it was met, and looks again at what was opened.
fn open_regular(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<(File, Metadata)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty())?);
    let metadata = Metadata::of(&fstat(&file)?);
    if metadata.kind == FileKind::File {
        Ok((file, metadata))
    } else {
        Err(io::Error::other(format!("it became a {}", metadata.kind.word())))
    }
}
