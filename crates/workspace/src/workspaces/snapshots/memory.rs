//! Memories that machines are started from: composed of what snapshots keep, shared by all that start from the same one,
//! and let go when they take too much.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    loaded: Mutex<Vec<(LayerId, Cell)>>,
    cap_bytes: u64,
    templates: Arc<Templates>,
    key_path: PathBuf,
}

/// Held while a memory is composed, so that whoever wants the same one waits, and nobody else.
type Cell = Arc<Mutex<Option<Arc<SealedMemory>>>>;

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
        let cell = self.cell(of.memory.own()?);
        let mut memory = lock(&cell);
        if let Some(memory) = &*memory {
            return Ok(Arc::clone(memory));
        }
        let composed = Arc::new(self.compose(of)?);
        *memory = Some(Arc::clone(&composed));
        drop(memory);
        self.keep_to_cap();
        Ok(composed)
    }

    /// The place of a memory, which is the one that was used last from now on.
    fn cell(&self, own: &LayerId) -> Cell {
        let mut loaded = lock(&self.loaded);
        let known = loaded.iter().position(|(id, _)| id == own).map(|place| loaded.remove(place));
        let (id, cell) = known.unwrap_or_else(|| (own.clone(), Cell::default()));
        loaded.push((id, Arc::clone(&cell)));
        cell
    }

    /// Lets go of the least recently used ones over the cap. Those that are being composed are not looked at.
    fn keep_to_cap(&self) {
        let mut loaded = lock(&self.loaded);
        let bytes = |cell: &Cell| {
            let memory = cell.try_lock().ok().and_then(|memory| memory.clone());
            memory.map_or(0, |memory| memory.resident_bytes())
        };
        let mut total: u64 = loaded.iter().map(|(_, cell)| bytes(cell)).sum();
        while total > self.cap_bytes && loaded.len() > 1 {
            let (id, dropped) = loaded.remove(0);
            total -= bytes(&dropped).min(total);
            info!(memory = %id, "unloading the memory of a snapshot to stay under the cap");
        }
    }

    /// Puts the state of the devices into a new file. Blocks.
    pub(in super::super) fn state(&self, of: &MemoryOf, to: &Path) -> Result<(), Error> {
        let own = of.memory.own()?;
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
