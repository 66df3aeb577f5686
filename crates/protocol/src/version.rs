//! What each side speaks.
//!
//! A guest may have been frozen in a saved machine years ago, so a host speaks every version since 1, and the
//! session runs at the newest that both know. Only a guest that has forgotten all the host's versions is refused.
//! What comes between versions has a *feature* name; nobody sends what the other's hello did not name.

use crate::message::Hello;

/// Oldest version this crate speaks. Never raised.
pub const OLDEST: u32 = 1;
/// Newest version this crate speaks. Version 1 is that of release 1.0.
pub const NEWEST: u32 = 1;

/// Names in [`Hello::features`].
pub mod feature {
    /// The guest grows its file system when asked to.
    pub const GROW_DISK: &str = "grow-disk";
    /// The guest brings a file worker, moves its deadline, takes the time, syncs, and shuts down cleanly when asked to; it
    /// knows the overflow `BlockWhileRead`.
    pub const WORKSPACE: &str = "workspace";
    /// The guest holds its processes when asked to.
    pub const HOLD: &str = "hold";
    /// The guest opens terminals. Reserved.
    pub const PTY: &str = "pty";
    /// The guest dials TCP ports inside itself. Reserved.
    pub const TCP: &str = "tcp";
}

/// The version at which two sides can talk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(u32);

impl Version {
    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// There is no version that both sides speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("peer speaks protocol versions {peer_oldest} to {peer_newest}, this side {OLDEST} to {NEWEST}")]
pub struct VersionMismatch {
    /// Oldest version of the peer.
    pub peer_oldest: u32,
    /// Newest version of the peer.
    pub peer_newest: u32,
}

/// Hello of this side.
pub fn hello(features: &[&str], release: &str, boot_id: &[u8]) -> Hello {
    Hello {
        oldest_version: OLDEST,
        newest_version: NEWEST,
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        release: release.to_owned(),
        boot_id: boot_id.to_vec(),
    }
}

/// The version to speak with the side that sent `peer`.
pub fn negotiate(peer: &Hello) -> Result<Version, VersionMismatch> {
    let (peer_oldest, peer_newest) = (peer.oldest_version, peer.newest_version);
    let common = NEWEST.min(peer_newest);
    if peer_oldest > peer_newest || common < OLDEST.max(peer_oldest) {
        return Err(VersionMismatch { peer_oldest, peer_newest });
    }
    Ok(Version(common))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaking(oldest_version: u32, newest_version: u32) -> Result<u32, VersionMismatch> {
        negotiate(&Hello { oldest_version, newest_version, ..Hello::default() }).map(Version::number)
    }

    #[test]
    fn the_newest_common_version_is_taken() {
        assert_eq!(speaking(OLDEST, NEWEST), Ok(NEWEST));
        assert_eq!(speaking(1, 1), Ok(1));
        assert_eq!(speaking(1, NEWEST + 7), Ok(NEWEST));
        assert_eq!(speaking(NEWEST, NEWEST + 7), Ok(NEWEST));
    }

    #[test]
    fn a_guest_that_forgot_our_versions_is_refused() {
        assert!(speaking(NEWEST + 1, NEWEST + 7).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(speaking(0, 0).is_err());
        assert!(speaking(3, 1).is_err());
    }
}
