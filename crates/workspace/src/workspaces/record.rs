//! What is written down about a workspace, before it is acted on.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use pyro_engine::{MachineId, MachineShape};
use serde::{Deserialize, Serialize};

use super::{Call, WorkspaceId, disk::DiskRecord, id::SnapshotId, snapshots::Lineage};

/// Version of the record's format; a newer one is refused, never guessed at.
pub(crate) const RECORD_VERSION: u32 = 1;

/// Everything that must be known to find, start and end a workspace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkspaceRecord {
    /// Its id.
    pub id: WorkspaceId,
    /// The name a person gave it; not unique.
    pub name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The environment it was made from, as it was asked for.
    pub environment: String,
    /// The environment's version.
    pub environment_version: String,
    /// Digest over kernel, initramfs and root image; names the kept copy of them.
    pub boot_digest: String,
    /// Kernel arguments that go with them.
    pub kernel_arguments: Vec<String>,
    /// Size and devices of its machines.
    pub shape: MachineShape,
    /// Virtual size of its writable disk, bytes.
    pub disk_bytes: u64,
    /// How long it may stay unused before its machine is stopped; none: for ever.
    pub ttl: Option<Duration>,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it was last used.
    pub last_activity_at: SystemTime,
    /// A machine for one command: it is deleted, not stopped, when its time is over.
    #[serde(default)]
    pub one_shot: bool,
    /// Whether its maker would have had commands run on the host; kept to be told, and means nothing.
    #[serde(default)]
    pub allow_host_compat: bool,
    /// What a machine for one command was made for.
    #[serde(default)]
    pub call: Option<Call>,
    /// Only its callers keep it: its time to live counts from when the last one went, also if a command runs on.
    #[serde(default)]
    pub ends_with_callers: bool,
    /// Where it stands.
    pub state: WorkspaceState,
    /// What `/workspace` was filled with.
    pub seed: SeedRecord,
    /// Which layers its disk has.
    #[serde(default)]
    pub disk: DiskRecord,
    /// Where its state comes from, as far as it was saved.
    #[serde(default)]
    pub lineage: Lineage,
    /// How long its machine may stay unused before it sleeps; none: for ever.
    #[serde(default)]
    pub idle_sleep: Option<Duration>,
    /// Whether a checkpoint is taken before each call that may change something.
    #[serde(default)]
    pub auto_checkpoint: bool,
    /// Whether anything failed that a person should know of; one line.
    pub last_error: Option<String>,
}

/// What `/workspace` was filled with at the beginning.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct SeedRecord {
    /// From what.
    pub mode: SeedMode,
    /// The host path, if any.
    #[serde(with = "host_path")]
    pub path: Option<PathBuf>,
    /// Entries of the archive.
    pub entry_count: u64,
    /// Bytes of regular files.
    pub content_bytes: u64,
    /// What was left out and why.
    pub notes: Vec<String>,
    /// Patterns that were left out, for a later comparison with the directory.
    pub exclude: Vec<String>,
    /// Only what git tracks was taken.
    pub tracked_by_git: bool,
}

/// Kinds of seed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedMode {
    /// Nothing.
    #[default]
    Empty,
    /// A directory of the host.
    Directory,
    /// A tar archive of the host.
    TarArchive,
}

/// Where a workspace stands; the table of moves is drawn in the [module](super).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WorkspaceState {
    /// Being made; after a crash it is removed, since nobody was told its id.
    Creating {
        /// The machine that is being started.
        machine: Option<MachineId>,
    },
    /// Its machine runs.
    Started {
        /// The machine.
        machine: MachineId,
    },
    /// Its machine is shutting down.
    Stopping {
        /// The machine.
        machine: MachineId,
        /// Why.
        reason: StopReason,
    },
    /// It has a disk and no machine.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// Its machine is being saved, and stands still for that.
    FallingAsleep {
        /// The machine.
        machine: MachineId,
    },
    /// Its machine is saved, and it goes on when it is used.
    Asleep {
        /// What it goes on from.
        snapshot: SnapshotId,
    },
    /// A machine is being started: booted from its disk, or from what was saved.
    Starting {
        /// The machine.
        machine: MachineId,
        /// What it goes on from, if it slept.
        #[serde(default)]
        from: Option<SnapshotId>,
    },
    /// Going away; after a crash the rest of it is removed.
    Deleting {
        /// The machine that may still run.
        machine: Option<MachineId>,
    },
}

/// Why a workspace has no machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody asked for it.
    Requested,
    /// It was unused for as long as its time to live allows.
    Expired,
    /// The guest powered itself off.
    PoweredOff,
    /// The machine ended unexpectedly.
    MachineLost,
    /// The host was restarted.
    HostRestarted,
    /// It could not be started from its disk.
    StartFailed,
}

/// A path of the host as a list of bytes, since it need not be text.
mod host_path {
    use std::{
        ffi::OsString,
        os::unix::ffi::{OsStrExt, OsStringExt},
        path::PathBuf,
    };

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Text where it is text, so that people can read a record.
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = path.as_ref().map(|path| match path.to_str() {
            Some(text) => Stored::Text(text.to_owned()),
            None => Stored::Bytes(path.as_os_str().as_bytes().to_vec()),
        });
        stored.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let stored = Option::<Stored>::deserialize(deserializer)?;
        Ok(stored.map(|stored| match stored {
            Stored::Text(text) => PathBuf::from(text),
            Stored::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    use super::*;

    #[test]
    fn any_host_path_can_be_written_down() {
        for path in [None, Some(PathBuf::from("/a b")), Some(OsString::from_vec(vec![b'/', 0xff]).into())] {
            let seed = SeedRecord { path, ..SeedRecord::default() };
            let json = serde_json::to_string(&seed).unwrap();
            assert_eq!(serde_json::from_str::<SeedRecord>(&json).unwrap(), seed);
        }
    }
}
