//! What the driver and the handles of one session share: the multiplexer and who waits for what.
//!
//! Everything happens under one lock that is never held across an await. Handles queue into the multiplexer and
//! rouse the driver; the driver turns events into answers and rouses who waits.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::Bytes;
use prost::Message;
use pyro_protocol::{
    Event, Kind, Mux, Nonce, SendError, StreamId,
    message::{Close, Hello, Open, Reply, Request, StreamKind, reply, request},
};
use tokio::sync::oneshot;

use super::error::{Loss, SessionError};

/// Small frames are put together into chunks up to this size, so that a guest that sends single bytes cannot make
/// this side keep a thousand times as much.
const CHUNK_BYTES: usize = 64 * 1024;

type Answer = Result<reply::Body, SessionError>;

/// The state of a session behind its lock.
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new(
        nonce: Nonce,
        hello: Hello,
        greeted: oneshot::Sender<Result<Hello, SessionError>>,
    ) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            mux: Mux::host(nonce),
            phase: Phase::Live,
            hello,
            greeted: Some(greeted),
            calls: BTreeMap::new(),
            outputs: BTreeMap::new(),
            inputs: BTreeMap::new(),
            driver: None,
            closers: Vec::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No invariant spans a panic: the worst a broken state can do is end the session.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// Keeps the driver running; held by handles, streams and unanswered requests.
#[derive(Debug)]
pub(super) struct Owner(Arc<Shared>);

impl Owner {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Why there is no answer any more.
    pub(super) fn loss(&self) -> SessionError {
        self.lock().ended().unwrap_or(SessionError::Closed)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.lock().phase, Phase::Over(_))
    }

    pub(super) fn knock(&self) {
        let mut state = self.lock();
        state.mux.knock();
        state.rouse_driver();
    }

    /// Queues a request; where its answer arrives.
    pub(super) fn call(
        &self,
        operation: &'static str,
        body: request::Body,
    ) -> Result<oneshot::Receiver<Answer>, SessionError> {
        let mut state = self.lock();
        let (answered, answer) = oneshot::channel();
        let call = state.queue(operation, Kind::Call, &Request { body: Some(body) })?;
        state.calls.insert(call, answered);
        Ok(answer)
    }

    /// The receiver is dropped when the session is over, however that comes.
    pub(super) fn ending(&self) -> oneshot::Receiver<()> {
        let (ended, ending) = oneshot::channel();
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Over(_)) || state.driver.is_some() {
            state.closers.push(ended);
        }
        ending
    }

    /// Ends the session once everything queued is written; the receiver is dropped when the stream was.
    pub(super) fn close(&self) -> oneshot::Receiver<()> {
        let (closed, closing) = oneshot::channel();
        let mut state = self.lock();
        match state.phase {
            Phase::Over(_) if state.driver.is_none() => {}
            Phase::Over(_) => state.closers.push(closed),
            Phase::Live | Phase::Closing => {
                state.phase = Phase::Closing;
                state.closers.push(closed);
                state.rouse_driver();
            }
        }
        closing
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Over(_)) {
            state.phase = Phase::Over(SessionError::Closed);
        }
        state.rouse_driver();
    }
}

/// How far a session is from its end.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Live,
    /// Over as soon as everything queued is written.
    Closing,
    Over(SessionError),
}

/// An output as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) chunks: VecDeque<Vec<u8>>,
    pub(super) closed: Option<Close>,
    pub(super) consumer: Option<Waker>,
}

impl Output {
    fn push(&mut self, mut bytes: Vec<u8>) {
        match self.chunks.back_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK_BYTES => last.append(&mut bytes),
            _ => self.chunks.push_back(bytes),
        }
    }
}

/// An input that is being written to.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) closed: Option<Close>,
    pub(super) producer: Option<Waker>,
}

/// What [`Shared`] guards.
pub(super) struct State {
    pub(super) mux: Mux,
    pub(super) phase: Phase,
    hello: Hello,
    greeted: Option<oneshot::Sender<Result<Hello, SessionError>>>,
    calls: BTreeMap<StreamId, oneshot::Sender<Answer>>,
    pub(super) outputs: BTreeMap<StreamId, Output>,
    pub(super) inputs: BTreeMap<StreamId, Input>,
    /// Set as long as the driver holds the stream.
    pub(super) driver: Option<Waker>,
    closers: Vec<oneshot::Sender<()>>,
}

impl State {
    pub(super) fn rouse_driver(&self) {
        if let Some(driver) = &self.driver {
            driver.wake_by_ref();
        }
    }

    /// Why nothing can be asked any more.
    pub(super) fn ended(&self) -> Option<SessionError> {
        match &self.phase {
            Phase::Live => None,
            Phase::Closing => Some(SessionError::Closed),
            Phase::Over(error) => Some(error.clone()),
        }
    }

    /// Why nothing arrives any more.
    pub(super) fn over(&self) -> Option<SessionError> {
        match &self.phase {
            Phase::Live | Phase::Closing => None,
            Phase::Over(error) => Some(error.clone()),
        }
    }

