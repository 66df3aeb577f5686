//! The rate of the host's timestamp counter, which an emulated guest sees as its own.
#![expect(unsafe_code, reason = "reads the timestamp counter")]

use std::time::{Duration, Instant};

/// Long enough for an error of a few parts in a million.
const MEASURING_TIME: Duration = Duration::from_millis(20);

/// Readings of which the best is taken: whoever is interrupted between two clocks reads them at different times.
const READINGS: usize = 16;

/// Measures the rate in kHz. Blocks for 20 ms.
pub(crate) fn measure_khz() -> u64 {
    let (start, start_ticks) = now();
    while start.elapsed() < MEASURING_TIME {
        std::hint::spin_loop();
    }
    let (end, end_ticks) = now();
    let khz = u128::from(end_ticks.wrapping_sub(start_ticks)) * 1_000_000 / (end - start).as_nanos();
    u64::try_from(khz).unwrap_or(0)
}

/// One moment on both clocks.
fn now() -> (Instant, u64) {
    let readings = (0..READINGS).map(|_| {
        let before = Instant::now();
        // SAFETY: RDTSC is part of every x86_64 processor and touches no memory.
        let ticks = unsafe { core::arch::x86_64::_rdtsc() };
        (before.elapsed(), before, ticks)
    });
    readings
        .min_by_key(|(uncertainty, ..)| *uncertainty)
        .map_or_else(|| (Instant::now(), 0), |(uncertainty, before, ticks)| (before + uncertainty / 2, ticks))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_measurements_agree() {
        let (a, b) = (super::measure_khz(), super::measure_khz());
        assert!(a.abs_diff(b) < a / 100, "{a} {b}");
    }
}
