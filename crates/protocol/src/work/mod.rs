//! What the host says to a file worker: a process of the agent's own binary that does everything with files in the
//! guest, so that the agent itself never waits for a file system.
//!
//! A worker reads [`WorkRequest`]s on its standard input and writes [`WorkReply`]s on its standard output, each
//! behind its length as four bytes, little endian, at most [`MAX_WORK_BYTES`]. It serves one request after the other:
//!
//! ```text
//! host:  request  [data … data end]                (input only where the request says so)
//! guest:          [data | entries | progress …]  done | failure        (exactly one of the two ends it)
//! ```
//!
//! After a failure the worker takes input until its end, so that the next request starts where it should. A worker
//! whose host is gone (end of file) ends; a change that was not committed by then is undone.
//!
//! Paths are bytes, relative to `/workspace`, without `.` and `..`; empty is `/workspace` itself. None leaves
//! `/workspace` through a link: [`WorkFailureCode::Escapes`].
//!
//! Rules for change are those of [`message`](crate::message).

mod changes;
mod files;

use prost::{Enumeration, Message, Oneof, bytes::Bytes};

pub use self::{changes::*, files::*};

/// Longest message in either direction, without its length.
pub const MAX_WORK_BYTES: usize = 1 << 20;
/// Bytes that one [`work_request::Body::Data`] or [`work_reply::Body::Data`] should carry.
pub const DATA_BYTES: usize = 256 << 10;

/// Host to worker.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkRequest {
    /// What is asked.
    #[prost(
        oneof = "work_request::Body",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21"
    )]
    pub body: Option<work_request::Body>,
}

/// Variants of [`WorkRequest`].
pub mod work_request {
    use super::*;

    /// What is asked.
    #[derive(Clone, PartialEq, Eq, Oneof)]
    pub enum Body {
        /// A piece of the input of the request before.
        #[prost(bytes = "bytes", tag = "1")]
        Data(Bytes),
        /// The end of the input; with a text it is to be thrown away and the request fails with that text.
        #[prost(message, tag = "2")]
        End(EndOfInput),
        /// Input: a tar stream. Fills the empty seed, mounts `/workspace` over it, makes both durable. Answers `Unpacked`.
        #[prost(message, tag = "3")]
        Seed(Seed),
        /// Answers one entry, links not followed.
        #[prost(message, tag = "4")]
        Stat(PathRef),
        /// Answers `Entries` in order of path, then `Done`.
        #[prost(message, tag = "5")]
        List(List),
        /// Answers `Data`, then `ReadDone`.
        #[prost(message, tag = "6")]
        Read(Read),
        /// Input: the content. Replaces or makes a file in one step. Answers `Written`.
        #[prost(message, tag = "7")]
        Write(Write),
        /// Replaces text that must occur exactly so often. Answers `Replaced`.
        #[prost(message, tag = "8")]
        Replace(Replace),
        /// Makes a directory and those above it. Answers `Done`.
        #[prost(message, tag = "9")]
        MakeDirectory(MakeDirectory),
        /// Renames. Answers `Done`.
        #[prost(message, tag = "10")]
        Move(Transfer),
        /// Copies a file or a tree. Answers `Unpacked`.
        #[prost(message, tag = "11")]
        Copy(Transfer),
        /// Deletes. Answers `Done`.
        #[prost(message, tag = "12")]
        Delete(Delete),
        /// Answers `Entries` whose path matches, in order of path, then `Done`.
        #[prost(message, tag = "13")]
        Glob(Glob),
        /// Answers `Matches`, then `Done`.
        #[prost(message, tag = "14")]
        Grep(Grep),
        /// Input: the patch. All or nothing. Answers `Patched`.
        #[prost(message, tag = "15")]
        Patch(Patch),
        /// Answers `Changed` for each changed file, then `Data` (the patch), then `DiffDone`.
        #[prost(message, tag = "16")]
        Diff(Diff),
        /// Input: a tar stream. Makes the destination like it, all or nothing. Answers `Pushed`.
        #[prost(message, tag = "17")]
        Push(Push),
        /// Answers `Changed` for each file that differs from the common base, with what the base was, then `Done`.
        #[prost(message, tag = "18")]
        Changes(Changes),
        /// Answers `Data` (a tar stream of these paths), then `Unpacked`.
        #[prost(message, tag = "19")]
        Pack(Pack),
        /// Input: none. What host and guest now have in common at these paths. Answers `Done`.
        #[prost(message, tag = "20")]
        Synced(Synced),
        /// Input: a tar stream of a directory, which takes the seed's part as the old side. Answers as `Diff` does.
        #[prost(message, tag = "21")]
        DiffAgainst(Diff),
    }
}

