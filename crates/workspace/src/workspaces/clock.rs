//! Notices when the host's wall clock jumped: it slept, or somebody set it. A guest's clock does not follow by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A drift that a guest is told of.
const JUMP: Duration = Duration::from_secs(1);

/// The clocks of the host. A test can let it sleep.
#[derive(Clone, Default, Debug)]
pub(crate) struct HostClock {
    slept_ms: Arc<AtomicU64>,
}

impl HostClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now() + Duration::from_millis(self.slept_ms.load(Ordering::Relaxed))
    }

    /// As if the host had slept for so long: its wall clock goes on and its steady one does not.
    #[cfg(test)]
    pub(super) fn sleep(&self, time: Duration) {
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.slept_ms.fetch_add(time_ms, Ordering::Relaxed);
    }
}

/// The host's wall clock beside its monotonic one.
#[derive(Debug)]
pub(super) struct WallClock {
    host: HostClock,
    wall: SystemTime,
    steady: Instant,
    /// Whatever the clocks say, the guest's may be wrong.
    is_suspect: bool,
}

impl WallClock {
    pub(super) fn new(host: HostClock) -> Self {
        Self { wall: host.wall(), steady: Instant::now(), is_suspect: false, host }
    }

    /// The guest's clock stood still: as good as a jump.
    pub(super) fn suspect(&mut self) {
        self.is_suspect = true;
    }

    /// Whether it went otherwise than the steady clock since it was last looked at.
    pub(super) fn has_jumped(&mut self) -> bool {
        let now = Self::new(self.host.clone());
        let before = std::mem::replace(self, now);
        let jumped = before.is_suspect || is_jump(before.wall, self.wall, self.steady - before.steady);
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
