//! What may be asked of a workspace in which state: the one table, pure.

use super::record::{StopReason, WorkspaceState};

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
    /// Another name, label or time to live.
    Update,
}

/// What the table says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Do it.
    Accepted,
    /// Nothing is to be done.
    AlreadySo,
    /// Not now, for this reason: a fragment that reads after "workspace `x` ".
    Denied(String),
}

/// Asks the table. A driver does one thing at a time, so the states in between are only met after a crash, before
/// reconciliation, or while a workspace is being made.
pub(crate) fn decide(state: &WorkspaceState, wish: Wish) -> Verdict {
    use Verdict::{Accepted, AlreadySo};
    use WorkspaceState::{Creating, Deleting, Started, Starting, Stopped, Stopping};
    match (state, wish) {
        (Started { .. }, Wish::Use | Wish::Stop | Wish::Delete | Wish::Update) => Accepted,
        (Started { .. }, Wish::Start) => AlreadySo,
        (Stopped { .. }, Wish::Start | Wish::Delete | Wish::Update) => Accepted,
        (Stopped { .. }, Wish::Stop) => AlreadySo,
        (Stopped { reason }, Wish::Use) => Verdict::Denied(format!("is stopped ({})", reason.explanation())),
        (Creating { .. }, _) => Verdict::Denied("is still being created".to_owned()),
        (Starting { .. }, _) => Verdict::Denied("is starting".to_owned()),
        (Stopping { .. }, _) => Verdict::Denied("is stopping".to_owned()),
        (Deleting { .. }, Wish::Delete) => Accepted,
        (Deleting { .. }, _) => Verdict::Denied("is being deleted".to_owned()),
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
    /// The contract's word: `created`, `started` or `stopped`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Creating { .. } => "created",
            Self::Started { .. } | Self::Stopping { .. } => "started",
            Self::Stopped { .. } | Self::Starting { .. } | Self::Deleting { .. } => "stopped",
        }
    }

    /// Whether it is stopped because nobody used it.
    pub(crate) fn has_expired(&self) -> bool {
        matches!(self, Self::Stopped { reason: StopReason::Expired })
    }

    /// The machine that lives, or may live, in this state.
    pub(crate) fn machine(&self) -> Option<&pyro_engine::MachineId> {
        match self {
            Self::Creating { machine } | Self::Deleting { machine } => machine.as_ref(),
            Self::Started { machine } | Self::Stopping { machine, .. } | Self::Starting { machine } => {
                Some(machine)
            }
            Self::Stopped { .. } => None,
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
        let states = [
            WorkspaceState::Creating { machine: None },
            WorkspaceState::Started { machine: machine.clone() },
            WorkspaceState::Stopping { machine: machine.clone(), reason: StopReason::Requested },
            WorkspaceState::Stopped { reason: StopReason::Expired },
            WorkspaceState::Starting { machine },
            WorkspaceState::Deleting { machine: None },
        ];
        let wishes = [Wish::Use, Wish::Start, Wish::Stop, Wish::Delete, Wish::Update];
        let table: Vec<String> = states
            .iter()
            .map(|state| {
                wishes
                    .iter()
                    .map(|wish| match decide(state, *wish) {
                        Verdict::Accepted => 'a',
                        Verdict::AlreadySo => '=',
                        Verdict::Denied(_) => '-',
                    })
                    .collect()
            })
            .collect();
        //                 use, start, stop, delete, update
        assert_eq!(table, ["-----", "a=aaa", "-----", "-a=aa", "-----", "---a-"]);
    }

    #[test]
    fn a_refusal_says_why() {
        let stopped = WorkspaceState::Stopped { reason: StopReason::Expired };
        assert_eq!(
            decide(&stopped, Wish::Use),
            Verdict::Denied("is stopped (it was not used within its time to live)".into())
        );
    }
}
