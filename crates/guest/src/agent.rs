//! The agent: one loop that owns the session, the processes and what connects them. It outlives its
//! sessions; processes run on while no host is there.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pyro_protocol::message::{Close, Empty, Failure, FailureCode, Reply, Started, StreamKind, reply};
use pyro_protocol::version::{feature, hello};
use pyro_protocol::{Event, Kind, Mux, SendError, StreamId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::coop::unconstrained;

use crate::attachment::Attachments;
use crate::disk_sync::DiskSync;
use crate::ending::{DEADLINE_GRACE, Ending};
use crate::holding::Holding;
use crate::process::table::Table;
use crate::system::{Powers, System};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Rounds of the loop before other tasks of the runtime get their turn.
const ROUNDS: usize = 64;

/// Why the agent stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The byte stream to the host broke.
    #[error("serve the host")]
    Stream(#[source] io::Error),
}

/// What made the agent stop serving without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The byte stream ended: the host is gone. The next one may come on a machine's same port, or on another stream.
    StreamEnded,
    /// The machine's deadline was reached; every process has ended.
    DeadlineReached,
    /// The host asked for the end; every process has ended.
    PoweredOff,
}

/// The agent; see the [module](self).
#[derive(Debug)]
pub struct Agent {
    pub(crate) powers: Powers,
    pub(crate) processes: Table,
    pub(crate) mux: Mux,
    pub(crate) attachments: Attachments,
    /// Calls that wait for a process to begin.
    pub(crate) starts: Vec<(StreamId, String)>,
    /// Calls that wait for the end of a process.
    pub(crate) waits: Vec<(StreamId, String)>,
    /// Calls that wait for the disk.
    pub(crate) sync: DiskSync,
    /// Whether processes are held.
    pub(crate) holding: Holding,
    /// The way down, once it has begun.
    pub(crate) ending: Option<Ending>,
    /// Replies that found the session's queue full.
    replies: VecDeque<(StreamId, Reply)>,
    children: Signal,
    /// Children may have ended that were not collected yet.
    has_unreaped: bool,
    boot_id: [u8; 16],
    buffer: Vec<u8>,
}

