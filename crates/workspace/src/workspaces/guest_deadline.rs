//! When a guest powers off by itself: a while after the host would have stopped its workspace, so that it ends without a
//! daemon too, and never under work that goes on.
//!
//! The guest is told a time from now and keeps it. It is told again when that has become wrong, but not at every turn.

use std::time::Duration;

use tokio::time::Instant;

/// The guest's deadline comes this much later than the host's, so that it is the host that ends it, if it lives.
const MARGIN: Duration = Duration::from_secs(60);
/// It is moved when it is off by this much or by a tenth of the time that is left.
const SLACK: Duration = Duration::from_secs(30);

/// What the guest was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GuestDeadline {
    /// By somebody else, or it may not have heard.
    Unknown,
    /// To live on.
    Never,
    /// To power off then.
    At(Instant),
}

/// How long a guest may live whose workspace may stay unused for `life` from now on; none: for ever.
pub(super) fn life_in_guest(life: Option<Duration>) -> Option<Duration> {
    life.map(|life| life.saturating_add(MARGIN))
}

impl GuestDeadline {
    /// A guest is told to live so long, see [`life_in_guest`].
    pub(super) fn told(now: Instant, life_in_guest: Option<Duration>) -> Self {
        // What no clock can count to is never.
        let end = life_in_guest.and_then(|life| now.checked_add(life));
        end.map_or(Self::Never, Self::At)
    }

    /// Whether the guest has to be told again for its workspace to live for `life` from now on.
    pub(super) fn is_off(self, now: Instant, life: Option<Duration>) -> bool {
        match (self, Self::told(now, life_in_guest(life))) {
            (Self::Never, Self::Never) => false,
            (Self::At(told), Self::At(wanted)) => {
                let slack = SLACK.min(life.unwrap_or_default() / 10);
                wanted.max(told) - wanted.min(told) > slack
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_goes_on_moves_the_deadline_long_before_it_comes() {
        let begin = Instant::now();
        for ttl in [1, 10, 600, 86_400].map(Duration::from_secs) {
            let deadline = GuestDeadline::told(begin, life_in_guest(Some(ttl)));
            let slack = SLACK.min(ttl / 10);
            assert!(!deadline.is_off(begin + slack, Some(ttl)), "not at every turn: {ttl:?}");
            assert!(deadline.is_off(begin + slack + Duration::from_millis(1), Some(ttl)), "{ttl:?}");
        }
    }

    #[test]
    fn another_time_to_live_is_told_at_once() {
        let (now, hour) = (Instant::now(), Some(Duration::from_secs(3600)));
        let deadline = GuestDeadline::told(now, life_in_guest(hour));
        assert!(deadline.is_off(now, None) && deadline.is_off(now, Some(Duration::from_secs(60))));
        let never = GuestDeadline::told(now, None);
        assert!(never.is_off(now, hour) && !never.is_off(now, None));
    }

    #[test]
    fn a_guest_of_which_nothing_is_known_is_told() {
        let now = Instant::now();
        for life in [None, Some(Duration::ZERO), Some(Duration::from_secs(600))] {
            assert!(GuestDeadline::Unknown.is_off(now, life), "{life:?}");
        }
        assert_eq!(GuestDeadline::told(now, Some(Duration::MAX)), GuestDeadline::Never);
    }
}
