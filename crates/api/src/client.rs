//! A client of the daemon: HTTP/1.1 over its socket, one connection for each request.
//!
//! A request is sent again only when no daemon accepted it, that is when connecting failed; then a [`Starter`]
//! is asked for a daemon first. Once a connection exists the request may have been carried out, and whatever
//! goes wrong from there on is reported and never repeated.

use std::{marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, sync::Semaphore};

use crate::{
    API_VERSION, FRAMES_MEDIA_TYPE, SocketPath, VERSION_HEADER,
    body::{ChannelBody, FrameReader, FrameSender, ReadError},
    error::{ErrorBody, ErrorCode, chain_text},
    frame::{Frame, FrameError, Kind, STDIN_WINDOW_BYTES},
    operation::{Call, Operation, Shape},
};

/// Largest answer that is taken as one JSON body.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Brings a daemon to life.
#[async_trait]
pub trait Starter: Send + Sync {
    /// Returns when a daemon accepts connections at the socket, or says why there is none. Called by many
    /// clients at once; they must end up with one daemon.
    async fn start(&self) -> Result<(), ErrorBody>;
}

/// Why the daemon gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no daemon.
    #[error("connect to the daemon at {socket}")]
    Unreachable {
        /// Where one was expected.
        socket: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The daemon, or its starter, refused or failed.
    #[error(transparent)]
    Refused(ErrorBody),
    /// The connection broke after the request was on its way.
    #[error("the daemon ended before it answered: {cause}")]
    Lost {
        /// What was asked.
        operation: &'static Operation,
        /// What was seen.
        cause: String,
    },
    /// The daemon answered something that is not in the contract.
    #[error("the daemon answered {operation} with something else than a result: {cause}")]
    Malformed {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The request cannot be sent.
    #[error("request of {operation} cannot be sent")]
    Request {
        /// What was asked.
        operation: &'static str,
        /// Why not.
        #[source]
        source: FrameError,
    },
}

impl From<ClientError> for ErrorBody {
    fn from(error: ClientError) -> Self {
        let text = chain_text(&error);
        match error {
            ClientError::Refused(body) => body,
            ClientError::Unreachable { .. } => {
                ErrorBody::new(ErrorCode::DaemonUnavailable, text).with_work_started(false)
            }
            ClientError::Lost { operation, .. } => ErrorBody::new(ErrorCode::DaemonLost, text)
                .with_hint("`pyro daemon status` names the log; the next command starts a new daemon")
                .with_work_started(true)
                .of(operation),
            ClientError::Malformed { .. } => ErrorBody::new(ErrorCode::Internal, text),
            ClientError::Request { .. } => {
                ErrorBody::new(ErrorCode::InvalidRequest, text).with_work_started(false)
            }
        }
    }
}

/// Asks the daemon. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    socket: SocketPath,
    starter: Option<Arc<dyn Starter>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("socket", &self.socket)
            .field("starts", &self.starter.is_some())
            .finish()
    }
}

impl Client {
    /// A client that finds a daemon or fails.
    pub fn new(socket: SocketPath) -> Self {
        Self { socket, starter: None }
    }

    /// A client that has a daemon started when there is none.
    #[must_use]
    pub fn starting_with(mut self, starter: Arc<dyn Starter>) -> Self {
        self.starter = Some(starter);
        self
    }

    /// The same, which finds a daemon or fails.
    #[must_use]
    pub fn finding_only(mut self) -> Self {
        self.starter = None;
        self
    }

    /// Asks a unary operation.
    pub async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Result, ClientError> {
        let operation = C::OPERATION;
        debug_assert_eq!(operation.shape, Shape::Unary);
        let json = serde_json::to_vec(request).map_err(|error| ClientError::Request {
            operation: operation.name,
            source: FrameError::NotJson(error.to_string()),
        })?;
        let response = self.send(operation, "application/json", ChannelBody::of(json.into())).await?;
        let bytes = collect(operation, response.into_body()).await?;
        decode(operation, &bytes)
    }

    /// Asks a streaming operation. What comes is read from the [`Exchange`].
    pub async fn stream<C: Call>(&self, request: &C::Request) -> Result<Exchange<C>, ClientError> {
        let operation = C::OPERATION;
        debug_assert_eq!(operation.shape, Shape::Streaming);
        let first = Frame::json(Kind::Request, request)
            .map_err(|source| ClientError::Request { operation: operation.name, source })?;
        let (input, body) = ChannelBody::new();
        // The channel is empty, so the first frame always fits.
        let sending = input.send(first).await;
        debug_assert!(sending.is_ok());
        let response = self.send(operation, FRAMES_MEDIA_TYPE, body).await?;
        let input = Input { frames: input, window: Arc::new(Semaphore::new(STDIN_WINDOW_BYTES)) };
        Ok(Exchange { input, frames: FrameReader::new(response.into_body()), call: PhantomData })
    }

