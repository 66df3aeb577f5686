//! [`unpack`]: an archive becomes files below a [`Root`].
//!
//! Whatever the archive holds, nothing outside the root is created, changed or linked to: names are resolved by the kernel
//! beneath the root, and a member that passes through a symbolic link is refused even where the link stays inside. A later
//! member replaces an earlier one of the same name, as with tar, except that a directory and anything else do not replace each
//! other. Directories get their mode and time when their last member is done, so that neither a read-only mode
//! nor the members' creation is in the way; if the order of members jumps about, they get them again.
//!
//! Memory is bounded by the depth of the tree, and one descriptor is open for the directory at hand.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, futimens, linkat, mkdirat, openat,
        statat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};

use crate::{
    archive::{self, Kind, Member, Reader},
    attributes::{Attributes, FileKind, Metadata},
    beneath::{self, Root, only_mtime},
    notes::{Notes, Remark},
    path::RelativePath,
    room,
    transaction::STAGING_NAME,
};

/// To whom the unpacked files belong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// To the numbers in the archive; needs privilege.
    Keep,
    /// All to one.
    All {
        /// Owner by number.
        uid: u32,
        /// Group by number.
        gid: u32,
    },
    /// To whoever unpacks.
    Caller,
}

/// How members become files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// To whom they belong.
    pub owner: Owner,
    /// Whether set-user-id and set-group-id bits are kept; otherwise they are cleared.
    pub keep_set_id: bool,
    /// Whether a file that cannot fit is refused before it is written; see [`room::ask`].
    pub asks_for_room: bool,
}

/// What was unpacked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unpacked {
    /// Members, the root's own not counted.
    pub entries: u64,
    /// Contents of all files together.
    pub bytes: u64,
    /// What was left out.
    pub notes: Notes,
}

