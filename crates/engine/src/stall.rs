//! Why a machine stands still although its process lives.

use std::{fmt, time::SystemTime};

/// A machine that stands still: its virtual processors do not run, nothing of it is lost, and
/// [`Machine::resume`](crate::Machine::resume) is what can get it going.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stall {
    /// Why.
    pub cause: StallCause,
    /// Since when, as this process saw it: a machine that was found so when it was adopted stands so at least since then.
    pub since: SystemTime,
}

/// Why a machine stands still.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StallCause {
    /// The host has no room for what the guest writes. The write is kept and done when the machine is resumed, which stands
    /// still again if there still is no room.
    DiskFull,
    /// The host failed to write for another reason, such as a quota or a broken disk. The write is kept as above.
    DiskFailed,
    /// Somebody on the host paused it, or it was saved.
    Paused,
    /// The virtual processors cannot go on, as when KVM meets what it cannot execute: only its end helps.
    Broken,
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiskFull => "the host's disk is full",
            Self::DiskFailed => "the host cannot write to the machine's disk",
            Self::Paused => "paused",
            Self::Broken => "its virtual processors cannot go on",
        })
    }
}
