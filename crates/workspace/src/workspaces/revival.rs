//! What is done about a machine that stands still: pure.
//!
//! | cause | what gets it going |
//! | --- | --- |
//! | disk full | it is resumed as soon as there is room |
//! | disk failed | it is resumed now and then: a quota may have been raised, a disk mended |
//! | paused | whoever paused it resumes it |
//! | broken | nothing: it is ended when its workspace is stopped |
//!
//! One that stands still again at once is resumed later and later, so that a disk on which nothing can be written is
//! asked a few times and not for ever.

use std::time::Duration;

use pyro_engine::StallCause;
use tokio::time::Instant;

/// Room that a machine which found none must have to go on.
const ROOM_BYTES: u64 = 64 << 20;
/// The pause after the first try.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The pause after many.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A machine that ran for so long is not standing still again but anew.
const CALM: Duration = Duration::from_secs(60);
/// How often it is looked whether others have done something.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How it goes with getting one machine going.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Revival {
    tried: Option<Try>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Try {
    at: Instant,
    pause: Duration,
}

impl Revival {
    /// Whether to resume a machine that stands still for this cause now.
    pub(super) fn is_due(&self, cause: StallCause, free_bytes: u64, now: Instant) -> bool {
        let has_waited = self.tried.is_none_or(|tried| now >= tried.at + tried.pause);
        match cause {
            StallCause::DiskFull => has_waited && free_bytes >= ROOM_BYTES,
            StallCause::DiskFailed => has_waited,
            StallCause::Paused | StallCause::Broken => false,
        }
    }

    /// It was resumed just now, or could not be.
    pub(super) fn note_try(&mut self, now: Instant) {
        let pause = match self.tried {
            Some(tried) if now < tried.at + tried.pause + CALM => (2 * tried.pause).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        self.tried = Some(Try { at: now, pause });
    }

    /// When to look at a machine that stands still again.
    pub(super) fn next_look(&self, cause: StallCause, now: Instant) -> Instant {
        match cause {
            StallCause::DiskFull | StallCause::DiskFailed => {
                let soon = now + FIRST_PAUSE;
                self.tried.map_or(soon, |tried| soon.max(tried.at + tried.pause))
            }
            StallCause::Paused | StallCause::Broken => now + WATCH_INTERVAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = ROOM_BYTES;

    #[test]
    fn only_what_room_or_time_can_help_is_resumed() {
        let (revival, now) = (Revival::default(), Instant::now());
        let is_due = |cause, free_bytes| revival.is_due(cause, free_bytes, now);
        assert!(is_due(StallCause::DiskFull, ROOM) && !is_due(StallCause::DiskFull, ROOM - 1));
        assert!(is_due(StallCause::DiskFailed, 0));
        assert!(!is_due(StallCause::Paused, ROOM) && !is_due(StallCause::Broken, ROOM));
    }

    #[test]
    fn a_disk_that_fails_again_and_again_is_tried_less_and_less() {
        let begun = Instant::now();
        let (mut revival, mut now, mut tries) = (Revival::default(), begun, 0);
        while now < begun + Duration::from_secs(600) {
            if revival.is_due(StallCause::DiskFailed, 0, now) {
                revival.note_try(now);
                tries += 1;
            }
            let next = revival.next_look(StallCause::DiskFailed, now);
            assert!(next > now && next <= now + LONGEST_PAUSE);
            now = next;
        }
        assert!((20..40).contains(&tries), "{tries}");
        // It ran for a while: that is another matter.
        revival.note_try(now + LONGEST_PAUSE + CALM);
        let soon = now + LONGEST_PAUSE + CALM + FIRST_PAUSE;
        assert!(revival.is_due(StallCause::DiskFailed, 0, soon));
    }
}
