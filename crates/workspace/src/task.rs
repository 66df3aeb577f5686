//! Tasks of ours whose end is always looked at.

use std::future::Future;

use crate::error::Error;

/// Runs `work` to its end even when the caller goes away.
pub(crate) async fn spawn<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Error::Task(error.to_string())))
}

/// Runs `work`, which blocks, on a thread of its own kind.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::Task(error.to_string())))
}
