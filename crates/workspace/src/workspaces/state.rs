//! What may be asked of a workspace in which state: the one table, pure.
//!
//! | | use | start | stop | delete | update | read disk | snapshot, fork | reset | sleep |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | creating | – | – | – | – | – | – | – | – | – |
//! | started | yes | is so | yes | yes | yes | – | yes | yes | yes |
//! | started, stands still: disk full, disk failed, paused | stalled | stalled | stalled | yes | yes | – | stalled | yes | stalled |
//! | started, stands still: broken | stalled | stalled | yes | yes | yes | – | stalled | yes | stalled |
//! | stopping | – | – | yes | yes | – | – | – | – | – |
//! | stopping, stands still: disk full, disk failed, paused | – | – | stalled | yes | – | – | – | – | – |
//! | stopping, stands still: broken | – | – | yes | yes | – | – | – | – | – |
//! | stopped | – | yes | is so | yes | yes | yes | yes | yes | – |
//! | falling asleep | – | – | – | yes | – | – | – | – | – |
//! | asleep | awake | awake | awake | yes | yes | yes | awake | yes | is so |
//! | starting | – | – | – | yes | – | – | – | – | – |
//! | deleting | – | – | – | yes | – | – | – | – | – |
//!
//! *Awake*: it is woken up, and then it is done.
//!
//! The disk is read past the guest, so only when no machine writes to it.
//!
//! A machine that stands still is not shut down: its guest holds what is not on the disk yet, and it goes on. One that
//! is broken never does, and is ended.
//!
//! A driver does one thing at a time, so it is asked in a state between two others only after something failed there:
//! then what was begun may be done again, and the workspace may go.

use pyro_engine::StallCause;

use super::{
    id::SnapshotId,
    record::{StopReason, WorkspaceState},
};

/// What somebody wants of a workspace as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Work in its guest: commands, files, patches, transfers.
    Use,
    /// Have a running machine.
    Start,
    /// Have none.
    Stop,
    /// Be gone.
    Delete,
    /// Another name, label, time to live or time until it sleeps.
    Update,
    /// Have its disk read by the host.
    ReadDisk,
    /// Have its state of now kept, to go back to or to begin others from.
    Snapshot,
    /// Go on from a state that was kept.
    Reset,
    /// Have its machine saved and ended until it is used.
    Sleep,
}

/// What the table says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Do it.
    Accepted,
    /// Nothing is to be done.
    AlreadySo,
    /// Wake it up, then ask again.
    Awake,
    /// Not while the machine stands still for this cause.
    Stalled(StallCause),
    /// Not now, for this reason: a fragment that reads after "workspace `x` ".
    Denied(String),
}

/// Asks the table about a workspace in this state, whose machine stands still for that cause if it does.
pub(crate) fn decide(state: &WorkspaceState, stall: Option<StallCause>, wish: Wish) -> Verdict {
    use StallCause::{Broken, DiskFailed, DiskFull, Paused};
    use Verdict::{Accepted, AlreadySo, Awake, Denied, Stalled};
    use WorkspaceState::{Asleep, Creating, Deleting, FallingAsleep, Started, Starting, Stopped, Stopping};
    match (state, wish) {
        (Creating { .. }, _) => Denied("is still being created".to_owned()),
        (Started { .. }, wish) => match (stall, wish) {
            (_, Wish::Delete | Wish::Update | Wish::Reset) => Accepted,
            (None, Wish::Use | Wish::Stop | Wish::Snapshot | Wish::Sleep) => Accepted,
            (None, Wish::Start) => AlreadySo,
            (Some(Broken), Wish::Stop) => Accepted,
            (Some(cause @ (DiskFull | DiskFailed | Paused)), Wish::Stop) => Stalled(cause),
            (Some(cause), Wish::Use | Wish::Start | Wish::Snapshot | Wish::Sleep) => Stalled(cause),
            (_, Wish::ReadDisk) => {
                Denied("has a machine, which writes to its disk; stop it first".to_owned())
            }
        },
        (Stopping { .. }, Wish::Stop) => match stall {
            None | Some(Broken) => Accepted,
            Some(cause @ (DiskFull | DiskFailed | Paused)) => Stalled(cause),
        },
        (Stopping { .. }, Wish::Delete) => Accepted,
        (Stopping { .. }, _) => Denied("is stopping".to_owned()),
        (Stopped { .. }, Wish::Stop) => AlreadySo,
        (Stopped { reason }, Wish::Use | Wish::Sleep) => {
            Denied(format!("is stopped ({})", reason.explanation()))
        }
        (Stopped { .. }, _) => Accepted,
        (Asleep { .. }, Wish::Delete | Wish::Update | Wish::ReadDisk | Wish::Reset) => Accepted,
        (Asleep { .. }, Wish::Sleep) => AlreadySo,
        (Asleep { .. }, Wish::Use | Wish::Start | Wish::Stop | Wish::Snapshot) => Awake,
        (FallingAsleep { .. } | Starting { .. } | Deleting { .. }, Wish::Delete) => Accepted,
        (FallingAsleep { .. }, _) => Denied("is falling asleep".to_owned()),
        (Starting { .. }, _) => Denied("is starting".to_owned()),
        (Deleting { .. }, _) => Denied("is being deleted".to_owned()),
    }
}