/// Why an archive was not unpacked to its end. What came before is there. Names of members are in printable form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive is bad.
    #[error("unpack")]
    Archive(#[source] archive::Error),
    /// The member lies below a symbolic link or a file.
    #[error("member `{member}` lies below `{parent}`, which is not a directory of its own")]
    ParentNotDirectory {
        /// Its name.
        member: String,
        /// The directory it needs.
        parent: String,
    },
    /// A directory where something else is, or the other way round.
    #[error("member `{member}` would replace a {found}")]
    WrongKind {
        /// Its name.
        member: String,
        /// What is there.
        found: &'static str,
    },
    /// A hard link to something that did not come before, or to a directory.
    #[error("member `{member}` is a hard link to `{target}`, which is not an earlier file")]
    NoSuchTarget {
        /// Its name.
        member: String,
        /// What it links to.
        target: String,
    },
    /// The target's directory could not be used.
    #[error("member `{member}`")]
    Beneath {
        /// Its name.
        member: String,
        /// Why.
        #[source]
        source: beneath::Error,
    },
    /// Anything else the system said.
    #[error("{operation} `{member}`")]
    Io {
        /// What was done.
        operation: &'static str,
        /// The member's name.
        member: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// Unpacks what is left in the archive below `root`. Members at the top that are called [`STAGING_NAME`] are left out.
/// The reader is read to the end mark; [`Reader::finish`] is the caller's.
pub fn unpack<R: Read>(reader: &mut Reader<R>, root: &Root, options: Options) -> Result<Unpacked> {
    let root =
        root.try_clone().map_err(|source| Error::Io { operation: "open", member: ".".to_owned(), source })?;
    let mut unpacker = Unpacker { root: root.without_links(), options, levels: Vec::new(), current: None };
    let mut unpacked = Unpacked::default();
    while let Some(member) = reader.next_member().map_err(Error::Archive)? {
        if member.path.components().next() == Some(STAGING_NAME.as_bytes()) {
            unpacked.notes.add(&member.path, Remark::Reserved);
            continue;
        }
        unpacker.place(&member, reader)?;
        if !member.path.is_root() {
            unpacked.entries += 1;
        }
        if let Kind::File { size_bytes } = member.kind {
            unpacked.bytes += size_bytes;
        }
    }
    unpacker.leave_all()?;
    unpacked.notes.append(reader.notes().clone());
    Ok(unpacked)
}

struct Unpacker {
    root: Root,
    options: Options,
    /// The directories from the root to the one at hand, the root first.
    levels: Vec<Level>,
    /// The last of them, open.
    current: Option<OwnedFd>,
}

/// A directory whose members are being made.
struct Level {
    path: RelativePath,
    /// What it gets when it is left.
    attributes: Attributes,
    /// Whether the archive said so; otherwise they are what it had, and the owner stays.
    is_given: bool,
}

/// Mode of directories that no member describes.
const IMPLIED_MODE: u32 = 0o755;

impl Unpacker {
    fn place<R: Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<()> {
        let at = Place { member, options: self.options };
        if member.kind == Kind::Directory {
            return self.enter(member, true);
        }
        let Some((parent, name)) = member.path.split() else {
            return Err(Error::WrongKind { member: ".".to_owned(), found: "directory" });
        };
        let name = OsStr::from_bytes(name);
        self.enter_parent(member, parent)?;
        let current = self.current.as_ref().ok_or_else(|| at.io("open")(Errno::BADF))?;
        match &member.kind {
            Kind::Directory => Ok(()),
            Kind::File { size_bytes } => at.file(current.as_fd(), name, *size_bytes, reader),
            Kind::Symlink { target } => at.symlink(current.as_fd(), name, target),
            Kind::HardLink { target } => {
                let target_place = self.root.parent("link", target);
                let missing =
                    || Error::NoSuchTarget { member: member.path.to_string(), target: target.to_string() };
                let (target_parent, target_name) = target_place.map_err(|_| missing())?;
                at.hard_link(target_parent.as_fd(), target_name, current.as_fd(), name, missing)
            }
        }
    }

    /// Makes the directory at hand the one at `parent`.
    fn enter_parent(&mut self, member: &Member, parent: &[u8]) -> Result<()> {
        if self.current.is_some() && self.levels.last().is_some_and(|level| level.path.as_bytes() == parent) {
            return Ok(());
        }
        let attributes = Attributes { mode: IMPLIED_MODE, ..member.attributes };
        let path = if parent.is_empty() {
            RelativePath::root()
        } else {
            RelativePath::new(parent).map_err(|source| {
                Error::Archive(archive::Error::BadPath { member: member.path.to_string(), source })
            })?
        };
        self.enter(&Member { path, kind: Kind::Directory, attributes }, false)
    }

    /// Leaves what is not above `directory`, and enters it and what is between, made where it is missing.
    fn enter(&mut self, directory: &Member, is_given: bool) -> Result<()> {
        while self.levels.last().is_some_and(|level| directory.path.below(&level.path).is_none()) {
            self.leave()?;
        }
        if self.levels.is_empty() {
            self.enter_one(&RelativePath::root(), None)?;
        }
        let implied = Attributes { mode: IMPLIED_MODE, ..directory.attributes };
        let entered = self.levels.last().map_or(0, |level| level.path.components().count());
        let mut path = self.levels.last().map(|level| level.path.clone()).unwrap_or_default();
        for name in directory.path.components().skip(entered) {
            path = path.child(name).map_err(|source| {
                Error::Archive(archive::Error::BadPath { member: directory.path.to_string(), source })
            })?;
            self.enter_one(&path, Some(implied))?;
        }
        if is_given && let Some(level) = self.levels.last_mut() {
            level.attributes = directory.attributes;
            level.is_given = true;
        }
        Ok(())
    }

    /// Enters a directory of the one at hand (or the root), made if it is missing and may be.
    fn enter_one(&mut self, path: &RelativePath, implied: Option<Attributes>) -> Result<()> {
        let io = |operation| {
            move |errno: Errno| Error::Io { operation, member: path.to_string(), source: errno.into() }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut made = None;
        let opened = match (&self.current, path.split()) {
            (Some(parent), Some((_, name))) => {
                let name = OsStr::from_bytes(name);
                if let Some(implied) = implied {
                    match mkdirat(parent, name, Mode::RWXU) {
                        Ok(()) => made = Some(implied),
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(io("make directory")(errno)),
                    }
                }
                openat(parent, name, flags, Mode::empty()).map_err(|errno| match errno {
                    Errno::NOTDIR | Errno::LOOP => Error::WrongKind {
                        member: path.to_string(),
                        found: statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                            .map_or("file", |stat| Metadata::of(&stat).kind.word()),
                    },
                    errno => io("open")(errno),
                })?
            }
            _ => openat(&self.root, ".", flags, Mode::empty()).map_err(io("open"))?,
        };
        let found = Metadata::of(&fstat(&opened).map_err(io("inspect"))?).attributes;
        if let Owner::All { uid, gid } = self.options.owner
            && made.is_some()
        {
            fchown(&opened, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(io("set owner of"))?;
        }
        let attributes = match made {
            Some(implied) => Attributes { mtime: found.mtime, uid: found.uid, gid: found.gid, ..implied },
            None => {
                if found.mode & 0o700 != 0o700 {
                    fchmod(&opened, Mode::from_raw_mode(found.mode | 0o700)).map_err(io("set mode of"))?;
                }
                found
            }
        };
        self.levels.push(Level { path: path.clone(), attributes, is_given: false });
        self.current = Some(opened);
        Ok(())
    }

    /// Gives the directory at hand its attributes and goes up one.
    fn leave(&mut self) -> Result<()> {
        let (Some(level), Some(directory)) = (self.levels.pop(), self.current.take()) else { return Ok(()) };
        let io = |operation| {
            let member = level.path.to_string();
            move |errno: Errno| Error::Io { operation, member: member.clone(), source: errno.into() }
        };
        if level.is_given {
            Place::own(directory.as_fd(), self.options, &level.attributes).map_err(io("set owner of"))?;
        }
        let mode = if level.is_given { self.options.mode(&level.attributes) } else { level.attributes.mode };
        fchmod(&directory, Mode::from_raw_mode(mode)).map_err(io("set mode of"))?;
        futimens(&directory, &only_mtime(level.attributes.mtime)).map_err(io("set time of"))?;
        if let Some(above) = self.levels.last() {
            let opened = self.root.descend(&above.path);
            let opened =
                opened.map_err(|source| Error::Beneath { member: above.path.to_string(), source })?;
            self.current = Some(opened.into_directory());
        }
        Ok(())
    }

    fn leave_all(&mut self) -> Result<()> {
        while !self.levels.is_empty() {
            self.leave()?;
        }
        Ok(())
    }
}

impl Options {
    fn mode(&self, attributes: &Attributes) -> u32 {
        if self.keep_set_id { attributes.mode } else { attributes.mode & !0o6000 }
    }
}

/// One member on its way into a directory.
struct Place<'a> {
    member: &'a Member,
    options: Options,
}

impl Place<'_> {
    fn io(&self, operation: &'static str) -> impl Fn(Errno) -> Error {
        let member = self.member.path.to_string();
        move |errno| Error::Io { operation, member: member.clone(), source: errno.into() }
    }

    /// Makes something new, and if the name is taken by anything but a directory, again in its place.
    fn make<T>(
        &self,
        operation: &'static str,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {}
            made => return made.map_err(self.io(operation)),
        }
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(self.io("inspect"))?;
        let found = Metadata::of(&stat).kind;
        if found == FileKind::Directory {
            return Err(Error::WrongKind { member: self.member.path.to_string(), found: found.word() });
        }
        unlinkat(directory, name, AtFlags::empty()).map_err(self.io("replace"))?;
        make().map_err(self.io(operation))
    }

    fn file<R: Read>(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        size_bytes: u64,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        if self.options.asks_for_room {
            room::ask(directory, size_bytes).map_err(self.io("write"))?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else reads it before it has its owner and mode.
        let private = Mode::RUSR | Mode::WUSR;
        let mut file =
            File::from(self.make("create", directory, name, || openat(directory, name, flags, private))?);
        loop {
            let chunk = reader.chunk().map_err(Error::Archive)?;
            if chunk.is_empty() {
                break;
            }
            file.write_all(chunk).map_err(|source| Error::Io {
                operation: "write",
                member: self.member.path.to_string(),
                source,
            })?;
        }
        let attributes = &self.member.attributes;
        Self::own(file.as_fd(), self.options, attributes).map_err(self.io("set owner of"))?;
        let mode = Mode::from_raw_mode(self.options.mode(attributes));
        fchmod(&file, mode).map_err(self.io("set mode of"))?;
        futimens(&file, &only_mtime(attributes.mtime)).map_err(self.io("set time of"))
    }

    fn symlink(&self, directory: BorrowedFd<'_>, name: &OsStr, target: &[u8]) -> Result<()> {
        self.make("make link", directory, name, || symlinkat(OsStr::from_bytes(target), directory, name))?;
        let attributes = &self.member.attributes;
        if let Some((uid, gid)) = self.options.owner_of(attributes) {
            chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(self.io("set owner of"))?;
        }
        utimensat(directory, name, &only_mtime(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.io("set time of"))
    }

    fn hard_link(
        &self,
        target_parent: BorrowedFd<'_>,
        target_name: &OsStr,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        missing: impl Fn() -> Error,
    ) -> Result<()> {
        let target = statat(target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| missing())?;
        let target = Metadata::of(&target);
        if target.kind == FileKind::Directory {
            return Err(missing());
        }
        // A link to itself must not remove what it links to.
        if let Ok(present) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            let present = Metadata::of(&present);
            if (present.device, present.inode) == (target.device, target.inode) {
                return Ok(());
            }
        }
        self.make("link", directory, name, || {
            linkat(target_parent, target_name, directory, name, AtFlags::empty())
        })
    }

    fn own(file: BorrowedFd<'_>, options: Options, attributes: &Attributes) -> rustix::io::Result<()> {
        match options.owner_of(attributes) {
            Some((uid, gid)) => fchown(file, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

impl Options {
    /// To whom a file with these attributes is given, if not to the caller.
    fn owner_of(&self, attributes: &Attributes) -> Option<(Uid, Gid)> {
        let (uid, gid) = match self.owner {
            Owner::Keep => (attributes.uid, attributes.gid),
            Owner::All { uid, gid } => (uid, gid),
            Owner::Caller => return None,
        };
        Some((Uid::from_raw(uid), Gid::from_raw(gid)))
    }
}
