//! Message bodies. Every field is tagged and optional on the wire, so an agent frozen in a saved machine
//! and a newer host understand each other: unknown fields are skipped, missing ones take their default.
//!
//! Rules for change: never reuse or renumber a tag, never change a field's type; a new request is gated by
//! a feature in [`Hello`] before it is sent.

use prost::{Enumeration, Message, Oneof};

/// First message in each direction after the session is established, on stream 0.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Hello {
    /// Oldest protocol version this side speaks.
    #[prost(uint32, tag = "1")]
    pub oldest_version: u32,
    /// Newest protocol version this side speaks. The session runs at the smaller of the two newest.
    #[prost(uint32, tag = "2")]
    pub newest_version: u32,
    /// Abilities beyond the version, by name, see [`crate::version`].
    #[prost(string, repeated, tag = "3")]
    pub features: Vec<String>,
    /// Release of the program that speaks, for people and logs only.
    #[prost(string, tag = "4")]
    pub release: String,
    /// Random at each start of the agent; a host tells by it whether the guest was booted again.
    #[prost(bytes = "vec", tag = "5")]
    pub boot_id: Vec<u8>,
}

/// Host to guest, in a [`Call`](crate::frame::Kind::Call) frame. Exactly one [`Reply`] answers it on the same stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Request {
    /// What is asked.
    #[prost(oneof = "request::Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub body: Option<request::Body>,
}

/// Variants of [`Request`].
pub mod request {
    use super::*;

    /// What is asked.
    #[derive(Clone, PartialEq, Eq, Oneof)]
    pub enum Body {
        /// Answers at once; measures the round trip.
        #[prost(message, tag = "1")]
        Ping(Empty),
        /// Makes a restored twin an individual: entropy, clock, host name, machine id, deadline. Sent before anything else runs.
        #[prost(message, tag = "2")]
        Individualize(Individualize),
        /// Starts a process.
        #[prost(message, tag = "3")]
        Start(Start),
        /// Answers when the process has ended and all its output is in the spool.
        #[prost(message, tag = "4")]
        Wait(ProcessRef),
        /// Sends a signal to the process, or to its whole cgroup.
        #[prost(message, tag = "5")]
        Signal(Signal),
        /// Forgets a process that has ended, and its spool.
        #[prost(message, tag = "6")]
        Remove(ProcessRef),
        /// Lists the processes the agent knows.
        #[prost(message, tag = "7")]
        List(Empty),
        /// Grows the writable file system to its device, after the host has grown the device.
        #[prost(message, tag = "8")]
        GrowDisk(Empty),
        /// Moves the moment at which the guest powers off by itself.
        #[prost(message, tag = "9")]
        SetDeadline(SetDeadline),
        /// Makes everything on the writable disk durable.
        #[prost(message, tag = "10")]
        Sync(Empty),
        /// Shuts down: processes are told and then killed, the disk is made durable, the machine powers off. Answers when
        /// the shutdown begins.
        #[prost(message, tag = "11")]
        PowerOff(PowerOff),
        /// Gives the guest the time again, after the host or the machine stood still.
        #[prost(message, tag = "12")]
        SetClock(SetClock),
        /// Holds all processes, or lets them go on. Answers when they stand still.
        #[prost(message, tag = "13")]
        Hold(Hold),
    }
}

/// Guest to host.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Reply {
    /// The answer.
    #[prost(oneof = "reply::Body", tags = "1, 2, 3, 4, 5, 6")]
    pub body: Option<reply::Body>,
}

/// Variants of [`Reply`].
pub mod reply {
    use super::*;

    /// The answer.
    #[derive(Clone, PartialEq, Eq, Oneof)]
    pub enum Body {
        /// Done, nothing to say.
        #[prost(message, tag = "1")]
        Done(Empty),
        /// Refused or failed.
        #[prost(message, tag = "2")]
        Failure(Failure),
        /// Answers `Start`.
        #[prost(message, tag = "3")]
        Started(Started),
        /// Answers `Wait`.
        #[prost(message, tag = "4")]
        Exited(ExitStatus),
        /// Answers `List`.
        #[prost(message, tag = "5")]
        Processes(Processes),
        /// Answers `Individualize`.
        #[prost(message, tag = "6")]
        Individual(Individual),
    }
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// Why the guest did not do what was asked.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Failure {
    /// Stable code.
    #[prost(enumeration = "FailureCode", tag = "1")]
    pub code: i32,
    /// A lower-case fragment that reads after "failed to": operation, object, cause.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The system's error number, 0 if there is none.
    #[prost(int32, tag = "3")]
    pub errno: i32,
}

