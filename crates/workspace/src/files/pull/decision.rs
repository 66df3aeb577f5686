//! The three-way merge of one path, as a pure function: what was in common, what the guest has, what the host has.
//!
//! | guest and base | guest and host | host and base | |
//! |---|---|---|---|
//! | the same | | | nothing to bring back |
//! | | the same | | both have it already |
//! | | | the same | the guest's is taken |
//! | | | | both changed it: a conflict, nothing is written |
//!
//! What counts is what git would keep: kind, content, target, and whether a file may be executed. Owners, times, other
//! permissions and the modes of directories differ between the two sides without anybody having changed them.

use pyro_protocol::work::{ChangeStatus, Entry, EntryKind};

/// What is at a path, as far as it counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Thing {
    /// A regular file.
    File {
        /// Its content; none if it is known to be that of neither other side.
        sha256: Option<[u8; 32]>,
        /// Whether its owner may execute it.
        is_executable: bool,
    },
    /// A directory, whatever is in it.
    Directory,
    /// A symbolic link.
    Link {
        /// As it was written.
        target: Vec<u8>,
    },
    /// A socket, a device, or something that is in the way further up: never the same as anything.
    Other,
}

/// What becomes of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// The guest has not changed it.
    Untouched,
    /// Both sides have it alike, whoever changed it.
    Alike,
    /// Only the guest changed it.
    Take,
    /// Both changed it.
    Conflict {
        /// What the guest did.
        guest: ChangeStatus,
        /// What the host did.
        host: ChangeStatus,
    },
}

impl Thing {
    /// What the guest says is, or was, there.
    pub(super) fn of(entry: &Entry) -> Self {
        match entry.kind() {
            EntryKind::File => match <[u8; 32]>::try_from(entry.sha256.as_slice()) {
                Ok(sha256) => Self::File { sha256: Some(sha256), is_executable: is_executable(entry.mode) },
                Err(_) => Self::Other,
            },
            EntryKind::Directory => Self::Directory,
            EntryKind::Symlink => Self::Link { target: entry.link_target.clone() },
            EntryKind::Special => Self::Other,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other, _) | (Self::File { sha256: None, .. }, _) => false,
            (one, other) => one == other,
        }
    }

    fn is_of_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Whether a file of that mode may be executed by its owner.
pub(super) fn is_executable(mode: u32) -> bool {
    mode & 0o100 != 0
}

/// Decides one path.
pub(super) fn decide(base: Option<&Thing>, guest: Option<&Thing>, host: Option<&Thing>) -> Decision {
    if are_same(guest, base) {
        Decision::Untouched
    } else if are_same(guest, host) {
        Decision::Alike
    } else if are_same(host, base) {
        Decision::Take
    } else {
        Decision::Conflict { guest: status(base, guest), host: status(base, host) }
    }
}

fn are_same(one: Option<&Thing>, other: Option<&Thing>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.is_same(other),
        _ => false,
    }
}

/// How a path came from one state into another.
pub(super) fn status(before: Option<&Thing>, after: Option<&Thing>) -> ChangeStatus {
    match (before, after) {
        (None, _) => ChangeStatus::Added,
        (_, None) => ChangeStatus::Deleted,
        (Some(before), Some(after)) if !before.is_of_kind(after) => ChangeStatus::TypeChanged,
        _ => ChangeStatus::Modified,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn thing() -> impl Strategy<Value = Option<Thing>> {
        let file =
            (prop::option::weighted(0.9, 0_u8..3), any::<bool>()).prop_map(|(content, is_executable)| {
                Thing::File { sha256: content.map(|content| [content; 32]), is_executable }
            });
        let link = (0_u8..2).prop_map(|target| Thing::Link { target: vec![target] });
        prop_oneof![
            2 => Just(None),
            4 => file.prop_map(Some),
            1 => Just(Some(Thing::Directory)),
            2 => link.prop_map(Some),
            1 => Just(Some(Thing::Other)),
        ]
    }

    proptest! {
        #[test]
        fn no_edit_is_lost(base in thing(), guest in thing(), host in thing()) {
            let same = |one: &Option<Thing>, other: &Option<Thing>| are_same(one.as_ref(), other.as_ref());
            let decision = decide(base.as_ref(), guest.as_ref(), host.as_ref());
            let after = if decision == Decision::Take { &guest } else { &host };
            let is_reported = matches!(decision, Decision::Conflict { .. });
            if !same(&host, &base) {
                prop_assert_eq!(after, &host, "an edit of the host stays");
            }
            if !same(&guest, &base) {
                prop_assert!(is_reported || after == &guest || same(after, &guest), "{:?}", decision);
            }
            prop_assert!(!is_reported || after == &host, "a conflict writes nothing");
        }
    }
}
