//! HTTP on the daemon's socket: one request for each connection, decoded, checked and handed to the [`Handler`].

use std::{
    convert::Infallible,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use pyro_api::{
    API_VERSION, Call, ErrorBody, ErrorCode, FRAMES_MEDIA_TYPE, OLDEST_API_VERSION, Operation,
    VERSION_HEADER,
    body::{ChannelBody, FrameReader},
    client::answer_json,
    operation::{self, GetStatus, Shutdown},
    service::{ShutdownRequest, ShutdownResult, Status, StatusRequest},
};
use serde::Serialize;
use tokio::{net::UnixStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    PATIENCE_FOR_CLEAN_UP,
    activity::{Activity, InWork},
    attended::Attended,
    exchange,
    handler::{self, Handler, Streams},
};

/// Largest body of a unary request: a patch or text of 1 MiB however it is escaped, and more.
const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// How long a client may take to send the head of its request.
const PATIENCE_FOR_HEAD: Duration = Duration::from_secs(10);

/// How long a daemon that is told to stop waits for requests that are just ending.
const PATIENCE_FOR_QUIET: Duration = Duration::from_millis(300);

/// Serves connections. One for each daemon, shared by all its connections.
pub(crate) struct Server<H> {
    handler: Arc<H>,
    activity: Activity,
    stop: CancellationToken,
    started: Instant,
    socket: String,
    log: String,
}

impl<H> std::fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl<H: Handler> Server<H> {
    /// A server that answers with this handler; socket and log are only told.
    pub(crate) fn new(handler: H, socket: String, log: String) -> Self {
        Self {
            handler: Arc::new(handler),
            activity: Activity::new(),
            stop: CancellationToken::new(),
            started: Instant::now(),
            socket,
            log,
        }
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Fires when the daemon shall end; cancels every operation in work.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Machines that live now.
    pub(crate) fn live(&self) -> usize {
        self.handler.live()
    }

    /// Serves one connection in a task of its own.
    pub(crate) fn serve(self: &Arc<Self>, stream: UnixStream) {
        let in_work = Arc::new(self.activity.begin());
        let own_peer = stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw());
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let (server, in_work) = (Arc::clone(&server), Arc::clone(&in_work));
                async move { Ok::<_, Infallible>(server.answer(request, own_peer, in_work).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE_FOR_HEAD)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a client went away");
            }
        });
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        own_peer: bool,
        in_work: Arc<InWork>,
    ) -> Response<ChannelBody> {
        match admit(&request, own_peer) {
            Ok(operation) => self.dispatch(operation, request, in_work).await,
            Err((status, error)) => respond_error(status, &error),
        }
    }

    async fn dispatch(
        self: &Arc<Self>,
        operation: &Operation,
        request: Request<Incoming>,
        in_work: Arc<InWork>,
    ) -> Response<ChannelBody> {
        let handler = Arc::clone(&self.handler);
        match operation.name {
            name if is::<GetStatus>(name) => {
                let server = Arc::clone(self);
                let work = |StatusRequest {}| async move { Ok(server.status()) };
                self.unary::<GetStatus, _>(request, in_work, work).await
            }
            name if is::<Shutdown>(name) => {
                let server = Arc::clone(self);
                let work = |request: ShutdownRequest| async move {
                    if !request.force {
                        server.let_end().await;
                    }
                    server.shut_down(&request)
                };
                self.unary::<Shutdown, _>(request, in_work, work).await
            }
            _ => handler::route(self, handler, operation, request, in_work).await,
        }
    }

    pub(super) async fn unary<C: Call, F>(
        &self,
        request: Request<Incoming>,
        in_work: Arc<InWork>,
        work: impl FnOnce(C::Request) -> F,
    ) -> Response<ChannelBody>
    where
        F: Future<Output = Result<C::Result, ErrorBody>> + Send + 'static,
        C::Result: 'static,
    {
        let request = match read_unary::<C>(request).await {
            Ok(request) => request,
            Err(error) => return respond_error(StatusCode::BAD_REQUEST, &error),
        };
        match Attended::begin(C::OPERATION, in_work, work(request)).ended().await {
            Ok(result) => respond(StatusCode::OK, &result),
            Err(error) if error.code == ErrorCode::Internal => {
                respond_error(StatusCode::INTERNAL_SERVER_ERROR, &error)
            }
            Err(error) => respond_error(StatusCode::UNPROCESSABLE_ENTITY, &error),
        }
    }

    pub(super) async fn stream<C: Call, F>(
        &self,
        request: Request<Incoming>,
        in_work: Arc<InWork>,
        work: impl FnOnce(C::Request, Streams) -> F,
    ) -> Response<ChannelBody>
    where
        F: Future<Output = Result<C::Result, ErrorBody>> + Send + 'static,
        C::Result: 'static,
    {
        let mut frames = FrameReader::new(request.into_body());
        let request = match exchange::read_request::<C::Request>(&mut frames).await {
            Ok(request) => request,
            Err(error) => return respond_error(StatusCode::BAD_REQUEST, &error),
        };
        tracing::debug!(operation = C::OPERATION.name, "begins");
        let cancel = self.stop.child_token();
        let body = exchange::begin(C::OPERATION, frames, cancel, in_work, |streams| work(request, streams));
        with_headers(StatusCode::OK, FRAMES_MEDIA_TYPE, body)
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: API_VERSION,
            oldest_api_version: OLDEST_API_VERSION,
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            live_machines: self.live(),
            requests: self.requests_beside_this(),
            socket: self.socket.clone(),
            log: self.log.clone(),
        }
    }

    /// Waits for what is just ending: a client that has ended a moment ago may not have been noticed yet; and what is in work
    /// for no client any more, as a machine that is cleaned up or a template that is loaded, ends by itself.
    async fn let_end(&self) {
        let quiet = timeout(PATIENCE_FOR_QUIET, self.activity.at_most(1)).await;
        if quiet.is_ok() {
            let _settled = timeout(PATIENCE_FOR_CLEAN_UP, self.handler.settled()).await;
        }
    }

    fn shut_down(&self, request: &ShutdownRequest) -> Result<ShutdownResult, ErrorBody> {
        let (machines, requests) = (self.live(), self.requests_beside_this());
        if !request.force && machines + requests > 0 {
            return Err(ErrorBody::new(
                ErrorCode::DaemonBusy,
                format!("the daemon is in use: {machines} machines, {requests} requests"),
            )
            .with_hint("wait for them to end, or end them with `pyro daemon stop --force`"));
        }
        self.stop.cancel();
        Ok(ShutdownResult { pid: std::process::id(), stopping: true })
    }

    fn requests_beside_this(&self) -> usize {
        self.activity.in_work().saturating_sub(1)
    }
}

