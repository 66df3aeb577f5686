//! What an archive says of its workspace.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use pyro_engine::{MachineShape, Nic};
use serde::{Deserialize, Serialize};

use super::{
    super::{SeedMode, SeedRecord, WorkspaceRecord, naming},
    ArchiveError,
};
use crate::{error::Error, policy};

/// Longest name or version of an environment, characters.
const ENVIRONMENT_CHARS: usize = 256;

/// Everything but the disk. Nothing in it is a path of a host: `sync pull` would write there, on whichever host it is loaded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Where it came from; for people.
    pub(super) origin: Origin,
    pub(super) name: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) environment: Environment,
    pub(super) vcpus: u8,
    pub(super) mem_mib: u32,
    /// Size of the disk, holes included.
    pub(super) disk_bytes: u64,
    /// How long it may stay unused before its machine is stopped, milliseconds; none: for ever.
    pub(super) ttl_ms: Option<u64>,
    pub(super) seed: Seed,
}

/// Who saved what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Origin {
    /// Release of pyro.
    pub(super) release: String,
    pub(super) workspace_id: String,
    /// When the workspace was made, milliseconds since 1970.
    pub(super) created_at_ms: u64,
}

/// What the disk goes with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    pub(super) name: String,
    pub(super) version: String,
    /// Of kernel, modules, agent and root image together.
    pub(super) boot_digest: String,
    /// SHA-256 of the root image, over which the disk is an overlay.
    pub(super) root_image_sha256: String,
}

/// What `/workspace` was filled with. The baseline itself is on the disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seed {
    pub(super) mode: SeedMode,
    pub(super) entry_count: u64,
    pub(super) content_bytes: u64,
    pub(super) tracked_by_git: bool,
}

impl Manifest {
    /// What is said of this workspace.
    pub(super) fn of(record: &WorkspaceRecord, release: &str, root_image_sha256: String) -> Self {
        Self {
            origin: Origin {
                release: release.to_owned(),
                workspace_id: record.id.to_string(),
                created_at_ms: milliseconds(record.created_at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            },
            name: record.name.clone(),
            labels: record.labels.clone(),
            environment: Environment {
                name: record.environment.clone(),
                version: record.environment_version.clone(),
                boot_digest: record.boot_digest.clone(),
                root_image_sha256,
            },
            vcpus: record.shape.vcpus,
            mem_mib: record.shape.mem_mib,
            disk_bytes: record.disk_bytes,
            ttl_ms: record.ttl.map(milliseconds),
            seed: Seed {
                mode: record.seed.mode,
                entry_count: record.seed.entry_count,
                content_bytes: record.seed.content_bytes,
                tracked_by_git: record.seed.tracked_by_git,
            },
        }
    }

    /// Whether a workspace may be so. It may not be in any way in which `create` could not have made it.
    pub(super) fn check(&self) -> Result<(), ArchiveError> {
        let as_kept = |field| {
            let reason = "it is not as it would be kept".to_owned();
            Err(ArchiveError::Refused { field, reason })
        };
        if let Some(name) = &self.name
            && naming::name(name).map_err(refused)? != *name
        {
            return as_kept("name");
        }
        if naming::labels(&self.labels).map_err(refused)? != self.labels {
            return as_kept("labels");
        }
        policy::admit_size(self.vcpus, self.mem_mib).map_err(refused)?;
        policy::admit_ttl(self.ttl(), policy::SHORTEST_WORKSPACE_TTL).map_err(refused)?;
        let is_whole = self.disk_bytes.is_multiple_of(1 << 20);
        if !is_whole || !policy::DISK_MIB.contains(&(self.disk_bytes >> 20)) {
            let reason = format!("no disk has {} bytes", self.disk_bytes);
            return Err(ArchiveError::Refused { field: "disk_bytes", reason });
        }
        let Environment { name, version, boot_digest, root_image_sha256 } = &self.environment;
        let is_word = |text: &String| {
            (1..=ENVIRONMENT_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        let is_digest = |text: &String| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_environment =
            is_word(name) && is_word(version) && is_digest(boot_digest) && is_digest(root_image_sha256);
        if is_environment { Ok(()) } else { as_kept("environment") }
    }

    /// Its time to live.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl_ms.map(Duration::from_millis)
    }

    pub(super) fn shape(&self) -> MachineShape {
        MachineShape { vcpus: self.vcpus, mem_mib: self.mem_mib, nic: Nic::None }
    }

    /// The seed as the record of a loaded workspace has it.
    pub(super) fn seed_record(&self) -> SeedRecord {
        SeedRecord {
            mode: self.seed.mode,
            path: None,
            entry_count: self.seed.entry_count,
            content_bytes: self.seed.content_bytes,
            notes: vec!["loaded from an archive, which does not say where on a host the seed was".to_owned()],
            exclude: Vec::new(),
            tracked_by_git: self.seed.tracked_by_git,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What is wrong with a request is wrong with a manifest too.
fn refused(error: Error) -> ArchiveError {
    match error {
        Error::Invalid { field, reason } => ArchiveError::Refused { field, reason },
        other => ArchiveError::Refused { field: "manifest", reason: other.to_string() },
    }
}
