//! The daemon itself: how it is, and how it ends.

use serde::{Deserialize, Serialize};

/// Asks how the daemon is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StatusRequest {}

/// How the daemon is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// Release of the program.
    pub version: String,
    /// Newest version of the contract that it answers.
    pub api_version: u32,
    /// Oldest version of the contract that it answers.
    pub oldest_api_version: u32,
    /// Its process.
    pub pid: u32,
    /// Since its start.
    pub uptime_ms: u64,
    /// Machines that run now.
    pub live_machines: usize,
    /// Requests in work now, this one left out.
    pub requests: usize,
    /// Where it listens.
    pub socket: String,
    /// Where it writes what happens.
    pub log: String,
}

/// Ends the daemon.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShutdownRequest {
    /// End also the runs in work. Without, a daemon in use refuses with `daemon_busy`.
    #[serde(default)]
    pub force: bool,
}

/// The daemon is about to end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShutdownResult {
    /// The process that ends.
    pub pid: u32,
    /// Always true.
    pub stopping: bool,
}

/// Operations without progress have no events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NoEvent {}
