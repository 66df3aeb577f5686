//! [`Workspace`]: `/workspace` as one request finds it, with paths that cannot leave it.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use pyro_protocol::work::WorkFailureCode;
use pyro_tree::beneath::{Parent, Root};
use pyro_tree::path::RelativePath;
use pyro_tree::transaction::{STAGING_NAME, Transaction};
use rustix::fs::{AtFlags, Mode, OFlags, Stat, statat};

use super::error::{Result, WorkError, quoted};
use crate::kernel::TerminationHeld;
use crate::workspace_mount::OverlayAttributes;

/// The directory at the top that belongs to changes which are not complete. Nobody sees or names it.
pub(crate) const RESERVED: &[u8] = STAGING_NAME.as_bytes();

/// How the workspace is mounted over its seed.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// Mounts the overlay of the writable disk (its root directory) on a directory.
    pub mount: fn(BorrowedFd<'_>, &Path) -> io::Result<()>,
    /// Where that overlay keeps its notes.
    pub attributes: OverlayAttributes,
}

/// What requests work on: `/workspace`, opened anew for each, since a seed may have been mounted over it meanwhile.
pub(crate) struct Workspace<'a> {
    /// Its directory.
    pub(crate) root: Root,
    /// Where it is mounted.
    pub(crate) path: &'a Path,
    /// The root directory of the writable disk.
    pub(crate) disk: BorrowedFd<'a>,
    /// How it is mounted over its seed.
    pub(crate) mount: Mount,
    /// Whether files without a name can be made here; false once it failed.
    pub(crate) has_nameless_files: &'a Cell<bool>,
    /// Set while a change is decided and its answer not sent.
    pub(crate) termination_held: &'a Cell<Option<TerminationHeld>>,
}

/// The directory that holds a path's last name, and that name.
pub(crate) struct Place<'a> {
    directory: Parent<'a>,
    /// One component, no link resolved.
    pub(crate) name: &'a OsStr,
}

impl Place<'_> {
    /// The directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// What has the name now, links not followed.
    pub(crate) fn stat(&self) -> rustix::io::Result<Stat> {
        statat(self.directory(), self.name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

impl Workspace<'_> {
    /// Commits a change to the workspace. A machine that is told to end lets it come to its end, and the host hears of it.
    pub(crate) fn commit(&self, transaction: Transaction<'_>) -> Result<()> {
        self.termination_held.set(Some(TerminationHeld::begin()));
        transaction.commit()?;
        Ok(())
    }

    /// Checks a path of a request: relative to the workspace or absolute below it.
    pub(crate) fn path(&self, bytes: &[u8]) -> Result<RelativePath> {
        let invalid = |cause: &dyn std::fmt::Display| {
            let mut error =
                WorkError::new(WorkFailureCode::Invalid, format!("take path {}: {cause}", quoted(bytes)));
            error.path = bytes.to_vec();
            error
        };
        let relative = if bytes.starts_with(b"/") {
            match bytes.strip_prefix(self.path.as_os_str().as_bytes()) {
                Some(rest @ ([] | [b'/', ..])) => {
                    &rest[rest.iter().take_while(|byte| **byte == b'/').count()..]
                }
                _ => return Err(invalid(&format_args!("it is not in `{}`", self.path.display()))),
            }
        } else {
            bytes
        };
        if relative.is_empty() {
            return Ok(RelativePath::root());
        }
        let path = RelativePath::new(relative).map_err(|error| invalid(&error))?;
        if path.components().next() == Some(RESERVED) {
            return Err(invalid(&"the name is reserved"));
        }
        Ok(path)
    }

    /// Opens what is at `path`. Links are followed while they stay inside.
    pub(crate) fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = OsStr::from_bytes(if path.is_empty() { b"." } else { path });
        self.root.resolve_name(path, flags, Mode::empty())
    }

    /// The place of a path's last name, in a directory that exists.
    pub(crate) fn place<'p>(&'p self, operation: &str, path: &'p RelativePath) -> Result<Place<'p>> {
        let Some((above, name)) = path.split() else {
            let message = format!("{operation} `{}`: that is the workspace itself", self.path.display());
            return Err(WorkError::new(WorkFailureCode::Invalid, message));
        };
        let directory = if above.is_empty() {
            Parent::Root(self.root.as_fd())
        } else {
            let opened = self.open(above, OFlags::PATH | OFlags::DIRECTORY);
            Parent::Opened(opened.map_err(WorkError::resolving(operation, path))?)
        };
        Ok(Place { directory, name: OsStr::from_bytes(name) })
    }

    /// The same, but directories above that are missing are made (0755).
    pub(crate) fn place_to_be<'p>(&'p self, operation: &str, path: &'p RelativePath) -> Result<Place<'p>> {
        match self.place(operation, path) {
            Err(error) if error.is_not_found() => {
                if let Some(above) = path.parent() {
                    self.make_directories(&above, 0o755)?;
                }
                self.place(operation, path)
            }
            place => place,
        }
    }

    /// Makes a directory and those above it where they are missing, whatever the mask of new files is.
    fn make_directories(&self, path: &RelativePath, mode: u32) -> Result<()> {
        let Err(error) = super::make_directory::make_one(self, path, mode) else { return Ok(()) };
        match error.code {
            // Also a link to a directory inside is one; what is none shows when it is opened.
            WorkFailureCode::Exists => Ok(()),
            WorkFailureCode::NotFound => {
                let Some(above) = path.parent() else { return Err(error) };
                self.make_directories(&above, 0o755)?;
                match super::make_directory::make_one(self, path, mode) {
                    Err(error) if error.code != WorkFailureCode::Exists => Err(error),
                    _ => Ok(()),
                }
            }
            _ => Err(error),
        }
    }
}
