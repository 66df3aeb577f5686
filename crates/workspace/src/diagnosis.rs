//! The last check of `pyro doctor`: restore a machine and run `true` in it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{CommandEnd, Error, Host, RunIo, RunOutcome, RunRequest};

/// Longest time the trial command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `true` in a machine of `environment`. `Ok` only if it exited with 0.
pub async fn trial_run(host: &Host, environment: &str) -> Result<RunOutcome, Trial> {
    let (events, mut told) = mpsc::channel(16);
    let (_no_input, stdin) = mpsc::channel(1);
    let mut request = RunRequest::new(environment, vec![b"/bin/true".to_vec()]);
    request.timeout = PATIENCE;
    let io = RunIo { events, stdin, cancel: CancellationToken::new() };
    let drain = async { while told.recv().await.is_some() {} };
    let (outcome, ()) = tokio::join!(host.run(request, io), drain);
    match outcome? {
        outcome if outcome.end == CommandEnd::Exited(0) => Ok(outcome),
        outcome => Err(Trial::Unexpected(outcome.end)),
    }
}

/// Why the trial failed.
#[derive(Debug, thiserror::Error)]
pub enum Trial {
    /// The run failed.
    #[error(transparent)]
    Run(#[from] Error),
    /// `true` did not exit with 0.
    #[error("`true` ended with {0:?} in the guest")]
    Unexpected(CommandEnd),
}
