//! A unary request in work, for which its client waits; and what becomes of it when that goes away.
//!
//! The table of operations says which: what is to be cancelled is broken off at once, so that no search goes on for
//! nobody. What is to finish goes on, counted among the requests in work, for as long as [`LONGEST_UNATTENDED`] allows.

use std::{future::Future, sync::Arc};

use pyro_api::{
    ErrorBody, ErrorCode, Operation,
    operation::{LONGEST_UNATTENDED, OnHangUp},
};
use tokio::task::{JoinError, JoinHandle};

use super::activity::InWork;

/// Dropped before the end, its client has gone.
pub(super) struct Attended<T: Send + 'static> {
    operation: &'static Operation,
    in_work: Arc<InWork>,
    /// None: it has ended.
    task: Option<JoinHandle<Result<T, ErrorBody>>>,
}

impl<T: Send + 'static> Attended<T> {
    /// Lets work begin, as a task of its own: a panic in it is the failure of this request alone.
    pub(super) fn begin(
        operation: &'static Operation,
        in_work: Arc<InWork>,
        work: impl Future<Output = Result<T, ErrorBody>> + Send + 'static,
    ) -> Self {
        Self { operation, in_work, task: Some(tokio::spawn(work)) }
    }

    /// Waits for the end.
    pub(super) async fn ended(mut self) -> Result<T, ErrorBody> {
        let ended = match &mut self.task {
            Some(task) => outcome(self.operation, task.await),
            None => Err(ErrorBody::new(ErrorCode::Internal, "the request has been answered before")),
        };
        self.task = None;
        ended
    }
}

impl<T: Send + 'static> Drop for Attended<T> {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take() else { return };
        let operation = self.operation.name;
        if self.operation.on_hang_up == OnHangUp::Cancel {
            tracing::debug!(operation, "its client went away, and it is broken off");
            return task.abort();
        }
        // Without a runtime everything ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let in_work = Arc::clone(&self.in_work);
        tracing::debug!(operation, "its client went away, and it goes on");
        runtime.spawn(async move {
            let _in_work = in_work;
            if tokio::time::timeout(LONGEST_UNATTENDED, &mut task).await.is_err() {
                tracing::warn!(operation, "its client went away long ago; it is broken off");
                task.abort();
                let _aborted = task.await;
            }
        });
    }
}

/// What the task of a request came to, in the words of its operation.
pub(super) fn outcome<T>(
    operation: &Operation,
    ended: Result<Result<T, ErrorBody>, JoinError>,
) -> Result<T, ErrorBody> {
    let answer = ended.unwrap_or_else(|error| {
        tracing::error!(%error, "a request failed by a fault of this program");
        Err(ErrorBody::new(ErrorCode::Internal, format!("the request failed by a fault of pyro: {error}"))
            .with_hint("the daemon's log has more; `pyro daemon status` names it"))
    });
    answer.map_err(|error| error.of(operation))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pyro_api::{
        Call,
        operation::{DiffWorkspace, StopWorkspace},
    };
    use tokio::{sync::oneshot, time::Instant};

    use super::{super::activity::Activity, *};

    /// Work that never ends, and what tells when it is dropped.
    fn endless() -> (impl Future<Output = Result<(), ErrorBody>> + Send, oneshot::Receiver<()>) {
        let (alive, gone) = oneshot::channel::<()>();
        let work = async move {
            let _alive = alive;
            std::future::pending().await
        };
        (work, gone)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_finish_goes_on_alone_but_not_for_ever() {
        let activity = Activity::new();
        for (operation, longest) in
            [(DiffWorkspace::OPERATION, Duration::ZERO), (StopWorkspace::OPERATION, LONGEST_UNATTENDED)]
        {
            let begun = Instant::now();
            let (work, gone) = endless();
            let attended = Attended::begin(operation, Arc::new(activity.begin()), work);
            assert!(tokio::time::timeout(LONGEST_UNATTENDED * 2, attended.ended()).await.is_err());
            // That was patience of a client, who now goes.
            assert!(gone.await.is_err());
            activity.at_most(0).await;
            assert_eq!(begun.elapsed(), LONGEST_UNATTENDED * 2 + longest, "{}", operation.name);
        }
    }

    #[tokio::test]
    async fn what_has_ended_is_answered() {
        let activity = Activity::new();
        let attended = Attended::begin(DiffWorkspace::OPERATION, Arc::new(activity.begin()), async { Ok(7) });
        assert_eq!(attended.ended().await.unwrap(), 7);
        activity.at_most(0).await;
    }
}
