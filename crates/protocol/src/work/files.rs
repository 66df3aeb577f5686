//! Entries, and requests about single files and directories.

use prost::{Enumeration, Message};

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
    /// Size of a file, bytes; of a symbolic link the length of its target; 0 for all else.
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
    /// Of a file, where the request asks for it: which inode it is and when that changed last. Two machines that began with
    /// the same disk and have equal stamps for a path of equal size have both left that file alone.
    /// Opaque, only to be compared; empty: not known, which is equal to nothing.
    #[prost(bytes = "vec", tag = "10")]
    pub stamp: Vec<u8>,
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
    /// Whether files' stamps are wanted. An agent that does not know them gives none.
    #[prost(bool, tag = "5")]
    pub with_stamps: bool,
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
    /// With lines: replaces the lines from here, from 1; 0: the whole file. Where lines follow, and where the one before has no
    /// end, a line's end that is missing is added, as the neighbours have it.
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
