//! The answers about workspaces: each operation checked, handed to the library, and told in the contract's words.

pub(super) mod archive;
pub(super) mod changes;
pub(super) mod commands;
mod convert;
pub(super) mod disk;
mod entries;
pub(super) mod failures;
pub(super) mod files;
pub(super) mod lifecycle;
mod page;
pub(super) mod snapshots;
pub(super) mod summary;
pub(super) mod timeline;
pub(super) mod transfer;
pub(super) mod vm;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pyro_api::workspace::identity::Labels;

/// Labels in the library's words.
fn labels(labels: Labels) -> BTreeMap<String, String> {
    labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// Seconds since the epoch, as the contract has times.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
