//! [`Pulls`]: in which directories of the host a pull is under way, written down before anything is changed there.
//!
//! ```text
//! <state>/pulls/<token>     directory⁰                     a pull is under way there, or was cut off
//!                           directory⁰ settled⁰ note⁰…     it was cut off and settled; this is to be told
//! ```
//!
//! The token is random and goes into the seal of the pull's journal ([`SealKey`]). So a journal is believed only where its
//! record says, and only until it is settled: not in another directory, be it moved, copied or cloned there, and not a second
//! time. A directory is known by its path without links, since numbers of devices and files may change when the host starts
//! anew, after which the journal is needed most. Moved elsewhere, it is refused until it is moved back; its record is
//! kept for that.
//!
//! The next daemon settles what was cut off ([`Pulls::settle`]), the next pull or push what could not be settled then.

use std::{
    cell::Cell,
    ffi::OsString,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use pyro_tree::{
    Root,
    transaction::{self, Durability, Seal, Spared, Tag, Trust},
};
use tracing::{info, warn};

use super::error::{FileError, reach};
use crate::{
    entropy,
    error::chain,
    fault::{self, FaultPoint},
    layout::Layout,
    seal_key::SealKey,
};

/// Random bytes in a token.
const TOKEN_BYTES: usize = 16;
/// What the tag is of, so that no other use of the key gives the same.
const PURPOSE: &[u8] = b"journal of a pull";
const SETTLED: &[u8] = b"settled";
/// Notes on one pull that are kept.
const MOST_NOTES: usize = 100;

/// All pulls of a store that were not told to their end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pulls {
    directory: PathBuf,
    key: PathBuf,
}

/// A pull that is written down. Dropped, it is forgotten, unless its journal is left.
#[derive(Debug)]
pub(super) struct PullUnderWay {
    record: Record,
    seal: DirectorySeal,
}

/// What is to be told of earlier pulls into a directory.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    notes: Vec<String>,
    settled: Vec<Record>,
}

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    path: PathBuf,
    token: String,
    /// Without links.
    directory: PathBuf,
    /// What is to be told; none: it is not settled.
    notes: Option<Vec<String>>,
}

/// Seals the journals of one directory.
#[derive(Debug)]
struct DirectorySeal {
    key: SealKey,
    directory: PathBuf,
    /// Of the pulls that are under way there or were cut off; the last one is one's own.
    tokens: Vec<String>,
    /// Whose journal was found.
    found: Cell<Option<usize>>,
}

impl Pulls {
    pub(crate) fn of(layout: &Layout) -> Self {
        Self { directory: layout.pulls(), key: layout.seal_key() }
    }

    /// Writes down that something is going to be changed in the directory `place`. Blocks.
    pub(super) fn begin(&self, place: &Path) -> Result<PullUnderWay, FileError> {
        let directory = canonical(place)?;
        let mut seal = self.seal(&directory)?;
        let record =
            Record::write(&self.directory, directory).map_err(self.failed("write down a pull in"))?;
        seal.tokens.push(record.token.clone());
        let under_way = PullUnderWay { record, seal };
        reach(FaultPoint::PullRecorded, place)?;
        Ok(under_way)
    }

    /// Brings a directory out of a pull that was cut off. Blocks.
    pub(super) fn recover(&self, root: &Root, place: &Path) -> Result<Earlier, FileError> {
        let directory = canonical(place)?;
        if is_staged(&directory) {
            let seal = self.seal(&directory)?;
            let recovered =
                transaction::recover(root, Trust::Sealed(&seal), Durability::Machine, &fault::reach_name);
            let spared = recovered.map_err(FileError::change(place))?.spared;
            let record = seal.found().and_then(|token| Record::read(&self.directory.join(token)).transpose());
            if let Some(record) = record {
                let record = record.map_err(self.failed("read"))?;
                record.settle(&spared).map_err(self.failed("write down a pull in"))?;
            }
        }
        self.earlier(&directory)
    }

