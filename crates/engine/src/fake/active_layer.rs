//! [`ActiveLayer`]: the layer that a fake machine writes to.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::{DiskLayer, EngineError};

/// Layers that machines of this process write to, by device and inode.
static TAKEN: LazyLock<Mutex<HashSet<(u64, u64)>>> = LazyLock::new(Mutex::default);

fn taken() -> MutexGuard<'static, HashSet<(u64, u64)>> {
    // Every change is one call on the set.
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One machine's alone until it is dropped. No lock of a file sees to that: agents start programs, and until such a program is
/// executed it has copies of all locks, also of those that are let go meanwhile.
#[derive(Debug)]
pub(super) struct ActiveLayer {
    pub(super) path: PathBuf,
    file: (u64, u64),
    length_bytes: u64,
}

impl ActiveLayer {
    pub(super) fn take(layer: &DiskLayer) -> Result<Self, EngineError> {
        let path = layer.path.clone();
        let about = fs::metadata(&path).map_err(|e| EngineError::file("open", &path, e))?;
        let file = (about.dev(), about.ino());
        if !taken().insert(file) {
            return Err(EngineError::DiskInUse { path });
        }
        Ok(Self { path, file, length_bytes: about.len() })
    }

    /// The disk may not shrink.
    pub(super) fn check_room(&self, next: &Self) -> Result<(), EngineError> {
        let (expected_bytes, actual_bytes) = (self.length_bytes, next.length_bytes);
        if actual_bytes < expected_bytes {
            return Err(EngineError::LayerTooSmall { expected_bytes, actual_bytes });
        }
        Ok(())
    }

    /// Whether that is the file of this layer.
    pub(super) fn is(&self, about: &fs::Metadata) -> bool {
        self.file == (about.dev(), about.ino())
    }
}

impl Drop for ActiveLayer {
    fn drop(&mut self) {
        taken().remove(&self.file);
    }
}
