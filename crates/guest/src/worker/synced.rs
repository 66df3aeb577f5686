//! `Synced`, and [`Common`]: what host and guest had in common last, where that is not what the seed has. A file of
//! entries in the state directory, exchanged as a whole; who reads a damaged one takes what is whole of it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use prost::Message as _;
use pyro_protocol::work::{self, Entry, EntryKind, Listed, WorkFailureCode, work_reply};
use pyro_tree::beneath::Root;
use pyro_tree::path::RelativePath;

use super::disk;
use super::error::{Result, WorkError};
use super::workspace::Workspace;
use crate::workspace_mount;

const NAME: &str = "synced";
const BEING_WRITTEN: &str = "synced.new";

pub(crate) fn answer(workspace: &Workspace<'_>, request: work::Synced) -> Result<work_reply::Body> {
    if !workspace_mount::is_seeded(workspace.disk)? {
        return Err(WorkError::new(
            WorkFailureCode::Unsupported,
            "remember what was synced: the workspace has no seed",
        ));
    }
    let state = disk::state(&disk::open(workspace)?)?;
    let entries = request.entries.into_iter().map(|entry| Ok((workspace.path(&entry.path)?, entry)));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    Common::change(&state, |common| {
        for (path, entry) in entries {
            common.set(path, entry);
        }
    })?;
    Ok(work_reply::Body::Done(Listed::default()))
}

/// What was in common last, by path.
#[derive(Debug, Default)]
pub(super) struct Common(BTreeMap<RelativePath, Entry>);

impl Common {
    /// Reads what is remembered.
    pub(super) fn read(state: &Root) -> Result<Self> {
        let mut bytes = Vec::new();
        match state.read(&RelativePath::new(NAME)?) {
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            file => file?.read_to_end(&mut bytes)?,
        };
        let mut rest = bytes.as_slice();
        let mut common = Self::default();
        while let Ok(entry) = Entry::decode_length_delimited(&mut rest) {
            if let Ok(path) = RelativePath::new(&entry.path) {
                common.set(path, entry);
            }
            if rest.is_empty() {
                break;
            }
        }
        Ok(common)
    }

    /// Changes what is remembered. Of two workers that do so at once, each keeps what the other adds.
    pub(super) fn change(state: &Root, change: impl FnOnce(&mut Self)) -> Result<()> {
        let _lock = disk::lock(state)?;
        let mut common = Self::read(state)?;
        change(&mut common);
        let mut bytes = Vec::new();
        for entry in common.0.values() {
            entry.encode_length_delimited(&mut bytes).map_err(std::io::Error::other)?;
        }
        let (new, name) = (RelativePath::new(BEING_WRITTEN)?, RelativePath::new(NAME)?);
        state.remove_tree(&new)?;
        let mut file = state.create(&new, 0o600)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        state.rename(&new, &name)?;
        Ok(state.sync_directory(&RelativePath::root())?)
    }

    /// What was in common at a path; `None`: what the seed has. An entry that [is gone](is_gone) means nothing.
    pub(super) fn get(&self, path: &RelativePath) -> Option<&Entry> {
        self.0.get(path)
    }

    /// All paths that something was remembered of.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&RelativePath, &Entry)> {
        self.0.iter()
    }

    pub(super) fn set(&mut self, path: RelativePath, entry: Entry) {
        self.0.insert(path, entry);
    }
}

/// Whether an entry says that nothing was there, on neither side.
pub(super) fn is_gone(entry: &Entry) -> bool {
    entry.kind() == EntryKind::Special && entry.size_bytes == 0
}

/// Says that nothing is at a path, on neither side.
pub(super) fn gone(path: &RelativePath) -> Entry {
    Entry { path: path.as_bytes().to_vec(), kind: EntryKind::Special.into(), ..Entry::default() }
}
