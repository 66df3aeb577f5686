//! What `pyro doctor` asks of the library: what lies in the way, and, last, whether a machine can be restored and runs
//! `true`.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use crate::machine_directory::Unclear;
use crate::{CommandEnd, Error, Host, Layout, RunIo, RunOutcome, RunRequest, machine_directory};

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

/// Machines of which nobody can tell whether somebody answers for them: they are spared. Blocks.
pub fn unclear_machines(layout: &Layout) -> Result<Vec<Unclear>, Error> {
    machine_directory::unclear(layout)
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
