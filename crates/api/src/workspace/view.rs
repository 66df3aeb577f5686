//! A workspace as everybody sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::create::NetworkPolicy;
use crate::text::ByteString;

/// Everything about a workspace: the answer of create, update, status, stop and start.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Workspace {
    /// 12 hexadecimal digits.
    pub workspace_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Sorted by key.
    pub labels: BTreeMap<String, String>,
    /// The environment that it was made from.
    pub environment: String,
    /// That environment's version, as far as it has one.
    pub environment_version: Option<String>,
    /// Virtual processors.
    pub vcpu_count: u32,
    /// Memory in MiB.
    pub mem_mib: u32,
    /// Size of the writable disk in MiB.
    pub disk_mib: u64,
    /// What the disk takes on the host; absent when that cannot be said.
    pub disk_used_bytes: Option<u64>,
    /// Seconds without use after which the machine is stopped; 0: never.
    pub ttl_seconds: u64,
    /// When it was made.
    pub created_at: f64,
    /// When it was last used. Every operation that names the workspace is use, but for list, status, logs, job list,
    /// job logs and output.
    pub last_activity_at: f64,
    /// When the machine will be stopped if nobody uses it; null: never.
    pub expires_at: Option<f64>,
    /// Whether there is a machine.
    pub state: WorkspaceState,
    /// What is being done to it just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// Why there is no machine, when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// What went wrong last, in words, when something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Why the machine pauses, in words, e.g. because the host's disk is full. It goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// What the machine may reach.
    pub network_policy: NetworkPolicy,
    /// Whether it has a network.
    pub network_enabled: bool,
    /// As it was asked; nothing ever runs on the host.
    pub allow_host_compat: bool,
    /// Its address, if it has a network.
    pub guest_ip: Option<String>,
    /// Always null: no network of ours has such a device.
    pub tap_name: Option<String>,
    /// `guest_vsock` ([`EXECUTION_MODE`](crate::run::EXECUTION_MODE)); `pending` before the machine is there.
    pub execution_mode: String,
    /// `kvm` or `emulated`, as measured; absent as long as there was no machine.
    pub isolation: Option<String>,
    /// Always `/workspace`.
    pub workspace_path: String,
    /// What it was filled with.
    pub workspace_seed: SeedView,
    /// Secrets by name.
    pub secrets: Vec<SecretView>,
    /// How many commands it was given.
    pub command_count: u64,
    /// How many of them run now.
    pub running_command_count: u64,
    /// The newest command that has ended.
    pub last_command: Option<LastCommand>,
    /// How often it was reset.
    pub reset_count: u64,
    /// When it was last reset.
    pub last_reset_at: Option<f64>,
    /// How many snapshots it has, the baseline included.
    pub snapshot_count: u64,
    /// The workspace that it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentView>,
    /// Seconds without use after which the machine is saved and sleeps; 0: never.
    pub idle_sleep_seconds: u64,
    /// Whether a checkpoint is taken before each command, patch and write.
    pub auto_checkpoint: bool,
    /// Why the machine was booted though there was a memory to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_reason: Option<String>,
    /// How many services it has.
    pub service_count: u64,
    /// How many of them run now.
    pub running_service_count: u64,
    /// More, for people who look into things.
    pub metadata: BTreeMap<String, String>,
}

/// The workspace that another one was forked from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParentView {
    /// Which; it may be gone.
    pub workspace_id: String,
    /// From which of its snapshots; null: from how it was.
    pub snapshot_name: Option<String>,
}

/// One workspace of a list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkspaceListItem {
    /// 12 hexadecimal digits.
    pub workspace_id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Sorted by key.
    pub labels: BTreeMap<String, String>,
    /// The environment that it was made from.
    pub environment: String,
    /// Whether there is a machine.
    pub state: WorkspaceState,
    /// What is being done to it just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// Why there is no machine, when it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// When it was made.
    pub created_at: f64,
    /// When it was last used.
    pub last_activity_at: f64,
    /// When the machine will be stopped if nobody uses it; null: never.
    pub expires_at: Option<f64>,
    /// How many commands it was given.
    pub command_count: u64,
    /// How many of them run now.
    pub running_command_count: u64,
    /// How many services it has.
    pub service_count: u64,
    /// How many of them run now.
    pub running_service_count: u64,
}

macro_rules! tokens {
    ($($(#[doc = $doc:literal])+ $type:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $token:literal,)+ })+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $type {
            $($(#[doc = $variant_doc])+ #[serde(rename = $token)] $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The token in JSON.
            pub fn token(self) -> &'static str {
                match self {
                    $(Self::$variant => $token,)+
                }
            }

            /// The one that a token names.
            pub fn from_token(token: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.token() == token)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.token())
            }
        }
        )+
    };
}

pub(crate) use tokens;

tokens! {
    /// Whether a workspace has a machine.
    WorkspaceState {
        /// Not yet: it is being made.
        Created = "created",
        /// Yes.
        Started = "started",
        /// No; its disk is there.
        Stopped = "stopped",
        /// No; it was saved, and goes on when it is used.
        Sleeping = "sleeping",
    }
    /// What is being done to a workspace.
    Transition {
        /// It is being made.
        Creating = "creating",
        /// Its machine is being started.
        Starting = "starting",
        /// Its machine is being saved.
        FallingAsleep = "falling_asleep",
        /// Its machine is being stopped.
        Stopping = "stopping",
        /// It is being deleted.
        Deleting = "deleting",
    }
    /// Why a workspace has no machine.
    StopReason {
        /// Somebody asked for it.
        Requested = "requested",
        /// Nobody used it for `ttl_seconds`.
        Expired = "expired",
        /// The machine's process ended by itself.
        MachineLost = "machine_lost",
        /// The host was started anew.
        HostRestarted = "host_restarted",
        /// The guest turned itself off.
        PoweredOff = "powered_off",
        /// It could not be started again.
        StartFailed = "start_failed",
    }
    /// What a seed was.
    SeedMode {
        /// There was none.
        Empty = "empty",
        /// A directory.
        Directory = "directory",
        /// A tar archive.
        TarArchive = "tar_archive",
    }
}

/// What a workspace was filled with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SeedView {
    /// What the seed was.
    pub mode: SeedMode,
    /// Where on the host, if anywhere.
    pub seed_path: Option<ByteString>,
    /// Always `/workspace`.
    pub destination: String,
    /// Entries made.
    pub entry_count: u64,
    /// Bytes of regular files.
    pub bytes_written: u64,
    /// What was left out and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A secret by name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// `literal` or `file`.
    pub source_kind: String,
}

/// The newest command that has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LastCommand {
    /// Its number.
    pub sequence: u64,
    /// What it was, as one line.
    pub command: String,
    /// Where it ran.
    pub cwd: ByteString,
    /// Its exit status; null when nobody knows.
    pub exit_code: Option<i32>,
    /// How long it ran.
    pub duration_ms: u64,
    /// How it was run.
    pub execution_mode: String,
}
