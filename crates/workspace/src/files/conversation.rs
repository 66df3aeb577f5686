//! One request to a worker: the request, its input, its answers.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use pyro_protocol::work::{
    DATA_BYTES, EndOfInput, MAX_WORK_BYTES, WorkReply, WorkRequest, work_reply, work_request,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{error::FileError, workers::Pool};
use crate::session::{GuestSession, InputStream, OutputKind, OutputStream};

/// Bytes of a message's length.
const LENGTH_BYTES: usize = 4;

/// A worker's process and its pipes.
#[derive(Debug)]
pub(super) struct Worker {
    id: String,
    input: InputStream,
    output: OutputStream,
    /// What has arrived and is not decoded.
    received: BytesMut,
}

impl Worker {
    pub(super) fn open(session: &GuestSession, id: String) -> Self {
        let (input, output) = (session.input(&id), session.output(&id, OutputKind::Stdout, 0));
        Self { id, input, output, received: BytesMut::new() }
    }

    /// Lets the worker end, which it does at the end of its input.
    pub(super) fn dismiss(self, session: &GuestSession) {
        let Self { id, input, output, .. } = self;
        drop((input, output));
        let session = session.clone();
        tokio::spawn(async move {
            drop(session.wait(&id).await);
            drop(session.remove(&id).await);
        });
    }

    /// Ends a worker that was left in the middle of something.
    fn kill(self, session: &GuestSession, turn: Option<OwnedSemaphorePermit>) {
        const KILL: i32 = 9;
        let (session, id) = (session.clone(), self.id.clone());
        // Without a runtime the session is over, and the next one ends its workers.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                drop(session.signal(&id, KILL, true).await);
                drop(session.wait(&id).await);
                drop(session.remove(&id).await);
                // Until then it may change something.
                drop(turn);
            });
        }
    }

    async fn send(&mut self, body: work_request::Body) -> Result<(), FileError> {
        let message = WorkRequest { body: Some(body) };
        let bytes = message.encoded_len();
        let length = u32::try_from(bytes).ok().filter(|_| bytes <= MAX_WORK_BYTES);
        let length = length.ok_or(FileError::TooLong { bytes })?;
        let mut frame = Vec::with_capacity(LENGTH_BYTES + bytes);
        frame.extend_from_slice(&length.to_le_bytes());
        message.encode(&mut frame).map_err(|_| FileError::TooLong { bytes })?;
        Ok(self.input.write_all(&frame).await?)
    }

    async fn receive(&mut self) -> Result<work_reply::Body, FileError> {
        let length = loop {
            if let Some(length) = self.received.first_chunk::<LENGTH_BYTES>() {
                break u32::from_le_bytes(*length) as usize;
            }
            self.read_more().await?;
        };
        if length > MAX_WORK_BYTES {
            return Err(FileError::Protocol("a message is too long"));
        }
        while self.received.len() < LENGTH_BYTES + length {
            self.received.reserve(LENGTH_BYTES + length - self.received.len());
            self.read_more().await?;
        }
        self.received.advance(LENGTH_BYTES);
        let message = self.received.split_to(length).freeze();
        let reply = WorkReply::decode(message).map_err(|_| FileError::Protocol("a message is malformed"))?;
        reply.body.ok_or(FileError::Protocol("a message is of an unknown kind"))
    }

    async fn read_more(&mut self) -> Result<(), FileError> {
        match self.output.next().await {
            Some(bytes) => {
                self.received.extend_from_slice(&bytes?);
                Ok(())
            }
            None => Err(FileError::Ended),
        }
    }
}

/// A request that is being served. Dropped before the last word, it ends the worker.
#[derive(Debug)]
pub(super) struct Conversation {
    pool: Arc<Pool>,
    worker: Option<Worker>,
    /// The worker takes input until it is told of its end, whatever it answers meanwhile.
    input_is_open: bool,
    turn: Option<OwnedSemaphorePermit>,
}

impl Conversation {
    pub(super) async fn begin(
        pool: Arc<Pool>,
        worker: Worker,
        turn: OwnedSemaphorePermit,
        body: work_request::Body,
    ) -> Result<Self, FileError> {
        let input_is_open = has_input(&body);
        let mut conversation = Self { pool, worker: Some(worker), input_is_open, turn: Some(turn) };
        conversation.worker()?.send(body).await?;
        Ok(conversation)
    }

    fn worker(&mut self) -> Result<&mut Worker, FileError> {
        self.worker.as_mut().ok_or(FileError::Ended)
    }

    /// Sends a piece of the input, in messages of a good size.
    pub(super) async fn send(&mut self, mut data: Bytes) -> Result<(), FileError> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(DATA_BYTES));
            self.worker()?.send(work_request::Body::Data(piece)).await?;
        }
        Ok(())
    }

    /// The input is whole.
    pub(super) async fn end(&mut self) -> Result<(), FileError> {
        self.input_is_open = false;
        self.worker()?.send(work_request::Body::End(EndOfInput::default())).await
    }

    /// The input is to be thrown away; the request will fail with this text.
    pub(super) async fn abandon(&mut self, reason: String) -> Result<(), FileError> {
        self.input_is_open = false;
        // A text of an error on the host may be of any length.
        let abandoned = reason.chars().take(1000).collect();
        self.worker()?.send(work_request::Body::End(EndOfInput { abandoned })).await
    }

    /// The next answer. With the last one, which a failure is too, the worker is free for the next request. May be
    /// dropped and called again as long as it has not returned.
    pub(super) async fn next(&mut self) -> Result<work_reply::Body, FileError> {
        let body = self.worker()?.receive().await?;
        if is_last(&body) {
            if self.input_is_open {
                self.abandon("the answer came before the end of the input".to_owned()).await?;
            }
            if let Some(worker) = self.worker.take() {
                self.pool.give_back(worker);
            }
        }
        match body {
            work_reply::Body::Failure(failure) => Err(failure.into()),
            body => Ok(body),
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.kill(&self.pool.session, self.turn.take());
        }
    }
}

fn has_input(body: &work_request::Body) -> bool {
    use work_request::Body;
    match body {
        Body::Seed(seed) => seed.has_input,
        Body::Write(_) | Body::Patch(_) | Body::Push(_) | Body::DiffAgainst(_) => true,
        _ => false,
    }
}

fn is_last(body: &work_reply::Body) -> bool {
    use work_reply::Body;
    !matches!(body, Body::Data(_) | Body::Entries(_) | Body::Matches(_) | Body::Changed(_))
}
