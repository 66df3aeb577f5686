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

use prost::{Enumeration, Message, Oneof, bytes::Bytes};

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

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub enum EntryKind {
    /// Socket, fifo or device.
    Special = 0,
    /// Regular file.
    File = 1,
    /// Directory.
    Directory = 2,
    /// Symbolic link.
    Symlink = 3,
}

/// One path and what is there.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// Relative to `/workspace`.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// What it is.
    #[prost(enumeration = "EntryKind", tag = "2")]
    pub kind: i32,
    /// Size of a file, bytes; 0 for all else.
    #[prost(uint64, tag = "3")]
    pub size_bytes: u64,
    /// Permission bits, 07777.
    #[prost(uint32, tag = "4")]
    pub mode: u32,
    /// Modification time, nanoseconds since the epoch.
    #[prost(sint64, tag = "5")]
    pub modified_ns: i64,
    /// Where a symbolic link points, verbatim.
    #[prost(bytes = "vec", tag = "6")]
    pub link_target: Vec<u8>,
    /// Owner.
    #[prost(uint32, tag = "7")]
    pub uid: u32,
    /// Group.
    #[prost(uint32, tag = "8")]
    pub gid: u32,
    /// SHA-256 of a file's content, where the request asks for it.
    #[prost(bytes = "vec", tag = "9")]
    pub sha256: Vec<u8>,
}

/// Some entries.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entries {
    /// In order of path.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
}

/// The end of a listing.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Listed {
    /// There was more than `limit` allows.
    #[prost(bool, tag = "1")]
    pub truncated: bool,
    /// Things worth a word: what was left out and why.
    #[prost(string, repeated, tag = "2")]
    pub notes: Vec<String>,
}

/// Names a path.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PathRef {
    /// The path.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Whether a file's SHA-256 is wanted.
    #[prost(bool, tag = "2")]
    pub with_sha256: bool,
}

/// Fills the seed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Seed {
    /// Whether a tar stream follows; else the seed is empty.
    #[prost(bool, tag = "1")]
    pub has_input: bool,
}

/// Counts of a transfer.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Unpacked {
    /// Entries made.
    #[prost(uint64, tag = "1")]
    pub entry_count: u64,
    /// Bytes of regular files.
    #[prost(uint64, tag = "2")]
    pub content_bytes: u64,
    /// What was left out and why, at most 100.
    #[prost(string, repeated, tag = "3")]
    pub notes: Vec<String>,
}

/// Lists a directory, or names a single file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct List {
    /// Where.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Whether directories below are entered, links never.
    #[prost(bool, tag = "2")]
    pub recursive: bool,
    /// Most entries; 0: no bound.
    #[prost(uint64, tag = "3")]
    pub limit: u64,
    /// Entries up to and including this path are skipped (for paging).
    #[prost(bytes = "vec", tag = "4")]
    pub after: Vec<u8>,
}

/// Reads a file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Read {
    /// Which.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// First byte; ignored when lines are asked for.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Most bytes; 0: no bound.
    #[prost(uint64, tag = "3")]
    pub max_bytes: u64,
    /// First line, from 1; 0: bytes are asked for.
    #[prost(uint64, tag = "4")]
    pub first_line: u64,
    /// Last line, included; 0: to the end.
    #[prost(uint64, tag = "5")]
    pub last_line: u64,
}

/// The end of a read.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReadDone {
    /// The file, its size at the time.
    #[prost(message, optional, tag = "1")]
    pub entry: Option<Entry>,
    /// Whether the bound cut it off.
    #[prost(bool, tag = "2")]
    pub truncated: bool,
    /// Lines in the file, if lines were asked for and its end was reached.
    #[prost(uint64, optional, tag = "3")]
    pub total_lines: Option<u64>,
}

/// Writes a file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Write {
    /// Which; directories above are made (0755).
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Permission bits; absent: those of the file that is there, or 0644.
    #[prost(uint32, optional, tag = "2")]
    pub mode: Option<u32>,
    /// Fails if something is there.
    #[prost(bool, tag = "3")]
    pub create_only: bool,
    /// With lines: replaces the lines from here, from 1; 0: the whole file.
    #[prost(uint64, tag = "4")]
    pub first_line: u64,
    /// To here, included; one less than `first_line` inserts before it.
    #[prost(uint64, tag = "5")]
    pub last_line: u64,
    /// Most bytes of content; 0: no bound.
    #[prost(uint64, tag = "6")]
    pub max_bytes: u64,
    /// Adds to the end of the file instead.
    #[prost(bool, tag = "7")]
    pub append: bool,
}

/// The end of a write.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Written {
    /// The file as it is now.
    #[prost(message, optional, tag = "1")]
    pub entry: Option<Entry>,
    /// Bytes taken from the input.
    #[prost(uint64, tag = "2")]
    pub written_bytes: u64,
    /// Whether the file was not there before.
    #[prost(bool, tag = "3")]
    pub created: bool,
}

