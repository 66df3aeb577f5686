//! A host of the agent, as small as it gets: one session over any byte stream.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test's host has nobody to tell")]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use prost::Message;
use pyro_protocol::message::{
    Close, Empty, ExitStatus, Hello, Open, ProcessRef, Reply, Request, Start, StreamKind, reply, request,
};
use pyro_protocol::{Event, Kind, Mux, Nonce, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What came on a stream.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) close: Option<Close>,
}

/// The host's end of a session.
pub(crate) struct Host<S> {
    stream: S,
    mux: Mux,
    pub(crate) greeting: Option<Hello>,
    replies: BTreeMap<StreamId, reply::Body>,
    received: BTreeMap<StreamId, Received>,
    /// Whether received bytes are credited back at once.
    pub(crate) reads: bool,
    /// The agent hung up.
    is_alone: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Host<S> {
    /// Begins a session and waits for the agent's hello.
    pub(crate) async fn connect(stream: S, nonce: u64) -> Self {
        let mux = Mux::host(Nonce::new(nonce.to_le_bytes()));
        let (replies, received) = (BTreeMap::new(), BTreeMap::new());
        let mut host = Self { stream, mux, greeting: None, replies, received, reads: true, is_alone: false };
        host.until(|host| host.greeting.as_ref().map(|_| ())).await;
        host
    }

    /// Breaks off, for the next session on the same stream.
    pub(crate) fn leave(self) -> S {
        self.stream
    }

    /// Sends a request without waiting.
    pub(crate) fn call(&mut self, body: request::Body) -> StreamId {
        let call = self.mux.allocate().unwrap();
        self.mux.send(Kind::Call, call, &Request { body: Some(body) }).unwrap();
        call
    }

    /// Sends bytes as a request.
    pub(crate) async fn ask_raw(&mut self, request: &impl Message) -> reply::Body {
        let call = self.mux.allocate().unwrap();
        self.mux.send(Kind::Call, call, request).unwrap();
        self.answer(call).await
    }

    /// Whether a call was answered, as far as was heard.
    pub(crate) fn is_answered(&self, call: StreamId) -> bool {
        self.replies.contains_key(&call)
    }

    pub(crate) async fn answer(&mut self, call: StreamId) -> reply::Body {
        self.until(|host| host.replies.remove(&call)).await
    }

    pub(crate) async fn ask(&mut self, body: request::Body) -> reply::Body {
        let call = self.call(body);
        self.answer(call).await
    }

    pub(crate) fn open(&mut self, kind: StreamKind, process: &str, offset: u64) -> StreamId {
        let stream = self.mux.allocate().unwrap();
        let open = Open { kind: kind.into(), process: process.into(), offset };
        self.mux.send(Kind::Open, stream, &open).unwrap();
        self.received.insert(stream, Received::default());
        stream
    }

    /// All that came on a stream, when it has ended.
    pub(crate) async fn all(&mut self, stream: StreamId) -> Received {
        self.until(|host| {
            let ended = host.received.get(&stream).is_some_and(|received| received.close.is_some());
            ended.then(|| host.received.remove(&stream)).flatten()
        })
        .await
    }

    /// Waits for so many bytes on a stream.
    pub(crate) async fn at_least(&mut self, stream: StreamId, count: usize) -> Vec<u8> {
        self.until(|host| {
            let received = host.received.get(&stream)?;
            (received.bytes.len() >= count).then(|| received.bytes.clone())
        })
        .await
    }

    pub(crate) async fn feed(&mut self, stream: StreamId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.mux.send_data(stream, bytes);
            bytes = &bytes[taken..];
            if !bytes.is_empty() {
                self.until(|host| (host.mux.sendable(stream) > 0).then_some(())).await;
            }
        }
    }

    pub(crate) fn close(&mut self, stream: StreamId) {
        self.mux.send(Kind::Close, stream, &Close::default()).unwrap();
    }

