//! What the host asks, one function for each request, and how errors of the parts become failures on the wire.

use std::error::Error;
use std::io;
use std::time::Duration;

use prost::Message;
use pyro_protocol::StreamId;
use pyro_protocol::message::{
    Empty, Failure, FailureCode, Hold, Open, PowerOff, Processes, Request, Signal, Start, Started,
    StreamKind, reply, request,
};

use crate::agent::{Agent, Served};
use crate::kernel;
use crate::process::launch::LaunchError;
use crate::process::table::TableError;

/// After so long a kernel that did not let processes go on is asked again.
const LET_GO_AGAIN: Duration = Duration::from_millis(100);

impl Agent {
    /// Answers a call, or lets it wait.
    pub(crate) fn call(&mut self, call: StreamId, body: &[u8]) {
        let Ok(request) = Request::decode(body) else {
            return self
                .reply(call, reply::Body::Failure(failure(FailureCode::Invalid, "decode the request")));
        };
        let answer = match request.body {
            Some(request::Body::Wait(process)) => match self.processes.find(&process.id) {
                Ok(_) => return self.waits.push((call, process.id)),
                Err(error) => Err(failure_of(&error)),
            },
            Some(request::Body::Ping(Empty {})) => Ok(reply::Body::Done(Empty {})),
            Some(request::Body::Individualize(wish)) => {
                let individual = self.powers.individualize(&wish);
                if individual.is_ok() {
                    self.let_go();
                }
                individual.map(reply::Body::Individual).map_err(|error| failure_of(&error))
            }
            Some(request::Body::Hold(wish)) => self.hold(wish),
            Some(request::Body::Start(start)) => match self.start(call, start) {
                Ok(Some(started)) => Ok(started),
                Ok(None) => return,
                Err(failure) => Err(failure),
            },
            Some(request::Body::Signal(signal)) => self.signal(&signal),
            Some(request::Body::Remove(process)) => self.remove(&process.id),
            Some(request::Body::List(Empty {})) => {
                Ok(reply::Body::Processes(Processes { processes: self.processes.list() }))
            }
            Some(request::Body::GrowDisk(Empty {})) => self
                .powers
                .grow_disk()
                .map(|()| reply::Body::Done(Empty {}))
                .map_err(|error| failure_of(&error)),
            Some(request::Body::SetDeadline(wish)) => self
                .powers
                .set_deadline(wish.deadline_ms)
                .map(|()| reply::Body::Done(Empty {}))
                .map_err(|error| failed("set the deadline", &error)),
            Some(request::Body::SetClock(wish)) => self
                .powers
                .set_clock(wish)
                .map(|()| reply::Body::Done(Empty {}))
                .map_err(|error| failure_of(&error)),
            Some(request::Body::Sync(Empty {})) => match self.powers.disk() {
                Some(_) => return self.sync.ask(call),
                None => Err(failure(FailureCode::Unsupported, "sync the disk of a program that has none")),
            },
            Some(request::Body::PowerOff(PowerOff { grace_ms })) => {
                self.begin_ending(Served::PoweredOff, Duration::from_millis(grace_ms));
                Ok(reply::Body::Done(Empty {}))
            }
            None => Err(failure(FailureCode::Unsupported, "understand the request")),
        };
        self.reply(call, answer.unwrap_or_else(reply::Body::Failure));
    }

    fn hold(&mut self, wish: Hold) -> Result<reply::Body, Failure> {
        if wish.at_most_ms == 0 {
            self.let_go();
        } else if self.ending.is_none() {
            self.holding.begin(Duration::from_millis(wish.at_most_ms));
            if let Err(error) = self.processes.hold() {
                self.let_go();
                return Err(failed("hold the processes", &error));
            }
        }
        Ok(reply::Body::Done(Empty {}))
    }

    /// Lets the processes go on if they are held. Where the kernel refuses, it is asked again.
    pub(crate) fn let_go(&mut self) {
        if self.holding.is_on() {
            match self.processes.let_go() {
                Ok(()) => self.holding.end(),
                Err(_) => self.holding.begin(LET_GO_AGAIN),
            }
        }
    }

