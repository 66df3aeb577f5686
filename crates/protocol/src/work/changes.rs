//! Patches, comparisons, and transfers of whole trees.

use prost::{Enumeration, Message};

use super::{Entry, Unpacked};

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
    /// In the patch's order; as many as fit into one reply.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<PatchedFile>,
    /// How many more files were changed just so and are not in `files`.
    #[prost(uint64, tag = "2")]
    pub left_out_count: u64,
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

/// Bytes of a file over which a report of differences takes it for binary.
pub const DIFF_TEXT_BYTES: u64 = 32 << 20;
/// Bytes of paths that a report names as left out of its patch.
pub const DIFF_LEFT_OUT_BYTES: usize = 512 << 10;
/// Notes of a report of differences.
pub const DIFF_NOTES: usize = 100;

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
