//! [`Replacement`]: a file that takes a name in one step, or never appears.
//!
//! While it is written it has no name at all where the file system can do that, so that a machine that dies leaves
//! nothing behind; else a name that nobody guesses. It gets mode and owner of the file whose place it takes.
//!
//! Nothing is waited for, which would cost more than all the rest. Of a machine that loses its power the disk has the old
//! file or the new one, never a mix and never an empty one; one whose name was new may be empty or not there.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;

use pyro_protocol::work::{Entry, WorkFailureCode};
use pyro_tree::path::RelativePath;
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, fchmod, fchown, fstat, linkat, openat,
    renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::entry::{entry, type_of, word_for};
use super::error::{Result, WorkError};
use super::workspace::{Place, Workspace};

/// Mode of a file that is new.
pub(crate) const NEW_FILE_MODE: u32 = 0o644;

/// A file on its way to a name; see the [module](self).
pub(crate) struct Replacement<'a> {
    workspace: &'a Workspace<'a>,
    place: Place<'a>,
    path: &'a RelativePath,
    /// What has the name when it begins.
    existing: Option<Stat>,
    /// What is to get it. Open for reading and writing.
    pub(crate) file: File,
    /// The name it has until then, if it needs one.
    provisional: Option<OsString>,
}

/// What to do with what has the name already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// It goes.
    Anything,
    /// It goes if it is still what it was when the replacement began, since the new content was made from the old.
    Unchanged,
    /// It stays and nothing is done.
    Nothing,
}

/// The name of something that nobody shall take for a file of theirs.
pub(crate) fn provisional_name() -> OsString {
    format!(".pyro-{:016x}", RandomState::new().build_hasher().finish()).into()
}

impl<'a> Replacement<'a> {
    /// Begins to replace what is at `place`, which must be a regular file or nothing.
    pub(crate) fn begin(
        workspace: &'a Workspace<'a>,
        place: Place<'a>,
        path: &'a RelativePath,
        mode: Option<u32>,
    ) -> Result<Self> {
        let existing = match place.stat() {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(WorkError::at("write", path)(error)),
        };
        if let Some(existing) = &existing
            && type_of(existing) != FileType::RegularFile
        {
            let cause = format_args!("it is {}", word_for(type_of(existing)));
            return Err(WorkError::about(WorkFailureCode::WrongType, "write", path, cause));
        }
        let mode = mode.unwrap_or_else(|| existing.map_or(NEW_FILE_MODE, |stat| stat.st_mode & 0o7777));
        let (file, provisional) = create(workspace, &place, mode).map_err(WorkError::at("write", path))?;
        Ok(Self { workspace, place, path, existing, file, provisional })
    }

    /// The file that has the name, as it was when this began.
    pub(crate) fn existing(&self) -> Option<&Stat> {
        self.existing.as_ref()
    }

    /// Gives it the name. `mode` absent: that of the file that had it, or [`NEW_FILE_MODE`].
    pub(crate) fn commit(mut self, mode: Option<u32>, over: Over) -> Result<Entry> {
        let path = self.path;
        let failed = |error: Errno| WorkError::at("write", path)(error);
        let mut stat = fstat(&self.file).map_err(failed)?;
        if let Some(existing) = &self.existing
            && (existing.st_uid, existing.st_gid) != (stat.st_uid, stat.st_gid)
        {
            let owner = (Uid::from_raw(existing.st_uid), Gid::from_raw(existing.st_gid));
            fchown(&self.file, Some(owner.0), Some(owner.1)).map_err(failed)?;
            (stat.st_uid, stat.st_gid) = (existing.st_uid, existing.st_gid);
            // Set-id bits go with the owner: the mode is set again.
            stat.st_mode &= !0o7000;
        }
        let mode =
            mode.unwrap_or_else(|| self.existing.map_or(NEW_FILE_MODE, |existing| existing.st_mode & 0o7777));
        if stat.st_mode & 0o7777 != mode {
            fchmod(&self.file, Mode::from_raw_mode(mode)).map_err(failed)?;
            stat.st_mode = stat.st_mode & !0o7777 | mode;
        }
        if over == Over::Unchanged {
            self.must_be_unchanged()?;
        }
        let take = match (over, self.existing) {
            (Over::Nothing, _) => Take::Free,
            (_, None) => Take::FreeFirst,
            (_, Some(_)) => Take::Any,
        };
        self.take_name(take).map_err(failed)?;
        Ok(entry(path.as_bytes(), &stat))
    }

