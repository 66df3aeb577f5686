//! Medians of repeated measurements.

use std::time::Duration;

/// A time as it stands in the table.
pub(crate) fn milliseconds(taken: Duration) -> f64 {
    taken.as_secs_f64() * 1000.0
}

/// Repeated measurements of one thing, milliseconds if they are times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, taken: Duration) {
        self.push_value(milliseconds(taken));
    }

    /// Something that is no time, in a unit of its own.
    pub(crate) fn push_value(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; not a number when there is none.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that this share of the samples does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index within the samples"
        )]
        let place = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found_whatever_the_order() {
        let mut samples = Samples::default();
        for ms in [30, 10, 20, 50, 40] {
            samples.push(Duration::from_millis(ms));
        }
        assert!((samples.median() - 30.0).abs() < 1e-9);
        assert!((samples.quantile(1.0) - 50.0).abs() < 1e-9);
        assert!(Samples::default().median().is_nan());
    }
}
