//! Why a patch is refused, each with the place.

use crate::{FilePath, PathFault, lines::MAX_LINES};

/// A patch that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("patch line {line}{}: {fault}", of_file(.file.as_ref()))]
pub struct ParseError {
    /// Line of the patch, counted from 1.
    pub line: usize,
    /// The file it is about, as the patch names it and as far as that is known.
    pub file: Option<String>,
    /// What is wrong there.
    pub fault: ParseFault,
}

fn of_file(file: Option<&String>) -> String {
    file.map(|file| format!(" ({file})")).unwrap_or_default()
}

/// What can be wrong with a patch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseFault {
    /// Nothing but white space.
    #[error("the patch is blank")]
    Blank,
    /// Text, but no file in it.
    #[error("the text changes no file: it has neither `diff --git` nor `---` and `+++` lines")]
    NoFiles,
    /// A file's name breaks a rule.
    #[error("name {name:?} is refused: {fault}")]
    Path {
        /// As it stands there.
        name: String,
        /// The rule.
        fault: PathFault,
    },
    /// A name in quotes that is not well-formed.
    #[error("the quoted name is malformed")]
    Quotes,
    /// `---` without `+++`.
    #[error("a `---` line must be followed by a `+++` line")]
    NoNewLabel,
    /// `+++` without `---`.
    #[error("a `+++` line must follow a `---` line")]
    NoOldLabel,
    /// `--- /dev/null` with `+++ /dev/null`.
    #[error("both names are /dev/null")]
    BothNull,
    /// The names before and after differ, and nothing says that the file is renamed.
    #[error("names differ ({old} and {new}) without `rename from` and `rename to` lines")]
    NamesDiffer {
        /// Name before.
        old: String,
        /// Name after.
        new: String,
    },
    /// `rename from` without `rename to`, or the other way around, or the same for copies.
    #[error("`{present}` is there without its counterpart")]
    HalfRename {
        /// The line that is there.
        present: &'static str,
    },
    /// Header lines that cannot hold together, as an added file that is renamed.
    #[error("header lines contradict each other")]
    Contradiction,
    /// Not a mode, or one of a directory or submodule.
    #[error("mode {mode:?} is neither of a regular file nor of a symbolic link")]
    Mode {
        /// As it stands there.
        mode: String,
    },
    /// A file that turns into a link in place, or back.
    #[error("a file and a symbolic link cannot turn into each other; delete one and add the other")]
    KindChange,
    /// Neither hunks nor a change of name or mode.
    #[error("nothing changes in this file")]
    NoChanges,
    /// Labels without hunks.
    #[error("no hunk follows the `+++` line")]
    NoHunks,
    /// A hunk before any file.
    #[error("a hunk without `---` and `+++` lines before it")]
    StrayHunk,
    /// A line that begins as a hunk header and is none.
    #[error("hunk header {header:?} is not of the form `@@ -LINE,COUNT +LINE,COUNT @@`")]
    HunkHeader {
        /// As it stands there.
        header: String,
    },
    /// No lines follow a hunk header.
    #[error("the hunk is empty")]
    EmptyHunk,
    /// A line within a hunk that begins with none of the signs.
    #[error("hunk line {text:?} begins with neither ` `, `-`, `+` nor `\\`")]
    HunkLine {
        /// As it stands there.
        text: String,
    },
    /// `\ No newline at end of file` after a line that is not the last of its side.
    #[error("`\\ No newline at end of file` stands where the file does not end")]
    Marker,
    /// Hunk of an added file with old lines, or of a deleted one with new lines.
    #[error("{}", if *.added { "an added file can have added lines only" } else { "a deleted file can have removed lines only" })]
    WrongSide {
        /// An added file; else a deleted one.
        added: bool,
    },
    /// A binary patch, or the note that binary files differ.
    #[error("{name} is binary, and binary patches are not applied; write the file instead")]
    Binary {
        /// The file's name.
        name: String,
    },
    /// The diff of a merge.
    #[error("a combined diff of a merge cannot be applied")]
    Combined,
    /// A file that an earlier part of the patch changes already.
    #[error("the file is changed twice; it is changed at line {first} already")]
    Duplicate {
        /// The earlier place.
        first: usize,
    },
}

/// A patch of one file that does not fit its content.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct ApplyError {
    /// The file.
    pub path: FilePath,
    /// What does not fit.
    pub fault: ApplyFault,
}

/// What can go wrong when hunks meet content. Hunks and lines count from 1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyFault {
    /// The lines that the hunk is about are not in the file.
    #[error(
        "hunk {hunk} does not apply: patch line {patch_line} expects {expected:?} at line {file_line}, {}",
        found_there(.found.as_ref())
    )]
    Mismatch {
        /// Number of the hunk.
        hunk: usize,
        /// Line of the patch that differs.
        patch_line: usize,
        /// Line of the file where it is expected, at the place that fits best.
        file_line: usize,
        /// Start of what the patch has there.
        expected: String,
        /// Start of what the file has there; `None` behind its end.
        found: Option<String>,
    },
    /// They are there, but before the end of the hunk before.
    #[error("hunk {hunk} fits at line {line} only, before the end of hunk {}", .hunk - 1)]
    Misordered {
        /// Number of the hunk.
        hunk: usize,
        /// Where it fits.
        line: usize,
    },
    /// A hunk without old lines that starts behind the end.
    #[error("hunk {hunk} adds behind line {line}, and the file has {lines}")]
    BehindEnd {
        /// Number of the hunk.
        hunk: usize,
        /// Where it adds.
        line: usize,
        /// Lines of the file.
        lines: usize,
    },
    /// The search for the hunk was given up.
    #[error("hunk {hunk} was searched for too long among repeated lines")]
    TooMuchSearch {
        /// Number of the hunk.
        hunk: usize,
    },
    /// The file has more lines than are looked at.
    #[error("the file has more than {MAX_LINES} lines")]
    TooManyLines,
    /// An added file that has content already.
    #[error("the file to add has content already")]
    HasContent,
    /// A deleted file of which something would be left.
    #[error("the file to delete has content that the patch does not remove")]
    LeavesContent,
}

fn found_there(found: Option<&String>) -> String {
    found.map_or_else(
        || "where the file has ended".to_owned(),
        |found| format!("where the file has {found:?}"),
    )
}