    async fn send(
        &self,
        operation: &'static Operation,
        media_type: &'static str,
        body: ChannelBody,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let lost = |error: hyper::Error| ClientError::Lost { operation, cause: chain_text(&error) };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(async move {
            // Its errors are those of the request and of the bodies, which report them.
            let _ended = connection.await;
        });
        let request = Request::post(operation.path)
            .header(HOST, "pyro")
            .header(VERSION_HEADER, API_VERSION)
            .header(CONTENT_TYPE, media_type)
            .body(body)
            .map_err(|error| ClientError::Malformed {
                operation: operation.name,
                cause: error.to_string(),
            })?;
        let response = sender.send_request(request).await.map_err(lost)?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let bytes = collect(operation, response.into_body()).await?;
        Err(ClientError::Refused(decode(operation, &bytes)?))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let unreachable =
            |source| ClientError::Unreachable { socket: self.socket.path().display().to_string(), source };
        let connected = match (self.socket.connect(), &self.starter) {
            (Err(error), Some(starter)) if nobody_listens(&error) => {
                starter.start().await.map_err(ClientError::Refused)?;
                self.socket.connect()
            }
            (connected, _) => connected,
        };
        let stream = connected.map_err(unreachable)?;
        stream.set_nonblocking(true).map_err(unreachable)?;
        UnixStream::from_std(stream).map_err(unreachable)
    }
}

/// Whether connecting failed because there is no daemon, so that nothing was accepted.
pub fn nobody_listens(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

async fn collect(operation: &'static Operation, body: Incoming) -> Result<Bytes, ClientError> {
    let collected = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        match error.downcast::<hyper::Error>() {
            Ok(error) => ClientError::Lost { operation, cause: chain_text(&*error) },
            Err(error) => ClientError::Malformed { operation: operation.name, cause: error.to_string() },
        }
    })
}

fn decode<T: DeserializeOwned>(operation: &'static Operation, bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ClientError::Malformed { operation: operation.name, cause: error.to_string() })
}

/// A streaming operation at work. Dropping it cancels the operation.
#[derive(Debug)]
pub struct Exchange<C: Call> {
    input: Input,
    frames: FrameReader,
    call: PhantomData<C>,
}

/// The client's side of an [`Exchange`].
#[derive(Clone, Debug)]
pub struct Input {
    frames: FrameSender,
    window: Arc<Semaphore>,
}

/// What comes out of an [`Exchange`].
#[derive(Debug)]
pub enum Output<C: Call> {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// A phase or progress.
    Event(C::Event),
    /// The end.
    Result(C::Result),
}

impl<C: Call> Exchange<C> {
    /// Where standard input and cancellation go; may be used beside [`Exchange::next`].
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// What comes next. After the result, or an error, nothing comes any more. May be dropped while waiting.
    /// Standard input flows only while this is awaited, as the daemon's credit for it comes this way.
    pub async fn next(&mut self) -> Result<Output<C>, ClientError> {
        loop {
            let Some(frame) = self.frames.next().await.map_err(|error| Self::broken(&error))? else {
                return Err(ClientError::Lost {
                    operation: C::OPERATION,
                    cause: "no result came".to_owned(),
                });
            };
            if let Some(output) = self.understand(frame)? {
                return Ok(output);
            }
        }
    }

    fn understand(&self, frame: Frame) -> Result<Option<Output<C>>, ClientError> {
        let operation = C::OPERATION;
        let output = match frame.kind {
            Kind::Stdout => Output::Stdout(frame.payload),
            Kind::Stderr => Output::Stderr(frame.payload),
            Kind::Event => Output::Event(decode(operation, &frame.payload)?),
            Kind::Result => Output::Result(decode(operation, &frame.payload)?),
            Kind::Error => return Err(ClientError::Refused(decode(operation, &frame.payload)?)),
            Kind::StdinCredit => {
                self.input.take_credit(frame.credit().unwrap_or(0));
                return Ok(None);
            }
            kind @ (Kind::Request | Kind::Stdin | Kind::StdinEof | Kind::Cancel) => {
                let cause = format!("a frame of kind {kind:?}, which only clients send");
                return Err(ClientError::Malformed { operation: operation.name, cause });
            }
        };
        Ok(Some(output))
    }

    fn broken(error: &ReadError) -> ClientError {
        match error {
            ReadError::Transport(_) | ReadError::Frame(FrameError::Truncated) => {
                ClientError::Lost { operation: C::OPERATION, cause: chain_text(error) }
            }
            ReadError::Frame(error) => {
                ClientError::Malformed { operation: C::OPERATION.name, cause: error.to_string() }
            }
        }
    }
}

impl Input {
    /// Passes bytes to standard input; waits while the guest does not read. False when the daemon has gone.
    pub async fn stdin(&self, bytes: Bytes) -> bool {
        for frame in Frame::chunks(Kind::Stdin, bytes) {
            let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
            let Ok(room) = self.window.acquire_many(length).await else {
                return false;
            };
            room.forget();
            if self.frames.send(frame).await.is_err() {
                return false;
            }
        }
        true
    }

    fn take_credit(&self, bytes: u32) {
        // The daemon is not believed more than it can have received.
        let spent = STDIN_WINDOW_BYTES.saturating_sub(self.window.available_permits());
        self.window.add_permits(spent.min(bytes as usize));
    }

    /// Ends standard input.
    pub async fn stdin_eof(&self) {
        // If the daemon has gone, the reading side says so.
        let _sent = self.frames.send(Frame::empty(Kind::StdinEof)).await;
    }

    /// Asks for an early end. The exchange goes on until the daemon has cleaned up and answers.
    pub async fn cancel(&self) {
        // If the daemon has gone, the reading side says so.
        let _sent = self.frames.send(Frame::empty(Kind::Cancel)).await;
    }
}

/// Serializes for a server: the answer of an operation as one JSON body.
pub fn answer_json(value: &impl Serialize) -> Result<Bytes, FrameError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| FrameError::NotJson(error.to_string()))
}