    /// Queues a call or an open under a new id.
    fn queue<M: Message>(
        &mut self,
        operation: &'static str,
        kind: Kind,
        body: &M,
    ) -> Result<StreamId, SessionError> {
        if let Some(error) = self.ended() {
            return Err(error);
        }
        let unsent = |source: SendError| SessionError::Unsent { operation, source };
        let id = self.mux.allocate().map_err(unsent)?;
        self.mux.send(kind, id, body).map_err(unsent)?;
        self.rouse_driver();
        Ok(id)
    }

    pub(super) fn open_output(
        &mut self,
        kind: StreamKind,
        process: &str,
        offset: u64,
    ) -> Result<StreamId, SessionError> {
        let open = Open { kind: kind.into(), process: process.to_owned(), offset };
        let id = self.queue("open output", Kind::Open, &open)?;
        self.outputs.insert(id, Output::default());
        Ok(id)
    }

    pub(super) fn open_input(&mut self, process: &str) -> Result<StreamId, SessionError> {
        let open = Open { kind: StreamKind::Stdin.into(), process: process.to_owned(), offset: 0 };
        let id = self.queue("open input", Kind::Open, &open)?;
        self.inputs.insert(id, Input::default());
        Ok(id)
    }

    /// Ends this side's direction, if it has not ended yet.
    pub(super) fn end_stream(&mut self, id: StreamId) {
        // The stream is unknown when it was ended before, which is as well.
        let _already_ended = self.mux.send(Kind::Close, id, &Close::default());
        self.rouse_driver();
    }

    /// Next chunk of an output.
    pub(super) fn take_chunk(&mut self, id: StreamId) -> Option<Bytes> {
        self.outputs.get_mut(&id)?.chunks.pop_front().map(Bytes::from)
    }

    /// So much of an output is done with: the guest may send as much again, and forget it.
    pub(super) fn grant(&mut self, id: StreamId, bytes: usize) {
        self.mux.grant(id, u32::try_from(bytes).unwrap_or(u32::MAX));
        self.rouse_driver();
    }

    /// Turns what the multiplexer has understood into answers.
    pub(super) fn dispatch(&mut self) -> Result<(), Loss> {
        while let Some(event) = self.mux.next_event() {
            match event {
                Event::Established { .. } => {
                    let sent = self.mux.send(Kind::Control, StreamId::CONTROL, &self.hello);
                    sent.map_err(|source| Loss::Greeting { source })?;
                }
                Event::Message { kind: Kind::Control, body, .. } => self.greet(&body)?,
                Event::Message { stream, body, .. } => self.answer(stream, &body)?,
                Event::Data { stream, bytes } => {
                    // Bytes nobody wants any more are dropped, and no credit is returned for them.
                    if let Some(output) = self.outputs.get_mut(&stream) {
                        output.push(bytes);
                        wake(&mut output.consumer);
                    }
                }
                Event::Credit { stream } => {
                    if let Some(input) = self.inputs.get_mut(&stream) {
                        wake(&mut input.producer);
                    }
                }
                Event::Closed { stream, close } => self.closed(stream, close),
                Event::Reset => {}
            }
        }
        Ok(())
    }

    fn greet(&mut self, body: &[u8]) -> Result<(), Loss> {
        let malformed = || Loss::Malformed { object: "hello" };
        let hello = Hello::decode(body).map_err(|_| malformed())?;
        let greeted = self.greeted.take().ok_or_else(malformed)?;
        // Whoever opens the session may have given up.
        drop(greeted.send(Ok(hello)));
        Ok(())
    }

    fn answer(&mut self, call: StreamId, body: &[u8]) -> Result<(), Loss> {
        let reply = Reply::decode(body).map_err(|_| Loss::Malformed { object: "reply" })?;
        let answer = match reply.body {
            Some(reply::Body::Failure(failure)) => Err(failure.into()),
            Some(body) => Ok(body),
            None => return Err(Loss::Malformed { object: "reply" }),
        };
        if let Some(answered) = self.calls.remove(&call) {
            // Whoever asked may not want to know any more.
            drop(answered.send(answer));
        }
        Ok(())
    }

    fn closed(&mut self, stream: StreamId, close: Close) {
        if let Some(output) = self.outputs.get_mut(&stream) {
            output.closed = Some(close);
            wake(&mut output.consumer);
        } else if let Some(input) = self.inputs.get_mut(&stream) {
            input.closed = Some(close);
            wake(&mut input.producer);
        }
        self.end_stream(stream);
    }

    /// Tells everybody who waits that it is over. The first reason stands.
    pub(super) fn end(&mut self, error: SessionError) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(error);
        }
        let reason = self.ended().unwrap_or(SessionError::Closed);
        if let Some(greeted) = self.greeted.take() {
            drop(greeted.send(Err(reason.clone())));
        }
        for answered in std::mem::take(&mut self.calls).into_values() {
            drop(answered.send(Err(reason.clone())));
        }
        self.outputs.values_mut().for_each(|output| wake(&mut output.consumer));
        self.inputs.values_mut().for_each(|input| wake(&mut input.producer));
    }

    /// The stream is dropped.
    pub(super) fn driver_ended(&mut self) {
        self.driver = None;
        self.closers.clear();
    }
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}