/// Stable codes of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum FailureCode {
    /// Anything without a code of its own.
    Unspecified = 0,
    /// The request does not make sense (empty argv, relative cwd, unknown user).
    Invalid = 1,
    /// No process of that id.
    UnknownProcess = 2,
    /// A process of that id exists already.
    DuplicateProcess = 3,
    /// The program was not found (a shell would say 127).
    ProgramNotFound = 4,
    /// The program is not executable (a shell would say 126).
    ProgramNotExecutable = 5,
    /// The working directory does not exist or cannot be entered.
    BadDirectory = 6,
    /// The agent does not know this request.
    Unsupported = 7,
    /// The guest lacks something: memory, process slots, disk space.
    Exhausted = 8,
    /// The process has not ended.
    StillRunning = 9,
}

/// Makes a restored machine differ from its twins.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Individualize {
    /// Fresh random bytes from the host for the guest's pool, 32 or more.
    #[prost(bytes = "vec", tag = "1")]
    pub entropy: Vec<u8>,
    /// Host's clock, nanoseconds since the epoch.
    #[prost(uint64, tag = "2")]
    pub realtime_ns: u64,
    /// Host name to take; empty leaves it.
    #[prost(string, tag = "3")]
    pub host_name: String,
    /// Machine id to take, 32 lower-case hex digits; empty leaves it.
    #[prost(string, tag = "4")]
    pub machine_id: String,
    /// The guest powers off by itself after this many milliseconds; 0 means never.
    #[prost(uint64, tag = "5")]
    pub deadline_ms: u64,
}

/// Answers [`Individualize`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Individual {
    /// `uname -r` of the guest.
    #[prost(string, tag = "1")]
    pub kernel_release: String,
    /// Boot id of the kernel, 36 characters.
    #[prost(string, tag = "2")]
    pub kernel_boot_id: String,
}

/// Starts a process, in a cgroup of its own.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Start {
    /// Id chosen by the host, unique among the processes the agent knows; at most 64 of `[A-Za-z0-9._-]`.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Program and arguments, not empty; the program is looked up in the PATH of `env`.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub argv: Vec<Vec<u8>>,
    /// Absolute working directory; empty is `/`.
    #[prost(bytes = "vec", tag = "3")]
    pub cwd: Vec<u8>,
    /// Environment, added to the agent's clean default (PATH, HOME, USER, LOGNAME, SHELL, LANG, TERM=dumb).
    #[prost(message, repeated, tag = "4")]
    pub env: Vec<Variable>,
    /// Account by name or number; empty is root.
    #[prost(string, tag = "5")]
    pub user: String,
    /// Killed with its whole cgroup after this many milliseconds; 0 means never.
    #[prost(uint64, tag = "6")]
    pub timeout_ms: u64,
    /// Where standard input comes from.
    #[prost(enumeration = "Stdin", tag = "7")]
    pub stdin: i32,
    /// What a full spool does.
    #[prost(enumeration = "Overflow", tag = "8")]
    pub overflow: i32,
    /// Bytes of output kept per stream; 0 takes the agent's default (1 MiB).
    #[prost(uint64, tag = "9")]
    pub spool_bytes: u64,
    /// Bound on tasks in the cgroup; 0 takes the agent's default.
    #[prost(uint32, tag = "10")]
    pub max_tasks: u32,
    /// A program of the agent's own instead of `argv`, which is then empty.
    #[prost(enumeration = "Builtin", tag = "11")]
    pub builtin: i32,
}

/// Programs that the agent brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Builtin {
    /// None: `argv` says what to start.
    None = 0,
    /// The file worker, see [`work`](crate::work). Runs as root; its descriptor 3 is the root of the writable disk.
    FileWorker = 1,
}

/// Moves the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SetDeadline {
    /// The guest powers off by itself after this many milliseconds from now; 0 means never.
    #[prost(uint64, tag = "1")]
    pub deadline_ms: u64,
}

/// Sets the calendar clock.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SetClock {
    /// Host's clock, nanoseconds since the epoch, not 0.
    #[prost(uint64, tag = "1")]
    pub realtime_ns: u64,
}

/// Holds all processes: none takes a step in its program, also of those that are started meanwhile, until they are let go on, the
/// guest is made an individual, or the time is over.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Hold {
    /// How long at most, milliseconds of the guest; 0 lets them go on.
    #[prost(uint64, tag = "1")]
    pub at_most_ms: u64,
}