/// Worker to host.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkReply {
    /// The answer, or a part of it.
    #[prost(oneof = "work_reply::Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub body: Option<work_reply::Body>,
}

/// Variants of [`WorkReply`].
pub mod work_reply {
    use super::*;

    /// The answer, or a part of it.
    #[derive(Clone, PartialEq, Eq, Oneof)]
    pub enum Body {
        /// A piece of the output.
        #[prost(bytes = "bytes", tag = "1")]
        Data(Bytes),
        /// Some entries.
        #[prost(message, tag = "2")]
        Entries(Entries),
        /// Some matches.
        #[prost(message, tag = "3")]
        Matches(Matches),
        /// Some changes.
        #[prost(message, tag = "4")]
        Changed(Changed),
        /// The end: done, nothing to add.
        #[prost(message, tag = "5")]
        Done(Listed),
        /// The end: not done.
        #[prost(message, tag = "6")]
        Failure(WorkFailure),
        /// The end of `Stat`.
        #[prost(message, tag = "7")]
        Entry(Entry),
        /// The end of `Read`.
        #[prost(message, tag = "8")]
        ReadDone(ReadDone),
        /// The end of `Write`.
        #[prost(message, tag = "9")]
        Written(Written),
        /// The end of `Replace`.
        #[prost(message, tag = "10")]
        Replaced(Replaced),
        /// The end of `Seed`, `Copy` and `Pack`.
        #[prost(message, tag = "11")]
        Unpacked(Unpacked),
        /// The end of `Patch`.
        #[prost(message, tag = "12")]
        Patched(Patched),
        /// The end of `Diff` and `DiffAgainst`.
        #[prost(message, tag = "13")]
        DiffDone(DiffDone),
        /// The end of `Push`.
        #[prost(message, tag = "14")]
        Pushed(Pushed),
    }
}

/// The end of a request's input.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EndOfInput {
    /// Why the input is to be thrown away; empty: it is whole.
    #[prost(string, tag = "1")]
    pub abandoned: String,
}

/// Why a request was not carried out.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct WorkFailure {
    /// Stable code.
    #[prost(enumeration = "WorkFailureCode", tag = "1")]
    pub code: i32,
    /// A lower-case fragment that reads after "failed to": operation, object, cause.
    #[prost(string, tag = "2")]
    pub message: String,
    /// The path it is about; empty if none.
    #[prost(bytes = "vec", tag = "3")]
    pub path: Vec<u8>,
    /// The system's error number, 0 if there is none.
    #[prost(int32, tag = "4")]
    pub errno: i32,
}

/// Stable codes of [`WorkFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub enum WorkFailureCode {
    /// Anything without a code of its own.
    Unspecified = 0,
    /// The request does not make sense.
    Invalid = 1,
    /// The path is not there.
    NotFound = 2,
    /// Something is there already.
    Exists = 3,
    /// The path leads out of `/workspace` through a link.
    Escapes = 4,
    /// The path is of another type than the request wants, e.g. a directory instead of a file.
    WrongType = 5,
    /// The directory has entries and `recursive` was not set.
    NotEmpty = 6,
    /// The text was found another number of times.
    CountMismatch = 7,
    /// The patch cannot be understood.
    PatchMalformed = 8,
    /// The patch does not fit the files.
    PatchRejected = 9,
    /// No room on the guest's disk.
    DiskFull = 10,
    /// The archive is malformed or hostile.
    BadArchive = 11,
    /// More than a bound of the request allows.
    TooLarge = 12,
    /// The pattern is no pattern.
    BadPattern = 13,
    /// The worker does not know this request.
    Unsupported = 14,
    /// The host gave the input up.
    Abandoned = 15,
    /// A file changed while it was worked on; nothing was done.
    Changed = 16,
}
