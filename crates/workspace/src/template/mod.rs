//! Templates: saved, booted machines from which every other machine is cloned.
//!
//! ```text
//!             absent ──build──> installed ──load──> loaded (sealed memory)
//!   a killed builder leaves `.partial-…`; the next one starts over
//!   damaged files are found at load; the template is removed and built again
//!   loaded memory over the cap is dropped, least recently used first
//! ```
//!
//! A template is made once for each key, however many ask, in this process or in others. Its memory is
//! held in a sealed memfd, so that no VMM can change what another starts from.

mod build;
mod cache;
mod digest;
mod key;

use std::path::{Path, PathBuf};

use pyro_engine::{BootFiles, DiskFormat, DiskLayer, SavedMachine};
pub(crate) use {cache::Templates, digest::sparse as sparse_digest, key::TemplateKey};

/// Size of the writable disk a template is made with; another size is reached by growing the clone's disk.
pub(crate) const DISK_BYTES: u64 = 4096 << 20;

/// What a template is made from.
#[derive(Clone, Debug)]
pub(crate) struct TemplateSource {
    /// Kernel, initramfs and root image.
    pub(crate) boot: BootFiles,
    /// Digest over the three.
    pub(crate) boot_digest: String,
}

/// A template that is ready to be cloned.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) key: TemplateKey,
    pub(crate) saved: SavedMachine,
    disk: PathBuf,
    /// What its memory was loaded from, and the digest of that.
    memory: PathBuf,
    memory_digest: String,
}

impl Template {
    /// The disk as it was when the memory was saved: the lowest layer of every clone.
    pub(crate) fn disk(&self) -> DiskLayer {
        DiskLayer { path: self.disk.clone(), format: DiskFormat::Raw }
    }

    /// The file that its memory was loaded from, and the file's digest.
    pub(crate) fn memory_file(&self) -> (&Path, &str) {
        (&self.memory, &self.memory_digest)
    }

    /// Whether what each clone opens anew is still there.
    fn is_on_disk(&self) -> bool {
        self.saved.state.exists() && self.disk.exists()
    }
}

/// A builder of templates with the tools it needs.
pub(crate) fn builder(mke2fs: PathBuf, release: String) -> build::Builder {
    build::Builder { mke2fs, release }
}
