//! What a jail consists of, and what of it a host allowed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One layer of confinement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A user id of its own (started by root).
    OwnUser,
    /// A user namespace of its own (started by an ordinary user).
    UserNamespace,
    /// Own mounts.
    MountNamespace,
    /// Sees no other process.
    PidNamespace,
    /// No network device at all.
    NetworkNamespace,
    /// Own System V IPC.
    IpcNamespace,
    /// Own host name.
    UtsNamespace,
    /// Own view of cgroups.
    CgroupNamespace,
    /// Sees only the files it needs, read-only.
    PrivateRoot,
    /// Bounded memory, file size, descriptors, processes.
    ResourceLimits,
    /// No capability, and none to be gained by executing.
    NoPrivileges,
    /// File access denied but for a list; no TCP, no signals outwards.
    Landlock,
    /// Dangerous system calls denied.
    SystemCallFilter,
}

impl Layer {
    /// All of them. Which of the first two a jail has depends on who starts it.
    pub const ALL: [Self; 13] = [
        Self::OwnUser,
        Self::UserNamespace,
        Self::MountNamespace,
        Self::PidNamespace,
        Self::NetworkNamespace,
        Self::IpcNamespace,
        Self::UtsNamespace,
        Self::CgroupNamespace,
        Self::PrivateRoot,
        Self::ResourceLimits,
        Self::NoPrivileges,
        Self::Landlock,
        Self::SystemCallFilter,
    ];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnUser => "user id of its own",
            Self::UserNamespace => "user namespace",
            Self::MountNamespace => "mount namespace",
            Self::PidNamespace => "pid namespace",
            Self::NetworkNamespace => "network namespace",
            Self::IpcNamespace => "ipc namespace",
            Self::UtsNamespace => "uts namespace",
            Self::CgroupNamespace => "cgroup namespace",
            Self::PrivateRoot => "private root",
            Self::ResourceLimits => "resource limits",
            Self::NoPrivileges => "no privileges",
            Self::Landlock => "landlock",
            Self::SystemCallFilter => "system call filter",
        })
    }
}

/// A layer that the host did not allow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Missing {
    /// Which one.
    pub layer: Layer,
    /// The system's words.
    pub reason: String,
}

/// What confines a machine process.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// Layers in place.
    pub applied: Vec<Layer>,
    /// Layers that the host refused.
    pub missing: Vec<Missing>,
}

impl Confinement {
    /// Whether every layer is in place.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether this layer is in place.
    pub fn has(&self, layer: Layer) -> bool {
        self.applied.contains(&layer)
    }

    pub(super) fn note(&mut self, layer: Layer, outcome: Result<(), impl fmt::Display>) {
        match outcome {
            Ok(()) => self.applied.push(layer),
            Err(reason) => self.missing.push(Missing { layer, reason: reason.to_string() }),
        }
    }
}
