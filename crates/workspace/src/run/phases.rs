//! What each phase of a run took.

use std::time::{Duration, Instant};

/// Wall time of each phase.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PhaseTimes {
    /// Finding the environment; making it when it was absent.
    pub environment: Duration,
    /// Finding the template; building it when it was absent.
    pub template: Duration,
    /// The machine's directory and disk.
    pub claim: Duration,
    /// Starting the VMM until the guest runs.
    pub start: Duration,
    /// Until the guest has answered and has its own identity.
    pub greet: Duration,
    /// The command, seen from the host.
    pub command: Duration,
    /// Ending the VMM and removing the directory.
    pub cleanup: Duration,
}

impl PhaseTimes {
    /// Each phase by name, in order.
    pub fn named(&self) -> [(&'static str, Duration); 7] {
        [
            ("environment", self.environment),
            ("template", self.template),
            ("claim", self.claim),
            ("start", self.start),
            ("greet", self.greet),
            ("command", self.command),
            ("cleanup", self.cleanup),
        ]
    }
}

/// Measures one phase after the other.
#[derive(Debug)]
pub(super) struct Laps(Instant);

impl Laps {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Time since the last lap.
    pub(super) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let taken = now - self.0;
        self.0 = now;
        taken
    }
}
