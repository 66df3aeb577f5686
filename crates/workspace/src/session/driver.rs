//! The task that moves bytes between one stream and the session's state.
//!
//! Reading never waits for a consumer, since credit bounds what can arrive, so a guest is always heard and an answer
//! never stands behind somebody's output.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pyro_protocol::{Nonce, frame::MAX_FRAME_BYTES};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    error::{Loss, SessionError},
    state::{Phase, Shared, State},
};

/// After so many reads and writes the other tasks get a turn.
const ROUNDS: usize = 16;

/// A name for a new session that no other has.
pub(super) fn draw_nonce() -> Result<Nonce, Loss> {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(drawn) if drawn == bytes.len() => Ok(Nonce::new(bytes)),
        Ok(_) => Err(Loss::Nonce { source: io::ErrorKind::UnexpectedEof.into() }),
        Err(errno) => Err(Loss::Nonce { source: errno.into() }),
    }
}

/// Owns the stream.
pub(super) struct Driver<S> {
    stream: S,
    /// Behind the stream, so that it is dropped after it.
    ending: Ending,
    buffer: Box<[u8]>,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(stream: S, shared: Arc<Shared>) -> Self {
        let ending = Ending { shared, reason: Loss::Ended.into() };
        Self { stream, ending, buffer: vec![0; MAX_FRAME_BYTES].into_boxed_slice(), unflushed: false }
    }

    /// Runs until the session is over, drops the stream, then tells who waits for that.
    pub(super) async fn run(mut self) {
        self.ending.reason = poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<SessionError> {
        let shared = Arc::clone(&self.ending.shared);
        let mut state = shared.lock();
        state.driver = Some(context.waker().clone());
        for _ in 0..ROUNDS {
            if let Phase::Over(reason) = &state.phase {
                return Poll::Ready(reason.clone());
            }
            match self.round(&mut state, context) {
                Ok(Progress::Moved) => {}
                Ok(Progress::Waiting) => return Poll::Pending,
                Ok(Progress::AllWritten) if matches!(state.phase, Phase::Closing) => {
                    return Poll::Ready(SessionError::Closed);
                }
                Ok(Progress::AllWritten) => return Poll::Pending,
                Err(loss) => {
                    self.hear_out(&mut state, context);
                    return Poll::Ready(loss.into());
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// One read and one write, as far as the stream is ready for them.
    fn round(&mut self, state: &mut State, context: &mut Context<'_>) -> Result<Progress, Loss> {
        let heard = match self.poll_read(state, context) {
            Poll::Ready(result) => result.map(|()| true)?,
            Poll::Pending => false,
        };
        let said = match self.poll_write(state, context) {
            Poll::Ready(result) => result?,
            Poll::Pending if heard => return Ok(Progress::Moved),
            Poll::Pending => return Ok(Progress::Waiting),
        };
        Ok(if heard || said { Progress::Moved } else { Progress::AllWritten })
    }

    /// A guest that is gone, so that nothing can be written to it, may have said something before it went.
    fn hear_out(&mut self, state: &mut State, context: &mut Context<'_>) {
        while let Poll::Ready(Ok(())) = self.poll_read(state, context) {}
    }

    fn poll_read(&mut self, state: &mut State, context: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
        read.map_err(|source| Loss::Io { operation: "read from", source })?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Loss::Ended));
        }
        let received = state.mux.receive(buffer.filled());
        // What came before a breach is still good.
        state.dispatch()?;
        Poll::Ready(received.map_err(|source| Loss::Protocol { source }))
    }

    /// Writes once, or flushes when all is written; whether anything was written.
    fn poll_write(&mut self, state: &mut State, context: &mut Context<'_>) -> Poll<Result<bool, Loss>> {
        let failed = |source| Loss::Io { operation: "write to", source };
        let bytes = state.mux.transmit();
        if bytes.is_empty() {
            if self.unflushed {
                ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(failed)?;
                self.unflushed = false;
            }
            return Poll::Ready(Ok(false));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes)).map_err(failed)?;
        if written == 0 {
            return Poll::Ready(Err(failed(io::ErrorKind::WriteZero.into())));
        }
        state.mux.transmitted(written);
        self.unflushed = true;
        state.dispatch()?;
        Poll::Ready(Ok(true))
    }
}

/// Tells who waits that the session is over, also when the driver is dropped with its runtime.
struct Ending {
    shared: Arc<Shared>,
    reason: SessionError,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.end(self.reason.clone());
        state.driver_ended();
    }
}

/// How a round went.
enum Progress {
    Moved,
    /// For the stream, with something left to write.
    Waiting,
    /// Nothing left to write, nothing to read yet.
    AllWritten,
}