    /// What a pull or push would meet there. Changes nothing. Blocks.
    pub(super) fn look(&self, root: &Root, place: &Path) -> Result<Earlier, FileError> {
        let directory = canonical(place)?;
        let mut earlier = self.earlier(&directory)?;
        if is_staged(&directory) {
            let seal = self.seal(&directory)?;
            if transaction::is_cut_off(root, Trust::Sealed(&seal)).map_err(FileError::change(place))? {
                earlier.notes.push(format!(
                    "an earlier pull into `{}` was cut off: the next pull or push that is no dry run settles it first, and \
                     until then files from before and after it lie beside each other",
                    place.display()
                ));
            }
        }
        Ok(earlier)
    }

    /// Settles what the dead have left. Only for whoever knows that none of them lives. What cannot be settled now is tried
    /// again by the next one, also where the directory is not there: it may be on a disk that is not. Blocks.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.remove_drafts()?;
        for record in self.records()? {
            if record.notes.is_some() {
                continue;
            }
            let place = &record.directory;
            match self.settle_one(&record) {
                Ok(()) => {}
                Err(error) if error.is_gone() => {
                    info!(path = %place.display(), "a pull was cut off in a directory that is gone");
                }
                Err(error) => {
                    warn!(path = %place.display(), error = %chain(&error), "a pull that was cut off cannot be settled");
                }
            }
        }
        Ok(())
    }

    fn settle_one(&self, record: &Record) -> Result<(), FileError> {
        let place = &record.directory;
        let root = Root::open(place).map_err(|source| FileError::Host {
            operation: "open",
            path: place.clone(),
            source,
        })?;
        self.recover(&root, place)?;
        // There was nothing, or it was that of another pull; else it says now what is to be told.
        match Record::read(&record.path).map_err(self.failed("read"))? {
            Some(now) if now.notes.is_none() => now.forget().map_err(self.failed("remove from")),
            _ => Ok(()),
        }
    }

    fn earlier(&self, directory: &Path) -> Result<Earlier, FileError> {
        let mut earlier = Earlier::default();
        for record in self.records().map_err(self.failed("read"))? {
            if record.directory == directory
                && let Some(notes) = &record.notes
            {
                earlier.notes.extend(notes.iter().cloned());
                earlier.settled.push(record);
            }
        }
        Ok(earlier)
    }

    fn seal(&self, directory: &Path) -> Result<DirectorySeal, FileError> {
        let records = self.records().map_err(self.failed("read"))?.into_iter();
        let under_way = records.filter(|record| record.directory == directory && record.notes.is_none());
        Ok(DirectorySeal {
            key: SealKey::of(&self.key)?,
            directory: directory.to_owned(),
            tokens: under_way.map(|record| record.token).collect(),
            found: Cell::new(None),
        })
    }

    /// What was cut off while it was written is of a pull that had done nothing.
    fn remove_drafts(&self) -> io::Result<()> {
        for path in self.paths()? {
            if path.extension().is_some() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn records(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for path in self.paths()? {
            records.extend(Record::read(&path)?);
        }
        Ok(records)
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| Ok(entry?.path())).collect(),
        }
    }

    fn failed(&self, operation: &'static str) -> impl Fn(io::Error) -> FileError {
        let path = self.directory.clone();
        move |source| FileError::Host { operation, path: path.clone(), source }
    }
}

impl PullUnderWay {
    /// What its journal is sealed with.
    pub(super) fn trust(&self) -> Trust<'_> {
        Trust::Sealed(&self.seal)
    }

    fn may_have_left_journal(&self, root: &Root) -> bool {
        use transaction::Error;
        match transaction::is_cut_off(root, self.trust()) {
            Ok(is_left) => is_left,
            // That of somebody else.
            Err(Error::Busy | Error::Foreign | Error::Unsealed) => false,
            Err(_) => true,
        }
    }
}

impl Drop for PullUnderWay {
    fn drop(&mut self) {
        let own = self.seal.tokens.split_off(self.seal.tokens.len() - 1);
        self.seal.tokens = own;
        if Root::open(&self.record.directory).is_ok_and(|root| self.may_have_left_journal(&root)) {
            return;
        }
        if let Err(error) = self.record.forget() {
            warn!(path = %self.record.path.display(), %error, "cannot remove the record of a pull");
        }
    }
}

