//! Notices when the host's wall clock jumped: it slept, or somebody set it. A guest's clock does not follow by itself.

use std::time::{Duration, Instant, SystemTime};

/// A drift that a guest is told of.
const JUMP: Duration = Duration::from_secs(1);

/// The host's wall clock beside its monotonic one.
#[derive(Debug)]
pub(super) struct WallClock {
    wall: SystemTime,
    steady: Instant,
}

impl WallClock {
    pub(super) fn new() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// Whether it went otherwise than the steady clock since it was last looked at.
    pub(super) fn has_jumped(&mut self) -> bool {
        let before = std::mem::replace(self, Self::new());
        let jumped = is_jump(before.wall, self.wall, self.steady - before.steady);
        if !jumped {
            // Small drifts add up to one.
            *self = before;
        }
        jumped
    }
}

fn is_jump(before: SystemTime, now: SystemTime, passed: Duration) -> bool {
    match now.duration_since(before) {
        Ok(went) => went.abs_diff(passed) > JUMP,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_steadily_has_not_jumped() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let second = Duration::from_secs(1);
        assert!(!is_jump(start, start + 5 * second, 5 * second));
        assert!(is_jump(start, start + 3_600 * second, 5 * second));
        assert!(is_jump(start, start - second, 5 * second));
    }
}
