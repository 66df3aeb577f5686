//! Memories that machines are started from: composed of what snapshots keep, shared by all that start from the same one,
//! and let go when they take too much.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use pyro_engine::{MachineShape, MemoryBase, SealedMemory};
use tracing::info;

use super::{record::SavedMemory, seal, shelf::SnapshotFiles};
use crate::{
    error::Error,
    kept_memory,
    template::Templates,
    workspaces::{
        frozen_file::FrozenFile,
        id::{LayerId, SnapshotId},
    },
};

/// Memories of snapshots that are loaded.
#[derive(Debug)]
pub(crate) struct Memories {
    /// Least recently used first; each by its last delta, which no other memory ends with.
    loaded: Mutex<Vec<(LayerId, Arc<SealedMemory>)>>,
    cap_bytes: u64,
    templates: Arc<Templates>,
    key_path: PathBuf,
}

/// Whose memory is wanted.
#[derive(Clone, Debug)]
pub(in super::super) struct MemoryOf {
    pub(in super::super) files: SnapshotFiles,
    pub(in super::super) snapshot: SnapshotId,
    pub(in super::super) memory: SavedMemory,
    pub(in super::super) shape: MachineShape,
    /// How the template's memory looked that the workspace keeps.
    pub(in super::super) base: Option<FrozenFile>,
}

impl Memories {
    /// Those of snapshots whose templates are these. Together they take at most so much unless a single one takes more.
    pub(crate) fn new(templates: Arc<Templates>, cap_bytes: u64, key_path: PathBuf) -> Self {
        Self { loaded: Mutex::default(), cap_bytes, templates, key_path }
    }

    /// Where the key is with which memories are sealed.
    pub(in super::super) fn key_path(&self) -> PathBuf {
        self.key_path.clone()
    }

    /// The memory of a snapshot. Blocks while it is composed, if it is not there.
    pub(in super::super) fn get(&self, of: &MemoryOf) -> Result<Arc<SealedMemory>, Error> {
        let own = of.memory.content.deltas.last();
        let own = own.ok_or_else(|| Error::Task("a captured memory without a delta".to_owned()))?;
        // Held while it is composed: whoever wants the same one waits, and then has it.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = loaded.iter().position(|(id, _)| id == own) {
            let found = loaded.remove(place);
            let memory = Arc::clone(&found.1);
            loaded.push(found);
            return Ok(memory);
        }
        let memory = Arc::new(self.compose(of)?);
        loaded.push((own.clone(), Arc::clone(&memory)));
        let mut total: u64 = loaded.iter().map(|(_, memory)| memory.resident_bytes()).sum();
        while total > self.cap_bytes && loaded.len() > 1 {
            let (id, dropped) = loaded.remove(0);
            total -= dropped.resident_bytes();
            info!(memory = %id, "unloading the memory of a snapshot to stay under the cap");
        }
        Ok(memory)
    }

    /// Puts the state of the devices into a new file. Blocks.
    pub(in super::super) fn state(&self, of: &MemoryOf, to: &Path) -> Result<(), Error> {
        let own = of.memory.content.deltas.last();
        let own = own.ok_or_else(|| Error::Task("a captured memory without a delta".to_owned()))?;
        let key = seal::key(&self.key_path)?;
        seal::open_state(&of.files, &key, own, to).map_err(|source| seal::kept(&of.snapshot, source))
    }

    fn compose(&self, of: &MemoryOf) -> Result<SealedMemory, Error> {
        let key = seal::key(&self.key_path)?;
        let content = &of.memory.content;
        let opened = content.deltas.iter().map(|delta| {
            let opened = kept_memory::open(&key, &of.files.delta(delta), delta.as_str());
            opened.map_err(|source| seal::kept(&of.snapshot, source))
        });
        let deltas = opened.collect::<Result<Vec<_>, _>>()?;
        let base = if content.from_template { Some(self.base(of)?) } else { None };
        let base = match &base {
            Some(base) => MemoryBase::Sealed(base),
            None => MemoryBase::Zero { size_bytes: of.shape.memory_bytes() },
        };
        SealedMemory::compose(base, deltas)
            .map_err(|source| Error::SnapshotCompose { snapshot: of.snapshot.to_string(), source })
    }

    fn base(&self, of: &MemoryOf) -> Result<Arc<SealedMemory>, Error> {
        let path = of.files.base();
        if let Some(memory) = self.templates.memory_of(&path) {
            return Ok(memory);
        }
        if let Some(base) = &of.base {
            let damaged = |source| Error::SnapshotDamaged { snapshot: of.snapshot.to_string(), source };
            base.check(&path).map_err(damaged)?;
        }
        let loaded = SealedMemory::load(&path).map(Arc::new);
        loaded.map_err(|error| Error::Store { operation: error.operation, path, source: error.source })
    }
}
