//! The standard input of a process.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use pyro_protocol::{StreamId, message::Close};

use super::{error::SessionError, state::Owner};

/// The standard input of a process. The process reads end of file after [`InputStream::finish`] or when this is dropped.
#[derive(Debug)]
pub struct InputStream {
    owner: Arc<Owner>,
    opened: Result<StreamId, SessionError>,
}

impl InputStream {
    pub(super) fn open(owner: &Arc<Owner>, process: &str) -> Self {
        let opened = owner.lock().open_input(process);
        Self { owner: Arc::clone(owner), opened }
    }

    /// Returns when all of `bytes` are queued; waits as long as the guest takes none. When the future is dropped, the
    /// first part of them may have been queued.
    ///
    /// # Errors
    ///
    /// [`SessionError::InputEnded`] when the process takes no more, [`SessionError::Refused`] when there is no such
    /// process, and whatever ends a session.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), SessionError> {
        while !bytes.is_empty() {
            let taken = poll_fn(|context| self.poll_write(context, bytes)).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Ends the input: the process reads end of file behind all that was written.
    ///
    /// # Errors
    ///
    /// As for [`InputStream::write_all`], if it is known by now.
    pub async fn finish(self) -> Result<(), SessionError> {
        let id = self.opened.clone()?;
        let state = self.owner.lock();
        if let Some(error) = state.ended() {
            return Err(error);
        }
        state
            .inputs
            .get(&id)
            .and_then(|input| input.closed.as_ref())
            .map_or(Ok(()), |close| Err(refusal(close)))
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, SessionError>> {
        let id = self.opened.clone()?;
        let mut state = self.owner.lock();
        if let Some(error) = state.ended() {
            return Poll::Ready(Err(error));
        }
        let Some(input) = state.inputs.get_mut(&id) else {
            return Poll::Ready(Err(SessionError::Closed));
        };
        if let Some(close) = &input.closed {
            return Poll::Ready(Err(refusal(close)));
        }
        input.producer = Some(context.waker().clone());
        let taken = state.mux.send_data(id, bytes);
        if taken == 0 {
            return Poll::Pending;
        }
        state.rouse_driver();
        Poll::Ready(Ok(taken))
    }
}

/// Why the guest closed an input.
fn refusal(close: &Close) -> SessionError {
    close.failure.clone().map_or(SessionError::InputEnded, SessionError::from)
}

impl Drop for InputStream {
    fn drop(&mut self) {
        if let Ok(id) = &self.opened {
            let mut state = self.owner.lock();
            state.inputs.remove(id);
            state.end_stream(*id);
        }
    }
}
