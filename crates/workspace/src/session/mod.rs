//! The host's end of the talk with one guest, over any byte stream.
//!
//! [`GuestSession::open`] finds the start of a session in whatever the stream holds, exchanges hellos and agrees on a
//! version. From then on a [`GuestSession`] is a handle that can be cloned; a task of its own ([`driver`]) moves the
//! bytes.
//!
//! # Promises
//!
//! - A request is queued when its method is *called*, in that order; the future that the method returns only
//!   waits for the answer. So a start, its output streams and the wait for its end travel together.
//! - Whatever the guest sends, memory is bounded: each output holds at most its credit, and credit is returned when
//!   the consumer asks for more than it was given. A slow consumer stalls its own stream and nothing else.
//! - When the stream breaks or the guest breaks the protocol, everybody who waits gets [`SessionError::Lost`] with
//!   the cause; output that had arrived is delivered first.
//! - The stream is dropped at [`GuestSession::close`], after everything queued is written, or when the last
//!   handle, stream and unanswered request is dropped, with whatever is still queued.

mod driver;
mod error;
mod input;
mod output;
mod state;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use pyro_protocol::{
    message::{
        Empty, ExitStatus, Hello, Hold, Individual, Individualize, PowerOff, ProcessRef, Processes, SetClock,
        SetDeadline, Signal, Start, Started, StreamKind, reply, request,
    },
    version::{self, Version},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};

use self::{
    driver::Driver,
    state::{Owner, Shared},
};
pub use self::{
    error::{Loss, SessionError},
    input::InputStream,
    output::OutputStream,
};
pub use pyro_protocol::message::FailureCode;

/// A guest that was just reopening its port, or holds half a frame, does not hear the opening; so soon the host knocks.
const FIRST_KNOCK: Duration = Duration::from_millis(100);
/// From then on it knocks so often.
const KNOCK_INTERVAL: Duration = Duration::from_millis(500);

/// Which output of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutputKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputKind {
    fn stream_kind(self) -> StreamKind {
        match self {
            Self::Stdout => StreamKind::Stdout,
            Self::Stderr => StreamKind::Stderr,
        }
    }
}

/// What the guest said about itself. Its word: for decisions about what to send it, and for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The version at which the session runs.
    pub version: Version,
    /// What it can do beyond the version, see [`pyro_protocol::version::feature`].
    pub features: BTreeSet<String>,
    /// Release of its agent.
    pub release: String,
    /// Drawn anew at each start of its agent.
    pub boot_id: Vec<u8>,
}

impl Peer {
    fn new(hello: Hello) -> Result<Self, SessionError> {
        let version = version::negotiate(&hello).map_err(|source| SessionError::Version { source })?;
        let Hello { features, release, boot_id, .. } = hello;
        Ok(Self { version, features: features.into_iter().collect(), release, boot_id })
    }

    /// Whether the guest named that feature.
    pub fn supports(&self, feature: &str) -> bool {
        self.features.contains(feature)
    }
}

/// A handle to one guest; see the [module](self).
#[derive(Clone)]
pub struct GuestSession {
    owner: Arc<Owner>,
    peer: Arc<Peer>,
    name: Arc<str>,
}