/// Who may ask what, before the body is read.
fn admit(request: &Request<Incoming>, own_peer: bool) -> Result<&'static Operation, (StatusCode, ErrorBody)> {
    if !own_peer {
        let error = ErrorBody::new(ErrorCode::Forbidden, "this daemon serves another user");
        return Err((StatusCode::FORBIDDEN, error));
    }
    let path = request.uri().path();
    let operation =
        operation::at_path(path).filter(|_| request.method() == Method::POST).ok_or_else(|| {
            let error = ErrorBody::new(
                ErrorCode::UnknownOperation,
                format!("no operation at {} {path}", request.method()),
            );
            (StatusCode::NOT_FOUND, error)
        })?;
    // These two stay the same for ever, so that any client can ask and end any daemon.
    if operation.name != GetStatus::OPERATION.name && operation.name != Shutdown::OPERATION.name {
        check_version(request.headers().get(VERSION_HEADER))
            .map_err(|error| (StatusCode::UPGRADE_REQUIRED, error))?;
    }
    Ok(operation)
}

fn is<C: Call>(name: &str) -> bool {
    C::OPERATION.name == name
}

fn check_version(header: Option<&HeaderValue>) -> Result<(), ErrorBody> {
    let version = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<u32>().ok());
    if version.is_some_and(|version| (OLDEST_API_VERSION..=API_VERSION).contains(&version)) {
        return Ok(());
    }
    let spoken = version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"));
    Err(ErrorBody::new(
        ErrorCode::IncompatibleVersion,
        format!(
            "the client speaks {spoken} of the API, the daemon (pyro {}) versions {OLDEST_API_VERSION} to {API_VERSION}",
            env!("CARGO_PKG_VERSION"),
        ),
    )
    .with_hint("end the daemon with `pyro daemon stop`; the next command starts one of its own release")
    .with_work_started(false))
}

async fn read_unary<C: Call>(request: Request<Incoming>) -> Result<C::Request, ErrorBody> {
    let refuse = |text: String| ErrorBody::new(ErrorCode::InvalidRequest, text);
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect().await;
    let bytes: Bytes =
        body.map_err(|error| refuse(format!("request that cannot be read: {error}")))?.to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|error| refuse(format!("request that cannot be understood: {error}")))
}

pub(super) fn respond_error(status: StatusCode, error: &ErrorBody) -> Response<ChannelBody> {
    respond(status, error)
}

fn respond(status: StatusCode, value: &impl Serialize) -> Response<ChannelBody> {
    match answer_json(value) {
        Ok(bytes) => with_headers(status, "application/json", ChannelBody::of(bytes)),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be sent");
            with_headers(StatusCode::INTERNAL_SERVER_ERROR, "application/json", ChannelBody::of(Bytes::new()))
        }
    }
}

fn with_headers(status: StatusCode, media_type: &'static str, body: ChannelBody) -> Response<ChannelBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from(API_VERSION));
    response
}
