//! The signals that end a run. One that this process was started to ignore stays ignored: `nohup` means it for the
//! hang-up of a terminal, and a shell without job control for the Ctrl-C that is not for its background jobs.

use pyro_api::{ErrorBody, ErrorCode};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::output::{Failure, Status};

/// The signals that are watched, each with the exit status that it stands for.
pub(super) struct Signals(Vec<(Signal, Status)>);

impl Signals {
    /// Watches for interruption, termination and hang-up from here on.
    pub(super) fn watch() -> Result<Self, Failure> {
        // Without that file, nothing is known to be ignored.
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let kinds = [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15), (SignalKind::hangup(), 1)];
        let mut watched = Vec::new();
        for (kind, number) in kinds {
            if ignored & (1 << (number - 1)) != 0 {
                continue;
            }
            let signal = signal(kind).map_err(|error| {
                ErrorBody::new(ErrorCode::HostExhausted, format!("cannot watch for signals: {error}"))
            })?;
            watched.push((signal, 128 + number));
        }
        Ok(Self(watched))
    }

    /// The exit status of the next one.
    pub(super) async fn next(&mut self) -> Status {
        std::future::poll_fn(|context| {
            for (signal, status) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*status);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The ignored signals of a `/proc/PID/status`; signal n is bit n - 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read() {
        assert_eq!(ignored("SigBlk:\t00000000000000ff\nSigIgn:\t0000000000001003\n"), 0x1003);
        assert_eq!(ignored("Name:\tpyro\n"), 0);
    }
}