impl StopReason {
    /// In words, for people.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Requested => "it was asked to stop",
            Self::Expired => "it was not used within its time to live",
            Self::PoweredOff => "its guest powered off",
            Self::MachineLost => "its machine ended unexpectedly",
            Self::HostRestarted => "the host was restarted",
            Self::StartFailed => "its last start failed",
        }
    }

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Expired => "expired",
            Self::PoweredOff => "powered_off",
            Self::MachineLost => "machine_lost",
            Self::HostRestarted => "host_restarted",
            Self::StartFailed => "start_failed",
        }
    }
}

impl WorkspaceState {
    /// The contract's word: `created`, `started` or `stopped`, and `sleeping` beside them.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Creating { .. } => "created",
            Self::Started { .. } | Self::Stopping { .. } | Self::FallingAsleep { .. } => "started",
            Self::Asleep { .. } | Self::Starting { from: Some(_), .. } => "sleeping",
            Self::Stopped { .. } | Self::Starting { .. } | Self::Deleting { .. } => "stopped",
        }
    }

    /// Whether it is stopped because nobody used it.
    pub(crate) fn has_expired(&self) -> bool {
        matches!(self, Self::Stopped { reason: StopReason::Expired })
    }

    /// What it goes on from when it wakes up.
    pub(crate) fn asleep(&self) -> Option<&SnapshotId> {
        match self {
            Self::Asleep { snapshot } => Some(snapshot),
            Self::Starting { from, .. } => from.as_ref(),
            _ => None,
        }
    }

    /// The machine that lives, or may live, in this state.
    pub(crate) fn machine(&self) -> Option<&pyro_engine::MachineId> {
        match self {
            Self::Creating { machine } | Self::Deleting { machine } => machine.as_ref(),
            Self::Started { machine }
            | Self::Stopping { machine, .. }
            | Self::FallingAsleep { machine }
            | Self::Starting { machine, .. } => Some(machine),
            Self::Stopped { .. } | Self::Asleep { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use pyro_engine::MachineId;

    use super::*;

    #[test]
    fn the_whole_table() {
        let machine = MachineId::from_bytes([0; 6]);
        let started = WorkspaceState::Started { machine: machine.clone() };
        let stopping = WorkspaceState::Stopping { machine: machine.clone(), reason: StopReason::Requested };
        let snapshot = SnapshotId::from_bytes([1; 6]);
        let rows = [
            (WorkspaceState::Creating { machine: None }, None, "---------"),
            (started.clone(), None, "a=aaa-aaa"),
            (started.clone(), Some(StallCause::DiskFull), "sssaa-sas"),
            (started.clone(), Some(StallCause::DiskFailed), "sssaa-sas"),
            (started.clone(), Some(StallCause::Paused), "sssaa-sas"),
            (started, Some(StallCause::Broken), "ssaaa-sas"),
            (stopping.clone(), None, "--aa-----"),
            (stopping.clone(), Some(StallCause::DiskFull), "--sa-----"),
            (stopping.clone(), Some(StallCause::DiskFailed), "--sa-----"),
            (stopping.clone(), Some(StallCause::Paused), "--sa-----"),
            (stopping, Some(StallCause::Broken), "--aa-----"),
            (WorkspaceState::Stopped { reason: StopReason::Expired }, None, "-a=aaaaa-"),
            (WorkspaceState::FallingAsleep { machine: machine.clone() }, None, "---a-----"),
            (WorkspaceState::Asleep { snapshot: snapshot.clone() }, None, "wwwaaawa="),
            (WorkspaceState::Starting { machine: machine.clone(), from: None }, None, "---a-----"),
            (WorkspaceState::Starting { machine, from: Some(snapshot) }, None, "---a-----"),
            (WorkspaceState::Deleting { machine: None }, None, "---a-----"),
        ];
        for (state, stall, expected) in rows {
            let wishes = [
                Wish::Use,
                Wish::Start,
                Wish::Stop,
                Wish::Delete,
                Wish::Update,
                Wish::ReadDisk,
                Wish::Snapshot,
                Wish::Reset,
                Wish::Sleep,
            ];
            let verdicts = wishes.map(|wish| match decide(&state, stall, wish) {
                Verdict::Accepted => 'a',
                Verdict::AlreadySo => '=',
                Verdict::Awake => 'w',
                Verdict::Stalled(cause) if Some(cause) == stall => 's',
                Verdict::Stalled(cause) => panic!("{cause}"),
                Verdict::Denied(_) => '-',
            });
            assert_eq!(String::from_iter(verdicts), expected, "{state:?}, {stall:?}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let stopped = WorkspaceState::Stopped { reason: StopReason::Expired };
        assert_eq!(
            decide(&stopped, None, Wish::Use),
            Verdict::Denied("is stopped (it was not used within its time to live)".into())
        );
    }
}
