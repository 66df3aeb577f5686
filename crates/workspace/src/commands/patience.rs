//! How long to wait for a guest, whose clock stands still when its machine does.

use std::time::Duration;

use pyro_engine::Stall;
use tokio::{sync::watch, time::Instant};

/// Tells when a machine stands still.
pub(super) type Stalls = watch::Receiver<Option<Stall>>;

/// Resolves when the machine has run for so long; after each time that it stood still it gets `least` at least.
pub(super) async fn has_run(mut left: Duration, least: Duration, stalls: Option<Stalls>) {
    let Some(mut stalls) = stalls else { return tokio::time::sleep(left).await };
    loop {
        // A machine that is gone stands still no more.
        if stalls.wait_for(Option::is_none).await.is_err() {
            return tokio::time::sleep(left).await;
        }
        let since = Instant::now();
        let stood_still = tokio::select! {
            () = tokio::time::sleep(left) => return,
            stood_still = stalls.wait_for(Option::is_some) => stood_still.is_ok(),
        };
        left = left.saturating_sub(since.elapsed());
        if !stood_still {
            return tokio::time::sleep(left).await;
        }
        left = left.max(least);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use pyro_engine::StallCause;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_a_machine_stands_still_does_not_count() {
        let (machine, stalls) = watch::channel(None);
        let begun = Instant::now();
        let waiting = tokio::spawn(has_run(60 * SECOND, 15 * SECOND, Some(stalls)));
        tokio::time::sleep(50 * SECOND).await;
        machine.send_replace(Some(Stall { cause: StallCause::DiskFull, since: SystemTime::now() }));
        tokio::time::sleep(3600 * SECOND).await;
        assert!(!waiting.is_finished());
        machine.send_replace(None);
        waiting.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 50 + 3600 + 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_is_gone_is_waited_for_no_longer() {
        let (machine, stalls) =
            watch::channel(Some(Stall { cause: StallCause::Broken, since: SystemTime::now() }));
        let begun = Instant::now();
        let waiting = tokio::spawn(has_run(60 * SECOND, 15 * SECOND, Some(stalls)));
        tokio::task::yield_now().await;
        drop(machine);
        waiting.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 60);
    }
}
