//! The rate of the host's timestamp counter, which an emulated guest sees as its own.
#![expect(unsafe_code, reason = "reads the timestamp counter")]

use std::time::{Duration, Instant};

/// Long enough for an error of a few parts in a million.
const MEASURING_TIME: Duration = Duration::from_millis(20);

/// Measures the rate in kHz. Blocks for 20 ms.
pub(crate) fn measure_khz() -> u64 {
    let (start, start_ticks) = now();
    loop {
        let (end, end_ticks) = now();
        let elapsed = end - start;
        if elapsed >= MEASURING_TIME {
            let khz = u128::from(end_ticks.wrapping_sub(start_ticks)) * 1_000_000 / elapsed.as_nanos();
            return u64::try_from(khz).unwrap_or(0);
        }
        std::hint::spin_loop();
    }
}

fn now() -> (Instant, u64) {
    // SAFETY: RDTSC is part of every x86_64 processor and touches no memory.
    let ticks = unsafe { core::arch::x86_64::_rdtsc() };
    (Instant::now(), ticks)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_measurements_agree() {
        let (a, b) = (super::measure_khz(), super::measure_khz());
        assert!(a.abs_diff(b) < a / 100, "{a} {b}");
    }
}