/// Replaces text in a file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Replace {
    /// Which.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// What must be there, not empty.
    #[prost(bytes = "vec", tag = "2")]
    pub old: Vec<u8>,
    /// What comes in its place.
    #[prost(bytes = "vec", tag = "3")]
    pub new: Vec<u8>,
    /// How often it must be there, without overlaps; 0: at least once, all are replaced.
    #[prost(uint64, tag = "4")]
    pub count: u64,
}

/// The end of a replacement.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Replaced {
    /// How often.
    #[prost(uint64, tag = "1")]
    pub count: u64,
    /// Lines where the old text began, from 1, at most 1,000.
    #[prost(uint64, repeated, tag = "2")]
    pub lines: Vec<u64>,
    /// The file as it is now.
    #[prost(message, optional, tag = "3")]
    pub entry: Option<Entry>,
}

/// Makes a directory.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MakeDirectory {
    /// Which.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Permission bits; absent: 0755.
    #[prost(uint32, optional, tag = "2")]
    pub mode: Option<u32>,
    /// Whether one that is there already is an error.
    #[prost(bool, tag = "3")]
    pub must_create: bool,
}

/// Moves or copies.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Transfer {
    /// From.
    #[prost(bytes = "vec", tag = "1")]
    pub from: Vec<u8>,
    /// To; directories above are made.
    #[prost(bytes = "vec", tag = "2")]
    pub to: Vec<u8>,
    /// Whether a file (not a directory) that is there is replaced.
    #[prost(bool, tag = "3")]
    pub overwrite: bool,
    /// Whether a directory may be copied.
    #[prost(bool, tag = "4")]
    pub recursive: bool,
}

/// Deletes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Delete {
    /// Which.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Whether a directory goes with all it holds.
    #[prost(bool, tag = "2")]
    pub recursive: bool,
    /// Whether it is fine if nothing is there.
    #[prost(bool, tag = "3")]
    pub missing_ok: bool,
}

/// Finds paths.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Glob {
    /// Below which directory.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Pattern over the path relative to it; `**` crosses directories.
    #[prost(string, tag = "2")]
    pub pattern: String,
    /// Most entries; 0: no bound.
    #[prost(uint64, tag = "3")]
    pub limit: u64,
    /// Whether `.gitignore` files are respected.
    #[prost(bool, tag = "4")]
    pub respect_gitignore: bool,
    /// Whether names that begin with a dot are left out.
    #[prost(bool, tag = "5")]
    pub skip_hidden: bool,
}

/// Finds lines.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Grep {
    /// Below which directory, or in which file.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Regular expression (Rust's `regex`), or a plain text with `fixed`.
    #[prost(string, tag = "2")]
    pub pattern: String,
    /// Pattern is a plain text.
    #[prost(bool, tag = "3")]
    pub fixed: bool,
    /// Case does not matter.
    #[prost(bool, tag = "4")]
    pub ignore_case: bool,
    /// Only files whose path matches one of these, relative to `path`.
    #[prost(string, repeated, tag = "5")]
    pub include: Vec<String>,
    /// Lines shown before and after.
    #[prost(uint32, tag = "6")]
    pub context: u32,
    /// Most matches; 0: no bound.
    #[prost(uint64, tag = "7")]
    pub limit: u64,
    /// Most bytes of a line that are shown; 0: the worker's default (2,000).
    #[prost(uint32, tag = "8")]
    pub max_line_bytes: u32,
    /// Whether `.gitignore` files are respected.
    #[prost(bool, tag = "9")]
    pub respect_gitignore: bool,
    /// Only names of files and counts.
    #[prost(bool, tag = "10")]
    pub names_only: bool,
}

/// Some matches.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Matches {
    /// In order of path and line.
    #[prost(message, repeated, tag = "1")]
    pub matches: Vec<Match>,
}

/// One line that matches, or stands beside one.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Match {
    /// The file.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// The line, from 1; with `names_only` the number of matching lines.
    #[prost(uint64, tag = "2")]
    pub line: u64,
    /// Its text without the end of line, cut at the bound.
    #[prost(bytes = "vec", tag = "3")]
    pub text: Vec<u8>,
    /// Whether it only stands beside a match.
    #[prost(bool, tag = "4")]
    pub is_context: bool,
}

/// Applies a patch.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Patch {
    /// Only says what would happen.
    #[prost(bool, tag = "1")]
    pub check: bool,
    /// Most bytes of patch; 0: no bound.
    #[prost(uint64, tag = "2")]
    pub max_bytes: u64,
    /// Applies it backwards.
    #[prost(bool, tag = "3")]
    pub reverse: bool,
}

/// The end of a patch.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Patched {
    /// In the patch's order.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<PatchedFile>,
}

/// What happened to a file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PatchedFile {
    /// The path after the patch; before it for a deletion.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// How it changed.
    #[prost(enumeration = "ChangeStatus", tag = "2")]
    pub status: i32,
    /// The path before, if renamed or copied.
    #[prost(bytes = "vec", tag = "3")]
    pub old_path: Vec<u8>,
    /// Hunks that did not apply exactly where they said.
    #[prost(message, repeated, tag = "4")]
    pub shifted: Vec<ShiftedHunk>,
}

