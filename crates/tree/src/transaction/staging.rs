//! The staging directory: who owns it, and what in it is called how.

use std::{
    fs::File,
    io,
    io::{Read as _, Write as _},
};

use rustix::{
    fs::{FlockOperation, flock, fstat, syncfs},
    io::Errno,
};

use super::{
    Durability, Error, Hook, Result, STAGING_NAME, Trust, io_error, journal, reach, scratch, step::Step,
};
use crate::{attributes::Metadata, beneath::Root, path::RelativePath};

/// The names in the staging directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Lock,
    New,
    Old,
    Draft,
    Journal,
    Undo,
    Again,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::New => "new",
            Self::Old => "old",
            Self::Draft => "journal-draft",
            Self::Journal => "journal",
            Self::Undo => "undo",
            Self::Again => "again",
        }
    }

    pub(super) fn path(self) -> RelativePath {
        path(&format!("{STAGING_NAME}/{}", self.text()))
    }

    pub(super) fn numbered(self, number: u32) -> RelativePath {
        path(&format!("{STAGING_NAME}/{}/{number}", self.text()))
    }
}

/// A path of our own making.
fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap_or_default()
}

pub(super) fn staging_path() -> RelativePath {
    path(STAGING_NAME)
}

/// The steps of a journal that is believed.
pub(super) fn read_journal(root: &Root, name: Name, trust: Trust<'_>) -> Result<Vec<Step>> {
    let path = name.path();
    let mut bytes = Vec::new();
    root.read(&path)?.read_to_end(&mut bytes).map_err(io_error("read", &path))?;
    journal::decode(&bytes, trust)
}

/// A tree whose staging directory is ours as long as this lives.
#[derive(Debug)]
pub(super) struct Staging<'s> {
    /// The tree, links refused.
    pub(super) root: Root,
    /// Which journals are believed.
    pub(super) trust: Trust<'s>,
    lock: File,
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // Closing alone would leave the lock with a child that is being started just now and has not closed its copy.
        let _unlocked = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl<'s> Staging<'s> {
    /// Takes the staging directory of a tree, made if it is missing.
    pub(super) fn take(root: &Root, trust: Trust<'s>) -> Result<Self> {
        loop {
            match root.make_directory(&staging_path(), 0o700) {
                Err(error) if !error.is_exists() => return Err(error.into()),
                _ => {}
            }
            if let Some(staging) = Self::take_existing(root, trust)? {
                return Ok(staging);
            }
        }
    }

    /// Takes the staging directory of a tree if there is one.
    pub(super) fn take_existing(root: &Root, trust: Trust<'s>) -> Result<Option<Self>> {
        let root = root.try_clone().map_err(io_error("open", &RelativePath::root()))?.without_links();
        let Some(found) = root.find(&staging_path())? else { return Ok(None) };
        trust.admit(&found)?;
        let lock_path = Name::Lock.path();
        loop {
            let lock = match root.create(&lock_path, 0o600) {
                Err(error) if error.is_exists() => root.write(&lock_path),
                created => created,
            };
            let lock = match lock {
                Ok(lock) => lock,
                // Its owner was just removing it, or all.
                Err(error) if error.is_not_found() => match root.find(&staging_path())? {
                    Some(_) => continue,
                    None => return Ok(None),
                },
                Err(error) => return Err(error.into()),
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(Error::Busy),
                Err(errno) => return Err(io_error("lock", &lock_path)(errno.into())),
            }
            // It counts only while it has its name: the owner before may have removed it after we opened it.
            let ours = Metadata::of(
                &fstat(&lock).map_err(io::Error::from).map_err(io_error("inspect", &lock_path))?,
            );
            if root
                .find(&lock_path)?
                .is_some_and(|named| named.inode == ours.inode && named.device == ours.device)
            {
                return Ok(Some(Self { root, trust, lock }));
            }
        }
    }

    /// Makes the places for new and old files.
    pub(super) fn prepare(&self) -> Result<()> {
        self.root.make_directories(&Name::New.path(), 0o700)?;
        Ok(self.root.make_directories(&Name::Old.path(), 0o700)?)
    }

    pub(super) fn has(&self, path: &RelativePath) -> Result<bool> {
        Ok(self.root.find(path)?.is_some())
    }

    /// Makes the journal appear, whole.
    pub(super) fn write_journal(&self, steps: &[Step], durability: Durability, hook: Hook<'_>) -> Result<()> {
        let draft = Name::Draft.path();
        reach(hook, "transaction-journal-write", &draft)?;
        let mut file = self.root.create(&draft, 0o600)?;
        file.write_all(&journal::encode(steps, self.trust)).map_err(io_error("write", &draft))?;
        if durability == Durability::Machine {
            file.sync_all().map_err(io_error("flush", &draft))?;
        }
        reach(hook, "transaction-journal-commit", &draft)?;
        self.root.rename(&draft, &Name::Journal.path())?;
        self.flush_names(durability)
    }

    /// The steps of a journal that is believed.
    pub(super) fn read_journal(&self, name: Name) -> Result<Vec<Step>> {
        read_journal(&self.root, name, self.trust)
    }

    /// From here on the steps are taken back.
    pub(super) fn turn_back(&self, durability: Durability, hook: Hook<'_>) -> Result<()> {
        reach(hook, "transaction-undo-begin", &Name::Undo.path())?;
        self.root.rename(&Name::Journal.path(), &Name::Undo.path())?;
        self.flush_names(durability)
    }

    /// Ends the transaction: without its journal all that is left is to be cleaned away.
    pub(super) fn conclude(&self, journal: Name, durability: Durability, hook: Hook<'_>) -> Result<()> {
        self.flush_all(durability)?;
        reach(hook, "transaction-journal-remove", &journal.path())?;
        Ok(self.root.unlink(&journal.path())?)
    }

    /// Removes everything; the lock last, so nobody else works here meanwhile.
    pub(super) fn clean(&self, hook: Hook<'_>) -> Result<()> {
        scratch::remove_abandoned(&self.root)?;
        // The journal first: without what it names it must not be carried out.
        for name in [Name::Journal, Name::Draft, Name::Again, Name::New, Name::Old, Name::Lock] {
            reach(hook, "transaction-clean", &name.path())?;
            self.root.remove_tree(&name.path())?;
        }
        reach(hook, "transaction-clean", &staging_path())?;
        match self.root.remove_directory(&staging_path()) {
            // Somebody has taken it since the lock is gone; then it is theirs.
            Err(error)
                if error.io_kind() == Some(io::ErrorKind::DirectoryNotEmpty) || error.is_not_found() =>
            {
                Ok(())
            }
            removed => Ok(removed?),
        }
    }

    /// Writes everything of the file system to the disk: one call instead of one for each of thousands of files.
    pub(super) fn flush_all(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Process => Ok(()),
            Durability::Machine => {
                syncfs(&self.root).map_err(io::Error::from).map_err(io_error("flush", &RelativePath::root()))
            }
        }
    }

    pub(super) fn flush_names(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Process => Ok(()),
            Durability::Machine => Ok(self.root.sync_directory(&staging_path())?),
        }
    }
}
