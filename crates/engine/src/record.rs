//! The runtime record: what a later process needs to adopt a machine. Written before the machine's
//! program runs, so that no machine exists without one.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    EngineError, Isolation, MachineId, MachineShape, ProcessIdentity, guest_memory::MemoryFile,
    launch::Confinement,
};

const NAME: &str = "runtime.json";

/// Contents of `runtime.json` in a machine's directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct RuntimeRecord {
    /// Format of this record.
    pub version: u32,
    pub id: MachineId,
    pub process: ProcessIdentity,
    /// The host's boot, since pids and ticks start anew with each.
    pub host_boot_id: String,
    pub isolation: Isolation,
    pub shape: MachineShape,
    /// The VMM's own user id, when it has one.
    pub uid: Option<u32>,
    pub confinement: Confinement,
    /// Missing in a record of a release that did not prepare machines for being captured.
    #[serde(default)]
    pub memory: Option<MemoryFile>,
}

impl RuntimeRecord {
    pub(crate) const VERSION: u32 = 1;

    /// Writes it by rename.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), EngineError> {
        let path = directory.join(NAME);
        let partial = directory.join("runtime.json.partial");
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|source| EngineError::Record { path: path.clone(), source })?;
        std::fs::write(&partial, bytes).map_err(|e| EngineError::file("write", &partial, e))?;
        std::fs::rename(&partial, &path).map_err(|e| EngineError::file("rename to", &path, e))
    }

    /// Reads it, if it is there.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, EngineError> {
        let path = directory.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| EngineError::Record { path, source }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(EngineError::file("read", &path, e)),
        }
    }
}

/// The part of a record that says which process it is about, in every version of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Trace {
    pub(crate) process: ProcessIdentity,
    pub(crate) host_boot_id: String,
}

impl Trace {
    /// `None` when there is none, or none that can be understood: records appear by renaming, so a torn one is of
    /// an earlier boot of the host.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, EngineError> {
        let path = directory.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(EngineError::file("read", &path, e)),
        }
    }
}

/// Identifies the host's present boot.
pub(crate) fn host_boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
