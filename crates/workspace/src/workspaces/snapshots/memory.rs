//! Memories that machines are started from: composed of what snapshots keep, shared by all that start from the same one,
//! and let go when they take too much.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyro_engine::{ComposeError, MachineShape, MemoryBase, SealedMemory};
use tracing::info;

use super::{record::SavedMemory, seal, shelf::SnapshotFiles};
use crate::{
    error::Error,
    kept_memory::{self, PageDigests},
    seal_key::SealKey,
    template::Templates,
    workspaces::{
        frozen_file::FrozenFile,
        id::{LayerId, SnapshotId},
    },
};

/// Memories of snapshots that are loaded.
#[derive(Debug)]
pub(crate) struct Memories {
    loaded: Mutex<Loaded>,
    cap_bytes: u64,
    templates: Arc<Templates>,
    key_path: PathBuf,
}

#[derive(Debug)]
struct Loaded {
    /// Least recently used first; each by its last delta, which no other memory ends with.
    memories: Vec<(LayerId, Cell)>,
    /// What the budget of all machines leaves.
    room_bytes: u64,
    /// Which of them machines were started from that live: as it was when the room was told.
    in_use: HashSet<LayerId>,
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

impl MemoryOf {
    /// Which pages its deltas replace. None: that is not kept, and it takes longer to compose it.
    fn replaced_pages(&self, key: &SealKey) -> Option<Vec<u64>> {
        let bytes = self.shape.memory_bytes();
        let digests = self.memory.content.deltas.iter().map(|delta| {
            let place = self.files.digests(delta);
            kept_memory::open_digests(key, &place, delta.as_str(), bytes).ok()
        });
        let digests = digests.collect::<Option<Vec<_>>>()?;
        Some(digests.iter().flat_map(PageDigests::page_numbers).collect())
    }
}

impl Memories {
    /// Those of snapshots whose templates are these. Together they take at most so much unless a single one takes more.
    pub(crate) fn new(templates: Arc<Templates>, cap_bytes: u64, key_path: PathBuf) -> Self {
        let loaded = Loaded { memories: Vec::new(), room_bytes: u64::MAX, in_use: HashSet::new() };
        Self { loaded: Mutex::new(loaded), cap_bytes, templates, key_path }
    }

    /// Machines leave so much of their budget: memories that no machine has give way, since they can be loaded again. What was given
    /// up, to be dropped where that may take long.
    pub(in super::super) fn keep_within(&self, room_bytes: u64, in_use: HashSet<LayerId>) -> GivenUp {
        let mut loaded = lock(&self.loaded);
        (loaded.room_bytes, loaded.in_use) = (room_bytes, in_use);
        loaded.keep_to(self.cap_bytes)
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
        let given_up = lock(&self.loaded).keep_to(self.cap_bytes);
        drop(given_up);
        Ok(composed)
    }

    /// The place of a memory, which is the one that was used last from now on.
    fn cell(&self, own: &LayerId) -> Cell {
        let memories = &mut lock(&self.loaded).memories;
        let known = memories.iter().position(|(id, _)| id == own).map(|place| memories.remove(place));
        let (id, cell) = known.unwrap_or_else(|| (own.clone(), Cell::default()));
        memories.push((id, Arc::clone(&cell)));
        cell
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
        let deltas = || {
            let opened = content.deltas.iter().map(|delta| {
                let opened = kept_memory::open(&key, &of.files.delta(delta), delta.as_str());
                opened.map_err(|source| seal::kept(&of.snapshot, source))
            });
            opened.collect::<Result<Vec<_>, _>>()
        };
        let base = if content.from_template { Some(self.base(of)?) } else { None };
        let base = match &base {
            Some(base) => MemoryBase::Sealed(base),
            None => MemoryBase::Zero { size_bytes: of.shape.memory_bytes() },
        };
        let composed = match of.replaced_pages(&key) {
            Some(pages) => match SealedMemory::compose_knowing(base, deltas()?, pages) {
                Err(ComposeError::OtherPages) => SealedMemory::compose(base, deltas()?),
                other => other,
            },
            None => SealedMemory::compose(base, deltas()?),
        };
        composed.map_err(|source| Error::SnapshotCompose { snapshot: of.snapshot.to_string(), source })
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

/// Memories that are not kept loaded any more; dropping them gives their memory back.
pub(in super::super) type GivenUp = Vec<Cell>;

impl Loaded {
    /// Gives up the least recently used ones over the cap or the room, but for the last and for those that machines have, which take
    /// none of the room. Those that are being composed are not looked at.
    fn keep_to(&mut self, cap_bytes: u64) -> GivenUp {
        let bytes = |cell: &Cell| {
            let memory = cell.try_lock().ok().and_then(|memory| memory.clone());
            memory.map_or(0, |memory| memory.resident_bytes())
        };
        let Self { memories, room_bytes, in_use } = self;
        let sum = |memories: &mut dyn Iterator<Item = &(LayerId, Cell)>| -> u64 {
            memories.map(|(_, cell)| bytes(cell)).sum()
        };
        let mut all_bytes = sum(&mut memories.iter());
        let mut idle_bytes = sum(&mut memories.iter().filter(|(id, _)| !in_use.contains(id)));
        let mut given_up = Vec::new();
        while all_bytes > cap_bytes || idle_bytes > *room_bytes {
            let but_last = memories.len().saturating_sub(1);
            let oldest = memories.iter().take(but_last).position(|(id, _)| !in_use.contains(id));
            let Some(oldest) = oldest else { break };
            let (id, cell) = memories.remove(oldest);
            all_bytes = all_bytes.saturating_sub(bytes(&cell));
            idle_bytes = idle_bytes.saturating_sub(bytes(&cell));
            info!(memory = %id, "unloading the memory of a snapshot: there is no room for it");
            given_up.push(cell);
        }
        given_up
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_give_way_and_the_last_one_stays() {
        const MEMORY_BYTES: usize = 1 << 20;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, vec![1; MEMORY_BYTES]).unwrap();
        let memory = || Arc::new(SealedMemory::load(file.path()).unwrap());
        let cells = (0..4).map(|_| (LayerId::random().unwrap(), Arc::new(Mutex::new(Some(memory())))));
        let memories: Vec<_> = cells.collect();
        let ids: Vec<_> = memories.iter().map(|(id, _)| id.clone()).collect();
        let mut loaded = Loaded { memories, room_bytes: u64::MAX, in_use: [ids[1].clone()].into() };
        let mut kept = |cap_bytes: usize, room_bytes: usize| {
            loaded.room_bytes = room_bytes as u64;
            drop(loaded.keep_to(cap_bytes as u64));
            loaded.memories.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(kept(4 * MEMORY_BYTES, 3 * MEMORY_BYTES), ids);
        assert_eq!(kept(4 * MEMORY_BYTES - 1, 3 * MEMORY_BYTES), ids[1..]);
        // What a machine has is in its own budget.
        assert_eq!(kept(4 * MEMORY_BYTES, 2 * MEMORY_BYTES), ids[1..]);
        assert_eq!(kept(4 * MEMORY_BYTES, 0), [ids[1].clone(), ids[3].clone()]);
        assert_eq!(kept(0, 0), [ids[1].clone(), ids[3].clone()]);
    }
}
