//! Every path of the store, in one place.
//!
//! ```text
//! <state>/                      0700, what must last
//!   machines/                   one directory for each live machine, named by its id
//!     .lock                     held while a directory is made or looked over
//!     <id>/owner.lock           held by the process that answers for the machine
//!     <id>/active.qcow2         the machine's writable layer
//!     <id>/…                    sockets, VMM output and runtime record of the engine
//!   templates/
//!     <key>.lock                held while that template is built
//!     <key>/{memory,state,disk.raw,template.json}
//!     .partial-<key>/           a template being built, or what a killed builder left
//!   environments/<boot digest>/ what a workspace boots, kept while one needs it, whatever becomes of the cache
//!   workspaces/<id>/
//!     workspace.json            the record once more, from which the index can be rebuilt
//!     disk/base.raw             the template's disk (a hard link), or that of an archive
//!     disk/{active,<layer>}.qcow2   what was written since, from one snapshot to the next
//!     snapshots/<id>.json       a snapshot, which names its layers and memory
//!     memory/{base,<layer>.…}   the template's memory (a hard link), and what it became, sealed
//!     commands/                 outputs of its commands
//!   exports/<token>             a place of the host where an export is being made
//!   pulls/<token>               a directory of the host where a pull is under way, or was cut off
//!   seal.key                    0600, with which journals in directories of the host and kept memory are sealed
//!   store.sqlite                index of workspaces and commands
//! <cache>/                      can be deleted at any time
//!   environments/               owned by the environments crate
//! ```

use std::path::{Path, PathBuf};

use pyro_engine::MachineId;

use crate::workspaces::WorkspaceId;

/// Before the key in the name of a template that is not complete.
pub(crate) const PARTIAL_PREFIX: &str = ".partial-";

/// Where the store keeps things; two roots, given by the caller.
#[derive(Clone, Debug)]
pub struct Layout {
    state: PathBuf,
    cache: PathBuf,
}

impl Layout {
    /// A store with its lasting state under `state` and what can be made again under `cache`.
    pub fn new(state: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), cache: cache.into() }
    }

    /// Root of what must last.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Directory of all live machines.
    pub fn machines(&self) -> PathBuf {
        self.state.join("machines")
    }

    /// Lock under which machine directories are made and looked over.
    pub fn machines_lock(&self) -> PathBuf {
        self.machines().join(".lock")
    }

    /// Directory of one machine.
    pub fn machine(&self, id: &MachineId) -> PathBuf {
        self.machines().join(id.as_str())
    }

    /// Directory of all templates.
    pub fn templates(&self) -> PathBuf {
        self.state.join("templates")
    }

    /// Directory of one template.
    pub fn template(&self, key: &str) -> PathBuf {
        self.templates().join(key)
    }

    /// Where a template grows until it is complete.
    pub fn partial_template(&self, key: &str) -> PathBuf {
        self.templates().join(format!("{PARTIAL_PREFIX}{key}"))
    }

    /// Lock of one template's builder.
    pub fn template_lock(&self, key: &str) -> PathBuf {
        self.templates().join(format!("{key}.lock"))
    }

    /// What workspaces boot, one directory for each digest.
    pub fn kept_environments(&self) -> PathBuf {
        self.state.join("environments")
    }

    /// Index of workspaces and commands.
    pub fn store(&self) -> PathBuf {
        self.state.join("store.sqlite")
    }

    /// Directory of all workspaces.
    pub fn workspaces(&self) -> PathBuf {
        self.state.join("workspaces")
    }

    /// Directory of one workspace.
    pub fn workspace(&self, id: &WorkspaceId) -> PathBuf {
        self.workspaces().join(id.as_str())
    }

    /// Places of the host where exports are being made, one file for each.
    pub fn exports(&self) -> PathBuf {
        self.state.join("exports")
    }

    /// Directories of the host where pulls are under way or were cut off, one file for each pull.
    pub fn pulls(&self) -> PathBuf {
        self.state.join("pulls")
    }

    /// Key with which journals in directories of the host and kept memory are sealed.
    pub fn seal_key(&self) -> PathBuf {
        self.state.join("seal.key")
    }

    /// Cache of environments.
    pub fn environments(&self) -> PathBuf {
        self.cache.join("environments")
    }

    /// Cached verdict on `/dev/kvm`, valid for one boot of the host.
    pub fn acceleration(&self) -> PathBuf {
        self.cache.join("acceleration.json")
    }
}