impl Agent {
    /// An agent without processes, on the given system. Has to be called within a runtime with I/O and time enabled.
    ///
    /// # Errors
    /// The kernel's, when it gives no timer, no signals or no random bytes.
    pub fn new(system: System) -> io::Result<Self> {
        let (processes, powers) = system.divide()?;
        Ok(Self {
            powers,
            processes,
            mux: Mux::guest(),
            attachments: Attachments::default(),
            starts: Vec::new(),
            waits: Vec::new(),
            sync: DiskSync::default(),
            holding: Holding::default(),
            ending: None,
            replies: VecDeque::new(),
            children: signal(SignalKind::child())?,
            has_unreaped: false,
            boot_id: random_id()?,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Starts what the first host is going to ask for, while nobody waits.
    pub fn prepare(&mut self) {
        self.processes.start_worker_ahead();
    }

    /// Serves hosts on `stream`, one session after the other, until the stream ends. May be called again with
    /// this or another stream; processes live on in between. After any other end than that of the stream nothing is
    /// left to be served.
    ///
    /// # Errors
    /// [`ServeError::Stream`].
    pub async fn serve<S>(&mut self, stream: &mut S) -> Result<Served, ServeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.mux.disconnected();
        // The loop bounds its rounds itself; a budget of the runtime's would make what is ready look as if it were not.
        unconstrained(poll_fn(|context| self.poll_serve(context, stream))).await
    }

    fn poll_serve<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<Result<Served, ServeError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for _round in 0..ROUNDS {
            if self.powers.poll_deadline(context).is_ready() {
                self.begin_ending(Served::DeadlineReached, DEADLINE_GRACE);
            }
            while self.holding.poll_over(context).is_ready() {
                self.let_go();
            }
            let mut moved = false;
            match self.poll_receive(context, stream) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Served::StreamEnded)),
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ServeError::Stream(error))),
                Poll::Pending => {}
            }
            self.handle_events();
            while let Poll::Ready(Some(())) = self.children.poll_recv(context) {
                self.has_unreaped = true;
            }
            if self.has_unreaped {
                self.has_unreaped = self.processes.reap();
                moved = true;
            }
            let attachments = &self.attachments;
            moved |= self.processes.poll_progress(context, &|id, kind| attachments.read(id, kind));
            self.answer_starts();
            self.answer_waits();
            self.answer_syncs(context);
            moved |= self.attachments.move_bytes(&mut self.processes, &mut self.mux);
            self.send_replies();
            moved |= self.poll_transmit(context, stream).map_err(ServeError::Stream)?;
            if let Poll::Ready(served) = self.poll_ending(context) {
                return Poll::Ready(Ok(served));
            }
            if !moved {
                self.processes.tidy();
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_receive<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let outcome = Pin::new(stream).poll_read(context, &mut buffer);
        outcome.map_ok(|()| {
            // A guest's session never errs: it starts over.
            let _never = self.mux.receive(buffer.filled());
            buffer.filled().len()
        })
    }

    /// Writes as much as the stream takes; true if it took something.
    fn poll_transmit<S>(&mut self, context: &mut Context<'_>, stream: &mut S) -> io::Result<bool>
    where
        S: AsyncWrite + Unpin,
    {
        let mut moved = false;
        loop {
            let bytes = self.mux.transmit();
            if bytes.is_empty() {
                let _later = Pin::new(&mut *stream).poll_flush(context)?;
                return Ok(moved);
            }
            match Pin::new(&mut *stream).poll_write(context, bytes) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => self.mux.transmitted(count),
                Poll::Ready(Err(error)) => return Err(error),
            }
            moved = true;
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.mux.next_event() {
            match event {
                Event::Established { .. } => {
                    let greeting = hello(self.features(), env!("CARGO_PKG_VERSION"), &self.boot_id);
                    // The queue of a new session is empty.
                    let _queued = self.mux.send(Kind::Control, StreamId::CONTROL, &greeting);
                }
                Event::Reset => self.forget_session(),
                Event::Message { kind: Kind::Call, stream, body } => self.call(stream, &body),
                Event::Message { kind: Kind::Open, stream, body } => self.open(stream, &body),
                // The host's hello: the agent speaks one version so far, and it is the host that refuses.
                Event::Message { .. } => {}
                Event::Data { stream, bytes } => {
                    self.attachments.arrived(stream, &bytes, &mut self.processes, &mut self.mux);
                }
                Event::Credit { .. } => {} // every round tries every attachment
                Event::Closed { stream, .. } => {
                    self.attachments.closed(stream, &mut self.processes, &mut self.mux);
                }
            }
        }
    }

    fn forget_session(&mut self) {
        self.processes.session_ended();
        self.attachments = Attachments::default();
        self.starts.clear();
        self.waits.clear();
        self.sync.forget_calls();
        self.replies.clear();
    }

    /// A file worker needs a disk, or what stands for it.
    fn features(&self) -> &'static [&'static str] {
        match self.powers.disk() {
            Some(_) => &[feature::GROW_DISK, feature::WORKSPACE, feature::HOLD],
            None => &[feature::GROW_DISK, feature::HOLD],
        }
    }

    /// The root directory of the writable disk, or what stands for it.
    pub fn disk(&self) -> Option<BorrowedFd<'_>> {
        self.powers.disk()
    }

    /// Begins the way down, if it has not begun.
    pub(crate) fn begin_ending(&mut self, cause: Served, grace: Duration) {
        if self.ending.is_none() {
            self.ending = Some(Ending::begin(cause, grace, &self.processes));
            // Who is told to end must be able to.
            self.let_go();
        }
    }

    fn poll_ending(&mut self, context: &mut Context<'_>) -> Poll<Served> {
        let Some(ending) = &mut self.ending else { return Poll::Pending };
        let Self { processes, attachments, starts, waits, replies, mux, .. } = self;
        ending.poll_over(context, processes, || {
            let all_is_said =
                starts.is_empty() && waits.is_empty() && replies.is_empty() && mux.transmit().is_empty();
            processes.all_finished() && attachments.is_empty() && all_is_said
        })
    }

    fn answer_syncs(&mut self, context: &mut Context<'_>) {
        while let Some((calls, outcome)) = self.sync.poll(context, self.powers.disk()) {
            for call in calls {
                let body = match &outcome {
                    Ok(()) => reply::Body::Done(Empty {}),
                    Err(error) => reply::Body::Failure(crate::request::failed("sync the disk", error)),
                };
                self.reply(call, body);
            }
        }
    }

    fn open(&mut self, stream: StreamId, body: &[u8]) {
        let opened = crate::request::decode_open(body)
            .and_then(|(kind, open)| self.attachments.open(stream, kind, &open, &mut self.processes));
        if let Err(failure) = opened {
            let close = Close { failure: Some(failure), skipped_bytes: 0 };
            let _gone = self.mux.send(Kind::Close, stream, &close);
        }
    }

    fn answer_starts(&mut self) {
        while let Some((id, error)) = self.processes.take_failed() {
            let failure = crate::request::failure_of(&crate::process::table::TableError::from(error));
            self.attachments.process_failed(&id, &failure, &mut self.mux);
            for (call, _id) in self.starts.extract_if(.., |(_call, started)| *started == id) {
                self.replies.push_back((call, Reply { body: Some(reply::Body::Failure(failure.clone())) }));
            }
        }
        let processes = &self.processes;
        let begun = |id: &str| processes.find(id).ok().filter(|process| process.has_begun());
        for (call, id) in self.starts.extract_if(.., |(_call, id)| begun(id).is_some()) {
            let body = begun(&id).map(|process| reply::Body::Started(Started { pid: process.raw_pid() }));
            self.replies.push_back((call, Reply { body }));
        }
    }

    fn answer_waits(&mut self) {
        let mut index = 0;
        while let Some((call, id)) = self.waits.get(index) {
            let answer = match self.processes.find(id) {
                Ok(process) => process.exit().cloned().map(reply::Body::Exited),
                Err(error) => Some(reply::Body::Failure(crate::request::failure_of(&error))),
            };
            match answer {
                Some(body) => {
                    let call = *call;
                    self.waits.swap_remove(index);
                    self.reply(call, body);
                }
                None => index += 1,
            }
        }
    }

    /// Queues the one reply of a call.
    pub(crate) fn reply(&mut self, call: StreamId, body: reply::Body) {
        self.replies.push_back((call, Reply { body: Some(body) }));
    }

    fn send_replies(&mut self) {
        while let Some((call, reply)) = self.replies.pop_front() {
            match self.mux.send(Kind::Reply, call, &reply) {
                Err(SendError::QueueFull) => {
                    self.replies.push_front((call, reply));
                    return;
                }
                Err(SendError::TooLong { .. }) => {
                    let body = reply::Body::Failure(Failure {
                        code: FailureCode::Exhausted.into(),
                        message: "answer in one frame".into(),
                        errno: 0,
                    });
                    self.replies.push_front((call, Reply { body: Some(body) }));
                }
                // Answered, or the session is gone and with it the question.
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Whether a stream kind flows from the guest to the host.
pub(crate) fn is_output(kind: StreamKind) -> bool {
    matches!(kind, StreamKind::Stdout | StreamKind::Stderr)
}

fn random_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    let mut random = std::fs::File::open("/dev/urandom")?;
    io::Read::read_exact(&mut random, &mut id)?;
    Ok(id)
}
