//! Brings the memory of a snapshot into the form in which it is kept: without what its parent has, compressed, encrypted.
//!
//! That follows the capture and is not waited for by the machine. Until it is done the memory lies there as the engine wrote it,
//! readable by its owner alone; whoever finds it so after a crash does it then.

use std::{fs, path::Path};

use pyro_engine::MachineShape;

use super::{
    record::{MemoryContent, MemoryStage, SavedMemory, SnapshotRecord},
    shelf::SnapshotFiles,
};
use crate::{
    error::Error,
    kept_memory::{self, KeptMemoryError},
    seal_key::SealKey,
    workspaces::{
        disk::WorkspaceDisk,
        id::{LayerId, SnapshotId},
    },
};

/// Deltas that a memory is made of at the most: behind these a snapshot stores again all that the machine changed.
const MOST_DELTAS: usize = 16;

/// What sealing needs, for a thread of its own.
#[derive(Debug)]
pub(in super::super) struct Sealing {
    pub(in super::super) files: SnapshotFiles,
    pub(in super::super) disk: WorkspaceDisk,
    pub(in super::super) shape: MachineShape,
    pub(in super::super) key_path: std::path::PathBuf,
    pub(in super::super) snapshot: SnapshotRecord,
    /// What the snapshot's parent has need not be stored again.
    pub(in super::super) parent: Option<SavedMemory>,
}

impl Sealing {
    /// Does it, and writes the record down. Blocks. On an error the snapshot is as it was.
    pub(in super::super) fn seal(self) -> Result<SnapshotRecord, Error> {
        let Self { files, disk, shape, key_path, mut snapshot, parent } = self;
        let id = snapshot.id.clone();
        if let Some(layer) = snapshot.disk.last_mut() {
            let read = layer.file.read(&disk.layer(layer.id.as_ref()));
            layer.file =
                read.map_err(|source| Error::SnapshotDamaged { snapshot: id.to_string(), source })?;
        }
        if let Some(memory) = &mut snapshot.memory
            && let MemoryStage::Plain { since } = memory.stage.clone()
        {
            let key = key(&key_path)?;
            let own = memory.own()?.clone();
            let parent = parent.filter(|parent| is_of_the_same_machine(parent, &since));
            let sealed = seal(&files, &key, &own, shape, parent.as_ref());
            let (content, pages, stored_bytes) = sealed.map_err(|source| kept(&id, source))?;
            // Without use for the parent it stays what the capture said: all since the machine was started.
            if let Some(content) = content {
                memory.content = content;
            }
            (memory.pages, memory.stored_bytes) = (pages, stored_bytes);
            memory.stage = MemoryStage::Sealed;
            files.write(&snapshot)?;
            for plain in [files.plain_delta(&own), files.plain_state(&own)] {
                // Otherwise the next sweep does.
                drop(fs::remove_file(plain));
            }
            return Ok(snapshot);
        }
        files.write(&snapshot)?;
        Ok(snapshot)
    }
}

/// Whether a memory was captured from the machine that was started from `since`, so that what it has is in that machine too.
fn is_of_the_same_machine(memory: &SavedMemory, since: &MemoryContent) -> bool {
    let content = &memory.content;
    memory.stage == MemoryStage::Sealed
        && content.from_template == since.from_template
        && content.deltas.len() > since.deltas.len()
        && content.deltas.starts_with(&since.deltas)
}

type Sealed = (Option<MemoryContent>, u64, u64);

/// Seals delta, digests and state. The content is that of the parent and this delta, if the parent could be made use of.
fn seal(
    files: &SnapshotFiles,
    key: &SealKey,
    own: &LayerId,
    shape: MachineShape,
    parent: Option<&SavedMemory>,
) -> Result<Sealed, KeptMemoryError> {
    let parent = parent.filter(|parent| parent.content.deltas.len() < MOST_DELTAS);
    let known = parent.and_then(|parent| {
        let last = parent.content.deltas.last()?;
        // Without them the snapshot is larger, and nothing else.
        let digests =
            kept_memory::open_digests(key, &files.digests(last), last.as_str(), shape.memory_bytes()).ok()?;
        Some((parent, digests))
    });
    let digests = known.as_ref().map(|(_, digests)| digests);
    let plain = files.plain_delta(own);
    let delta =
        kept_memory::keep(key, &plain, shape.memory_bytes(), own.as_str(), digests, &files.delta(own))?;
    let digests_bytes = kept_memory::keep_digests(key, &delta.digests, own.as_str(), &files.digests(own))?;
    let state_bytes = keep_state(files, key, own)?;
    let content = known.map(|(parent, _)| MemoryContent {
        from_template: parent.content.from_template,
        deltas: parent.content.deltas.iter().cloned().chain([own.clone()]).collect(),
    });
    Ok((content, delta.pages, delta.stored_bytes + digests_bytes + state_bytes))
}

fn keep_state(files: &SnapshotFiles, key: &SealKey, own: &LayerId) -> Result<u64, KeptMemoryError> {
    kept_memory::keep_file(key, &files.plain_state(own), own.as_str(), &files.state(own))
}

/// Unseals the state of a sealed memory to a new file. Blocks.
pub(super) fn open_state(
    files: &SnapshotFiles,
    key: &SealKey,
    own: &LayerId,
    to: &Path,
) -> Result<(), KeptMemoryError> {
    kept_memory::open_file(key, &files.state(own), own.as_str(), to)
}

pub(super) fn kept(snapshot: &SnapshotId, source: KeptMemoryError) -> Error {
    Error::SnapshotMemory { snapshot: snapshot.to_string(), source: Box::new(source) }
}

/// The key with which memories are sealed.
pub(super) fn key(path: &Path) -> Result<SealKey, Error> {
    SealKey::of(path).map_err(|error| Error::Store {
        operation: "read the key",
        path: error.path,
        source: error.source,
    })
}