/// Shuts the guest down.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct PowerOff {
    /// How long processes may take to end after SIGTERM before they are killed, milliseconds.
    #[prost(uint64, tag = "1")]
    pub grace_ms: u64,
}

/// One environment variable.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Variable {
    /// Name, without `=`.
    #[prost(bytes = "vec", tag = "1")]
    pub name: Vec<u8>,
    /// Value.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Where a process reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Stdin {
    /// `/dev/null`.
    Null = 0,
    /// The stream opened as [`StreamKind::Stdin`]; end of stream is end of file.
    Stream = 1,
}

/// What happens when a spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum Overflow {
    /// The process waits until the host has taken some.
    Block = 0,
    /// The oldest bytes go; offsets keep counting.
    DropOldest = 1,
    /// Like `Block` while a stream reads that output, or until the first one does; else like `DropOldest`.
    BlockWhileRead = 2,
}

/// Answers [`Start`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Started {
    /// Process id in the guest.
    #[prost(uint32, tag = "1")]
    pub pid: u32,
}

/// Names a process.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ProcessRef {
    /// The id given at start.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Sends a signal.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Signal {
    /// The id given at start.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Linux signal number.
    #[prost(int32, tag = "2")]
    pub number: i32,
    /// Whether every task of the cgroup gets it (with 9: `cgroup.kill`), or the process alone.
    #[prost(bool, tag = "3")]
    pub whole_cgroup: bool,
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ExitStatus {
    /// Exit code, if it exited.
    #[prost(int32, optional, tag = "1")]
    pub code: Option<i32>,
    /// Signal number, if a signal ended it.
    #[prost(int32, optional, tag = "2")]
    pub signal: Option<i32>,
    /// The agent killed it at its timeout.
    #[prost(bool, tag = "3")]
    pub timed_out: bool,
    /// Wall time in the guest, microseconds.
    #[prost(uint64, tag = "4")]
    pub duration_us: u64,
    /// All bytes ever written to standard output.
    #[prost(uint64, tag = "5")]
    pub stdout_bytes: u64,
    /// All bytes ever written to standard error.
    #[prost(uint64, tag = "6")]
    pub stderr_bytes: u64,
    /// The kernel killed a task of the cgroup for want of memory.
    #[prost(bool, tag = "7")]
    pub out_of_memory: bool,
}

/// Answers `List`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Processes {
    /// In order of their start.
    #[prost(message, repeated, tag = "1")]
    pub processes: Vec<ProcessInfo>,
}

/// One process.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ProcessInfo {
    /// The id given at start.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Process id in the guest.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    /// How it ended, if it has.
    #[prost(message, optional, tag = "3")]
    pub exit: Option<ExitStatus>,
    /// First and next byte of standard output that the spool holds.
    #[prost(message, optional, tag = "4")]
    pub stdout: Option<SpoolRange>,
    /// First and next byte of standard error that the spool holds.
    #[prost(message, optional, tag = "5")]
    pub stderr: Option<SpoolRange>,
}

/// What a spool holds.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SpoolRange {
    /// Offset of the first byte kept.
    #[prost(uint64, tag = "1")]
    pub first: u64,
    /// Offset of the next byte to come.
    #[prost(uint64, tag = "2")]
    pub next: u64,
}

/// Host to guest, in an [`Open`](crate::frame::Kind::Open) frame: opens a byte stream under the frame's stream id.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Open {
    /// What flows on it.
    #[prost(enumeration = "StreamKind", tag = "1")]
    pub kind: i32,
    /// The process it belongs to.
    #[prost(string, tag = "2")]
    pub process: String,
    /// For output: offset to start from; bytes that are gone are skipped and counted in [`Close::skipped_bytes`].
    #[prost(uint64, tag = "3")]
    pub offset: u64,
}

/// What flows on a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum StreamKind {
    /// Never sent.
    Unspecified = 0,
    /// Host to guest.
    Stdin = 1,
    /// Guest to host.
    Stdout = 2,
    /// Guest to host.
    Stderr = 3,
    /// Reserved: both ways, a terminal.
    Pty = 4,
    /// Reserved: both ways, a TCP port inside the guest.
    Tcp = 5,
}

/// In a [`Close`](crate::frame::Kind::Close) frame: the sender will send no more on this stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Close {
    /// Set when the stream ended for another reason than end of file.
    #[prost(message, optional, tag = "1")]
    pub failure: Option<Failure>,
    /// For output: bytes between the asked offset and the first one delivered that the spool had dropped.
    #[prost(uint64, tag = "2")]
    pub skipped_bytes: u64,
}