    /// Starts a process. None: it has not begun yet, and the call waits for that.
    fn start(&mut self, call: StreamId, start: Start) -> Result<Option<reply::Body>, Failure> {
        if self.ending.is_some() {
            return Err(failure(FailureCode::Unspecified, "start a process while the machine shuts down"));
        }
        let process = self.processes.start(start).map_err(|error| failure_of(&error))?;
        if process.has_begun() {
            return Ok(Some(reply::Body::Started(Started { pid: process.raw_pid() })));
        }
        self.starts.push((call, process.id().to_owned()));
        Ok(None)
    }

    fn signal(&self, signal: &Signal) -> Result<reply::Body, Failure> {
        let process = self.processes.find(&signal.id).map_err(|error| failure_of(&error))?;
        let number = kernel::signal(signal.number)
            .ok_or_else(|| failure(FailureCode::Invalid, "send a signal that does not exist"))?;
        let sent = process.signal(number, signal.whole_cgroup);
        sent.map(|()| reply::Body::Done(Empty {})).map_err(|error| failed("send a signal", &error))
    }

    fn remove(&mut self, id: &str) -> Result<reply::Body, Failure> {
        self.processes.remove(id).map_err(|error| failure_of(&error))?;
        self.attachments.process_removed(id, &mut self.mux);
        Ok(reply::Body::Done(Empty {}))
    }
}

/// Reads an open message.
pub(crate) fn decode_open(body: &[u8]) -> Result<(StreamKind, Open), Failure> {
    let open = Open::decode(body).map_err(|_| failure(FailureCode::Invalid, "decode the open message"))?;
    match open.kind() {
        kind @ (StreamKind::Stdin | StreamKind::Stdout | StreamKind::Stderr) => Ok((kind, open)),
        _ => Err(failure(FailureCode::Unsupported, "open a stream of this kind")),
    }
}

/// A failure that the agent itself found.
pub(crate) fn failure(code: FailureCode, message: &str) -> Failure {
    Failure { code: code.into(), message: message.to_owned(), errno: 0 }
}

/// A failure of a single system call.
pub(crate) fn failed(operation: &str, error: &io::Error) -> Failure {
    let errno = error.raw_os_error().unwrap_or(0);
    Failure { errno, ..failure(FailureCode::Unspecified, &format!("{operation}: {error}")) }
}

/// An error of one of the agent's parts that knows its code on the wire.
pub(crate) trait Coded: Error + 'static {
    /// The stable code.
    fn code(&self) -> FailureCode;
}

impl Coded for TableError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Launch(error) => error.code(),
            Self::Duplicate(_) => FailureCode::DuplicateProcess,
            Self::Full => FailureCode::Exhausted,
            Self::Unknown(_) => FailureCode::UnknownProcess,
            Self::StillRunning(_) => FailureCode::StillRunning,
        }
    }
}

impl Coded for LaunchError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Invalid(_) | Self::UnknownUser(_) => FailureCode::Invalid,
            Self::BadDirectory(..) => FailureCode::BadDirectory,
            Self::ProgramNotFound(_) => FailureCode::ProgramNotFound,
            Self::ProgramNotExecutable(_) => FailureCode::ProgramNotExecutable,
            Self::Exhausted { .. } => FailureCode::Exhausted,
            Self::NoBuiltin => FailureCode::Unsupported,
        }
    }
}

impl Coded for crate::identity::IdentityError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Invalid(_) => FailureCode::Invalid,
            _ => FailureCode::Unspecified,
        }
    }
}

impl Coded for crate::system::GrowError {
    fn code(&self) -> FailureCode {
        match self {
            Self::NoDisk => FailureCode::Unsupported,
            Self::Resize(_) => FailureCode::Unspecified,
        }
    }
}

/// Puts an error and its causes on one line, with the number of the deepest cause that has one.
pub(crate) fn failure_of(error: &impl Coded) -> Failure {
    let mut message = error.to_string();
    let mut errno = 0;
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        errno = error.downcast_ref().and_then(io::Error::raw_os_error).unwrap_or(errno);
        cause = error.source();
    }
    Failure { code: error.code().into(), message, errno }
}
