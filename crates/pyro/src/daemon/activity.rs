//! Who is being served. The daemon may end only when nobody has been for a while.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// Counts requests in work, from their connection's first byte to the end of their clean-up.
#[derive(Debug)]
pub(crate) struct Activity {
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    in_work: usize,
    last_change: Instant,
}

/// One request in work, until it is dropped.
#[derive(Debug)]
pub(crate) struct InWork {
    state: watch::Sender<State>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State { in_work: 0, last_change: Instant::now() }) }
    }

    /// Counts one more.
    pub(crate) fn begin(&self) -> InWork {
        change(&self.state, |in_work| in_work + 1);
        InWork { state: self.state.clone() }
    }

    /// How many are in work.
    pub(crate) fn in_work(&self) -> usize {
        self.state.borrow().in_work
    }

    /// Returns when at most so many are in work.
    pub(crate) async fn at_most(&self, count: usize) {
        let mut changes = self.state.subscribe();
        // The sender lives in `self`, so this never fails.
        let _state = changes.wait_for(|state| state.in_work <= count).await;
    }

    /// Returns when nothing has been in work for so long, without a break.
    pub(crate) async fn idle_for(&self, idle: Duration) {
        let mut changes = self.state.subscribe();
        loop {
            let State { in_work, last_change } = *changes.borrow_and_update();
            let changed = async {
                // The sender lives in `self`, so this never fails.
                let _changed = changes.changed().await;
            };
            if in_work > 0 {
                changed.await;
                continue;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(last_change + idle) => return,
            }
        }
    }

    /// Puts the end of idleness off, as if there had been work just now.
    pub(crate) fn postpone(&self) {
        change(&self.state, |in_work| in_work);
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        change(&self.state, |in_work| in_work - 1);
    }
}

fn change(state: &watch::Sender<State>, next: impl FnOnce(usize) -> usize) {
    state.send_modify(|state| {
        *state = State { in_work: next(state.in_work), last_change: Instant::now() };
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idleness_begins_when_the_last_request_ends() {
        let activity = Activity::new();
        let begin = Instant::now();
        let request = activity.begin();
        let idle = activity.idle_for(Duration::from_secs(10));
        let work = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(request);
        };
        tokio::join!(idle, work);
        assert_eq!(begin.elapsed(), Duration::from_secs(70));
        assert_eq!(activity.in_work(), 0);
    }
}
