//! The output of a process as it arrives.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use pyro_protocol::StreamId;

use super::{OutputKind, error::SessionError, state::Owner};

/// One output of a process, from an offset to its end. Dropped earlier, it tells the guest to send no more.
#[derive(Debug)]
pub struct OutputStream {
    owner: Arc<Owner>,
    position: Position,
    /// Bytes of the last chunk, which the consumer may still be busy with.
    in_hand: usize,
    skipped_bytes: u64,
}

#[derive(Debug)]
enum Position {
    Flowing(StreamId),
    /// It could not be opened: told once.
    Unopened(SessionError),
    Ended,
}

impl OutputStream {
    pub(super) fn open(owner: &Arc<Owner>, process: &str, kind: OutputKind, offset: u64) -> Self {
        let opened = owner.lock().open_output(kind.stream_kind(), process, offset);
        let position = opened.map_or_else(Position::Unopened, Position::Flowing);
        Self { owner: Arc::clone(owner), position, in_hand: 0, skipped_bytes: 0 }
    }

    /// The next bytes, never none; `None` at the end. An error is followed by the end. May be dropped and called
    /// again without losing bytes. Asking for more says that the last ones are done with: the guest may send as many
    /// again, and forget those.
    pub async fn next(&mut self) -> Option<Result<Bytes, SessionError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Bytes between the offset asked for and the first one delivered that the guest had dropped already. Known at
    /// the end, 0 before.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, SessionError>>> {
        let id = match std::mem::replace(&mut self.position, Position::Ended) {
            Position::Flowing(id) => id,
            Position::Unopened(error) => return Poll::Ready(Some(Err(error))),
            Position::Ended => return Poll::Ready(None),
        };
        let mut state = self.owner.lock();
        let done_with = std::mem::take(&mut self.in_hand);
        if done_with > 0 {
            state.grant(id, done_with);
        }
        if let Some(chunk) = state.take_chunk(id) {
            self.in_hand = chunk.len();
            self.position = Position::Flowing(id);
            return Poll::Ready(Some(Ok(chunk)));
        }
        let over = state.over();
        let Some(output) = state.outputs.get_mut(&id) else {
            return Poll::Ready(None);
        };
        if let Some(close) = output.closed.take() {
            state.outputs.remove(&id);
            self.skipped_bytes = close.skipped_bytes;
            return Poll::Ready(close.failure.map(|failure| Err(failure.into())));
        }
        if let Some(error) = over {
            state.outputs.remove(&id);
            return Poll::Ready(Some(Err(error)));
        }
        output.consumer = Some(context.waker().clone());
        self.position = Position::Flowing(id);
        Poll::Pending
    }
}

impl Drop for OutputStream {
    fn drop(&mut self) {
        if let Position::Flowing(id) = self.position {
            let mut state = self.owner.lock();
            state.outputs.remove(&id);
            state.end_stream(id);
        }
    }
}