    pub(crate) async fn start(&mut self, start: Start) -> u32 {
        match self.ask(request::Body::Start(start)).await {
            reply::Body::Started(started) => started.pid,
            other => panic!("not started: {other:?}"),
        }
    }

    pub(crate) async fn wait(&mut self, id: &str) -> ExitStatus {
        match self.ask(request::Body::Wait(ProcessRef { id: id.into() })).await {
            reply::Body::Exited(exit) => exit,
            other => panic!("not exited: {other:?}"),
        }
    }

    pub(crate) async fn ping(&mut self) {
        assert_eq!(self.ask(request::Body::Ping(Empty {})).await, reply::Body::Done(Empty {}));
    }

    /// Starts, reads both outputs and waits.
    pub(crate) async fn run(&mut self, start: Start) -> (ExitStatus, Vec<u8>, Vec<u8>) {
        let id = start.id.clone();
        self.start(start).await;
        let stdout = self.open(StreamKind::Stdout, &id, 0);
        let stderr = self.open(StreamKind::Stderr, &id, 0);
        let exit = self.wait(&id).await;
        (exit, self.all(stdout).await.bytes, self.all(stderr).await.bytes)
    }

    /// Moves bytes until `look` finds something.
    pub(crate) async fn until<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        poll_fn(|context| {
            loop {
                let moved = self.write(context);
                let read = self.read(context);
                if let Some(found) = look(self) {
                    self.write(context);
                    return Poll::Ready(found);
                }
                assert!(!self.is_alone, "the agent hung up");
                if !moved && !read {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn write(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let bytes @ [_, ..] = self.mux.transmit() {
            match Pin::new(&mut self.stream).poll_write(context, bytes) {
                Poll::Pending => break,
                // The agent is gone; what it said before is still there to be read.
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(count)) => self.mux.transmitted(count),
            }
            moved = true;
        }
        moved
    }

    fn read(&mut self, context: &mut Context<'_>) -> bool {
        let mut bytes = vec![0; 65536];
        let mut buffer = ReadBuf::new(&mut bytes);
        let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(context, &mut buffer) else {
            return false;
        };
        outcome.unwrap();
        if buffer.filled().is_empty() {
            self.is_alone = true;
            return false;
        }
        self.mux.receive(buffer.filled()).unwrap();
        while let Some(event) = self.mux.next_event() {
            self.note(event);
        }
        true
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Message { kind: Kind::Control, body, .. } => {
                self.greeting = Some(Hello::decode(&body[..]).unwrap());
            }
            Event::Message { kind: Kind::Reply, stream, body } => {
                let reply = Reply::decode(&body[..]).unwrap();
                self.replies.insert(stream, reply.body.expect("a body"));
            }
            Event::Data { stream, bytes } => {
                if self.reads {
                    self.mux.grant(stream, u32::try_from(bytes.len()).unwrap());
                }
                self.received.entry(stream).or_default().bytes.extend(bytes);
            }
            Event::Closed { stream, close } => {
                let _closed_before = self.mux.send(Kind::Close, stream, &Close::default());
                self.received.entry(stream).or_default().close = Some(close);
            }
            Event::Established { .. } | Event::Reset | Event::Credit { .. } | Event::Message { .. } => {}
        }
    }

    /// Credits everything received so far on a stream, when `reads` is off.
    pub(crate) fn catch_up(&mut self, stream: StreamId) {
        self.reads = true;
        let count = self.received.get(&stream).map_or(0, |received| received.bytes.len());
        self.mux.grant(stream, u32::try_from(count).unwrap());
    }
}

/// A start request for these arguments.
pub(crate) fn argv(id: &str, arguments: &[&str]) -> Start {
    let argv = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
    Start { id: id.into(), argv, ..Start::default() }
}

/// A start request for a shell line.
pub(crate) fn shell(id: &str, line: &str) -> Start {
    argv(id, &["/bin/sh", "-c", line])
}