impl fmt::Debug for GuestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestSession").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl GuestSession {
    /// Opens a session over `stream` and introduces this side as `release`. Waits for a guest that is still booting
    /// for as long as the stream stays open: the caller decides when to give up, by dropping the future, which drops
    /// the stream.
    ///
    /// # Errors
    ///
    /// [`SessionError::Lost`] when the stream ends or what comes over it is no session, [`SessionError::Version`] when
    /// the guest is too new.
    pub async fn open<S>(stream: S, release: &str) -> Result<Self, SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (greeted, mut greeting) = oneshot::channel();
        let hello = version::hello(&[], release, &[]);
        let nonce = driver::draw_nonce()?;
        let name = nonce.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let shared = Shared::new(nonce, hello, greeted);
        let owner = Arc::new(Owner::new(Arc::clone(&shared)));
        tokio::spawn(Driver::new(stream, shared).run());

        let mut patience = FIRST_KNOCK;
        let hello = loop {
            tokio::select! {
                hello = &mut greeting => break hello.unwrap_or_else(|_| Err(owner.loss()))?,
                () = tokio::time::sleep(patience) => owner.knock(),
            }
            patience = KNOCK_INTERVAL;
        };
        Ok(Self { owner, peer: Arc::new(Peer::new(hello)?), name: name.into() })
    }

    /// What the guest said about itself.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Asks for nothing but an answer.
    pub fn ping(&self) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        self.call("ping", request::Body::Ping(Empty {}), done)
    }

    /// Makes a restored twin an individual; before anything else is asked of it.
    pub fn individualize(
        &self,
        individualize: Individualize,
    ) -> impl Future<Output = Result<Individual, SessionError>> + Send + use<> {
        self.call("individualize", request::Body::Individualize(individualize), |body| match body {
            reply::Body::Individual(individual) => Some(individual),
            _ => None,
        })
    }

    /// Starts a process.
    pub fn start(&self, start: Start) -> impl Future<Output = Result<Started, SessionError>> + Send + use<> {
        self.call("start", request::Body::Start(start), |body| match body {
            reply::Body::Started(started) => Some(started),
            _ => None,
        })
    }

    /// Waits for the end of a process. The answer may overtake output that is still on its way.
    pub fn wait(
        &self,
        process: &str,
    ) -> impl Future<Output = Result<ExitStatus, SessionError>> + Send + use<> {
        self.call("wait", request::Body::Wait(named(process)), |body| match body {
            reply::Body::Exited(status) => Some(status),
            _ => None,
        })
    }

    /// Sends the Linux signal of that number to a process alone, or to all tasks of its cgroup.
    pub fn signal(
        &self,
        process: &str,
        number: i32,
        whole_cgroup: bool,
    ) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let signal = Signal { id: process.to_owned(), number, whole_cgroup };
        self.call("signal", request::Body::Signal(signal), done)
    }

    /// Forgets a process that has ended, and its output.
    pub fn remove(&self, process: &str) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        self.call("remove", request::Body::Remove(named(process)), done)
    }

    /// Lists the processes the guest knows.
    pub fn list(&self) -> impl Future<Output = Result<Processes, SessionError>> + Send + use<> {
        self.call("list", request::Body::List(Empty {}), |body| match body {
            reply::Body::Processes(processes) => Some(processes),
            _ => None,
        })
    }

    /// Grows the guest's writable file system to its device.
    pub fn grow_disk(&self) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        self.call("grow the disk", request::Body::GrowDisk(Empty {}), done)
    }

    /// Moves the moment at which the guest powers off by itself; none: never.
    pub fn set_deadline(
        &self,
        deadline: Option<Duration>,
    ) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let deadline_ms =
            deadline.map_or(0, |life| u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1));
        self.call("move the deadline", request::Body::SetDeadline(SetDeadline { deadline_ms }), done)
    }

    /// Gives the guest the time: nanoseconds since the epoch.
    pub fn set_clock(
        &self,
        realtime_ns: u64,
    ) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        self.call("set its clock", request::Body::SetClock(SetClock { realtime_ns }), done)
    }

    /// Gives the guest the host's time, before whatever it is asked next. A guest that cannot hear it is noticed otherwise.
    pub fn tell_time(&self) {
        let told = self.set_clock(crate::machine_start::realtime_ns());
        tokio::spawn(async move { drop(told.await) });
    }

    /// Holds all processes of the guest for so long at the most: none takes a step until [`Self::let_go`], or until a twin is made an
    /// individual. A guest of an earlier release does nothing.
    pub async fn hold(&self, at_most: Duration) -> Result<(), SessionError> {
        if !self.peer.supports(version::feature::HOLD) {
            return Ok(());
        }
        let at_most_ms = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX);
        self.call("hold its processes", request::Body::Hold(Hold { at_most_ms }), done).await
    }

    /// Lets them go on, before whatever the guest is asked next. One that cannot hear it does so by itself.
    pub fn let_go(&self) {
        if self.peer.supports(version::feature::HOLD)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let told =
                self.call("let its processes go on", request::Body::Hold(Hold { at_most_ms: 0 }), done);
            runtime.spawn(async move { drop(told.await) });
        }
    }

    /// Names this session and no other, for what the guest keeps beyond it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes everything on the guest's writable disk durable.
    pub fn sync(&self) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        self.call("sync its disk", request::Body::Sync(Empty {}), done)
    }

    /// Shuts the guest down; its processes get `grace` to end. Answered when the shutdown begins.
    pub fn power_off(
        &self,
        grace: Duration,
    ) -> impl Future<Output = Result<(), SessionError>> + Send + use<> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.call("shut down", request::Body::PowerOff(PowerOff { grace_ms }), done)
    }

    /// Whether it is over, however that came.
    pub fn is_over(&self) -> bool {
        self.owner.is_over()
    }

    /// Waits until the session is over, however that comes, and says why.
    pub async fn ended(&self) -> SessionError {
        // The sender never sends: it is dropped with the driver.
        drop(self.owner.ending().await);
        self.owner.loss()
    }

    /// Opens an output of a process from that byte on.
    pub fn output(&self, process: &str, kind: OutputKind, offset: u64) -> OutputStream {
        OutputStream::open(&self.owner, process, kind, offset)
    }

    /// Opens the standard input of a process that was started with a stream for it.
    pub fn input(&self, process: &str) -> InputStream {
        InputStream::open(&self.owner, process)
    }

    /// Ends the session for all its handles: returns when everything queued is written and the stream is dropped. A
    /// guest that does not read can delay that without end; dropping the future leaves the rest to the last handle.
    pub async fn close(self) {
        // The sender is dropped when the stream was.
        drop(self.owner.close().await);
    }

    fn call<T>(
        &self,
        operation: &'static str,
        body: request::Body,
        expected: fn(reply::Body) -> Option<T>,
    ) -> impl Future<Output = Result<T, SessionError>> + Send + use<T> {
        let queued = self.owner.call(operation, body);
        let owner = Arc::clone(&self.owner);
        async move {
            let answer = queued?.await.unwrap_or_else(|_| Err(owner.loss()))?;
            expected(answer).ok_or(SessionError::Unexpected { operation })
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one signature for all answers")]
fn done(body: reply::Body) -> Option<()> {
    matches!(body, reply::Body::Done(_)).then_some(())
}

fn named(process: &str) -> ProcessRef {
    ProcessRef { id: process.to_owned() }
}