/// A hunk that applied elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ShiftedHunk {
    /// Its number, from 1.
    #[prost(uint32, tag = "1")]
    pub hunk: u32,
    /// The line where it applied.
    #[prost(uint64, tag = "2")]
    pub line: u64,
    /// Lines between where it said and where it applied.
    #[prost(sint64, tag = "3")]
    pub offset: i64,
    /// Lines of context that were ignored.
    #[prost(uint32, tag = "4")]
    pub fuzz: u32,
}

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ChangeStatus {
    /// Never sent.
    Unspecified = 0,
    /// New.
    Added = 1,
    /// Other content, mode or target.
    Modified = 2,
    /// Gone.
    Deleted = 3,
    /// Another type.
    TypeChanged = 4,
    /// Under another name.
    Renamed = 5,
    /// A copy of another path (only in patches).
    Copied = 6,
}

/// Compares `/workspace` with its seed.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Diff {
    /// Only these paths and what is below; empty: all.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub paths: Vec<Vec<u8>>,
    /// No patch, only what changed.
    #[prost(bool, tag = "2")]
    pub names_only: bool,
    /// Most bytes of patch; what does not fit is named in [`DiffDone::left_out`]. 0: no bound.
    #[prost(uint64, tag = "3")]
    pub max_bytes: u64,
    /// Lines of context; absent: 3.
    #[prost(uint32, optional, tag = "4")]
    pub context: Option<u32>,
    /// Count added and removed lines.
    #[prost(bool, tag = "5")]
    pub with_counts: bool,
    /// Do not look for renames.
    #[prost(bool, tag = "6")]
    pub no_renames: bool,
}

/// Some changes, in order of path.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Changed {
    /// Them.
    #[prost(message, repeated, tag = "1")]
    pub changes: Vec<Change>,
}

/// One path that differs.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Change {
    /// The path now; before, if it is gone.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// How.
    #[prost(enumeration = "ChangeStatus", tag = "2")]
    pub status: i32,
    /// The path before, if renamed.
    #[prost(bytes = "vec", tag = "3")]
    pub old_path: Vec<u8>,
    /// What is there now; absent: nothing.
    #[prost(message, optional, tag = "4")]
    pub now: Option<Entry>,
    /// What was there in the base; absent: nothing.
    #[prost(message, optional, tag = "5")]
    pub base: Option<Entry>,
    /// Whether either side is binary.
    #[prost(bool, tag = "6")]
    pub binary: bool,
    /// Lines added, where counted.
    #[prost(uint64, optional, tag = "7")]
    pub added_lines: Option<u64>,
    /// Lines removed, where counted.
    #[prost(uint64, optional, tag = "8")]
    pub removed_lines: Option<u64>,
    /// Where its text begins in the patch, bytes from its start; absent: it has none there.
    #[prost(uint64, optional, tag = "9")]
    pub patch_offset: Option<u64>,
    /// How long that text is.
    #[prost(uint64, tag = "10")]
    pub patch_bytes: u64,
}

/// The end of a diff.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DiffDone {
    /// Paths whose text was left out for the bound.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub left_out: Vec<Vec<u8>>,
    /// Things worth a word.
    #[prost(string, repeated, tag = "2")]
    pub notes: Vec<String>,
}

/// Makes a directory like a tar stream.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Push {
    /// Which directory; made if missing.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// Whether what the stream does not have goes, but for `keep`.
    #[prost(bool, tag = "2")]
    pub delete: bool,
    /// With `delete`: patterns (gitignore's syntax) of paths that stay.
    #[prost(string, repeated, tag = "3")]
    pub keep: Vec<String>,
    /// Only says what would change.
    #[prost(bool, tag = "4")]
    pub dry_run: bool,
    /// Remember the result as what host and guest have in common.
    #[prost(bool, tag = "5")]
    pub is_seed_directory: bool,
}

/// The end of a push.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Pushed {
    /// Entries in the stream and their bytes.
    #[prost(message, optional, tag = "1")]
    pub received: Option<Unpacked>,
    /// Paths that were made or changed.
    #[prost(uint64, tag = "2")]
    pub changed_count: u64,
    /// Paths that went.
    #[prost(uint64, tag = "3")]
    pub deleted_count: u64,
    /// The first 1,000 of both.
    #[prost(message, repeated, tag = "4")]
    pub changes: Vec<Change>,
}

/// Asks what differs from what host and guest had in common last.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Changes {
    /// Only below this path.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
}

/// Asks for an archive.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Pack {
    /// What; a directory with all it holds. Members are named relative to `base`.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub paths: Vec<Vec<u8>>,
    /// Every path is below it.
    #[prost(bytes = "vec", tag = "2")]
    pub base: Vec<u8>,
    /// Directories without what they hold.
    #[prost(bool, tag = "3")]
    pub not_recursive: bool,
}

/// What host and guest now have in common.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Synced {
    /// Present paths with their digests; of kind [`EntryKind::Special`] with size 0: gone on both sides.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
}