impl Earlier {
    /// What is to be told.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// It was told, so it is forgotten. Blocks, for a moment.
    pub(super) fn told(self) {
        for record in self.settled {
            if let Err(error) = record.forget() {
                warn!(path = %record.path.display(), %error, "cannot remove the record of a pull");
            }
        }
    }
}

impl Record {
    fn write(records: &Path, directory: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(records)?;
        let token = entropy::token::<TOKEN_BYTES>()?;
        let record = Self { path: records.join(&token), token, directory, notes: None };
        record.put()?;
        Ok(record)
    }

    /// Also on the disk, before anything is done because of it.
    fn put(&self) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(&self.bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        self.path.parent().map_or(Ok(()), |records| File::open(records)?.sync_all())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.directory.as_os_str().as_bytes(), b"\0"].concat();
        if let Some(notes) = &self.notes {
            for field in [SETTLED].into_iter().chain(notes.iter().map(String::as_bytes)) {
                bytes.extend_from_slice(field);
                bytes.push(0);
            }
        }
        bytes
    }

    /// None if there is none, or if it is a draft.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let token = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains('.'));
        let fields = bytes.strip_suffix(b"\0").map(|bytes| bytes.split(|byte| *byte == 0));
        let (Some(token), Some(mut fields)) = (token, fields) else { return Ok(None) };
        let directory = PathBuf::from(OsString::from_vec(fields.next().unwrap_or_default().to_vec()));
        let is_settled = fields.next() == Some(SETTLED);
        let notes = fields.map(|note| String::from_utf8_lossy(note).into_owned()).collect();
        Ok(Some(Self {
            path: path.to_owned(),
            token: token.to_owned(),
            directory,
            notes: is_settled.then_some(notes),
        }))
    }

    /// Its journal is no more. What somebody had changed meanwhile is still to be told.
    fn settle(self, spared: &[Spared]) -> io::Result<()> {
        info!(path = %self.directory.display(), spared = spared.len(), "settled a pull that was cut off");
        if spared.is_empty() {
            return self.forget();
        }
        let told =
            |spared: &Spared| format!("an earlier pull was cut off, and when it was settled: {spared}");
        let mut notes: Vec<_> = spared.iter().take(MOST_NOTES).map(told).collect();
        if spared.len() > MOST_NOTES {
            notes.push(format!("and so for {} more paths", spared.len() - MOST_NOTES));
        }
        Self { notes: Some(notes), ..self }.put()
    }

    fn forget(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl DirectorySeal {
    /// The token of the journal that was found and held.
    fn found(&self) -> Option<&str> {
        self.found.get().and_then(|index| self.tokens.get(index)).map(String::as_str)
    }

    fn parts<'a>(&'a self, token: &'a str, journal: &'a [u8]) -> [&'a [u8]; 4] {
        [PURPOSE, token.as_bytes(), self.directory.as_os_str().as_bytes(), journal]
    }
}

impl Seal for DirectorySeal {
    fn tag(&self, journal: &[u8]) -> Tag {
        let own = self.tokens.last().map_or("", String::as_str);
        self.key.tag(&self.parts(own, journal))
    }

    fn holds(&self, journal: &[u8], tag: &Tag) -> bool {
        let found = self.tokens.iter().position(|token| self.key.holds(&self.parts(token, journal), tag));
        self.found.set(found);
        found.is_some()
    }
}

fn canonical(place: &Path) -> Result<PathBuf, FileError> {
    fs::canonicalize(place).map_err(|source| FileError::Host {
        operation: "open",
        path: place.to_owned(),
        source,
    })
}

/// Whether a transaction left something there.
fn is_staged(directory: &Path) -> bool {
    fs::symlink_metadata(directory.join(transaction::STAGING_NAME)).is_ok()
}

#[cfg(test)]
mod tests;