    fn must_be_unchanged(&self) -> Result<()> {
        let now = match self.place.stat() {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(WorkError::at("write", self.path)(error)),
        };
        let identity = |stat: &Stat| {
            let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
            (stat.st_dev, stat.st_ino, stat.st_size, times)
        };
        if now.as_ref().map(identity) == self.existing.as_ref().map(identity) {
            return Ok(());
        }
        let cause = "it was changed by somebody else meanwhile; nothing was done";
        Err(WorkError::about(WorkFailureCode::Changed, "write", self.path, cause))
    }

    fn take_name(&mut self, take: Take) -> rustix::io::Result<()> {
        if self.provisional.is_none() && take != Take::Any {
            match self.link(self.place.name) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) if take == Take::Free => return Err(Errno::EXIST),
                // Somebody was faster: theirs is replaced. Anything else shows again below.
                Err(_) => {}
            }
        }
        let provisional = self.named()?;
        if take != Take::Free {
            self.send_to_disk();
        }
        let (directory, name) = (self.place.directory(), self.place.name);
        match take {
            Take::Free => renameat_with(directory, &provisional, directory, name, RenameFlags::NOREPLACE),
            Take::FreeFirst | Take::Any => renameat(directory, &provisional, directory, name),
        }?;
        self.provisional = None;
        Ok(())
    }

    /// Begins to write the content out, so that its place on the disk is decided before it replaces anything: ext4 writes
    /// content before the names that need it. By itself it does so for a rename over a file, but over one of the seed the
    /// overlay makes that a rename to a new name.
    fn send_to_disk(&self) {
        // "Not needed in memory" is what starts the writing, without waiting for it. A file system that has no use for the
        // hint writes as it does.
        let _as_it_does = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Its name for the time being, which it gets if it has none.
    fn named(&mut self) -> rustix::io::Result<OsString> {
        if let Some(name) = &self.provisional {
            return Ok(name.clone());
        }
        let name = provisional_name();
        match self.link(&name) {
            Ok(()) => {}
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) => return Err(error),
            // Files without names do not get any here.
            Err(_) => {
                self.workspace.has_nameless_files.set(false);
                let copy = create_named(&self.place, &name, 0o600)?;
                self.provisional = Some(name.clone());
                copy_whole(&mut self.file, copy)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            }
        }
        self.provisional = Some(name.clone());
        Ok(name)
    }

    fn link(&self, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<()> {
        let directory = self.place.directory();
        match linkat(&self.file, "", directory, name, AtFlags::EMPTY_PATH) {
            // Not permitted to whom is not root.
            Err(Errno::NOENT) => {
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, file, directory, name, AtFlags::SYMLINK_FOLLOW)
            }
            result => result,
        }
    }
}

/// Which names a file may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// Only one that nothing has.
    Free,
    /// One that nothing has is likely; otherwise any.
    FreeFirst,
    /// Any.
    Any,
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.provisional.take() {
            // It is ours alone; if it cannot be removed there is nobody to tell.
            let _left = unlinkat(self.place.directory(), &name, AtFlags::empty());
        }
    }
}

fn create(
    workspace: &Workspace<'_>,
    place: &Place<'_>,
    mode: u32,
) -> rustix::io::Result<(File, Option<OsString>)> {
    if workspace.has_nameless_files.get() {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(place.directory(), ".", flags, Mode::from_raw_mode(mode)) {
            Ok(file) => return Ok((file.into(), None)),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::ISDIR | Errno::NOSYS) => {
                workspace.has_nameless_files.set(false);
            }
            Err(error) => return Err(error),
        }
    }
    let name = provisional_name();
    let file = create_named(place, &name, mode)?;
    Ok((file, Some(name)))
}

fn create_named(place: &Place<'_>, name: &OsString, mode: u32) -> rustix::io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(place.directory(), name, flags, Mode::from_raw_mode(mode)).map(File::from)
}

/// Copies all of a file with its mode and owner, and goes on with the copy.
fn copy_whole(from: &mut File, mut to: File) -> io::Result<()> {
    let stat = fstat(&*from)?;
    from.seek(SeekFrom::Start(0))?;
    io::copy(from, &mut to)?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchown(&to, Some(owner.0), Some(owner.1))?;
    fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    *from = to;
    Ok(())
}
