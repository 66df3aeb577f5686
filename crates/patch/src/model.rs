//! A patch that was read.

use crate::{FilePath, Mode, Stat};

/// What a patch does, file by file, in its order. No file is written twice, none is removed twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch<'a> {
    /// At least one.
    pub files: Vec<FilePatch<'a>>,
}

/// What a patch does to one file.
///
/// A path whose kind changes (a file becomes a link) has two: one that deletes, then one that adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePatch<'a> {
    /// Where the content goes; for [`Change::Delete`] where it was.
    pub path: FilePath,
    /// What happens to the file.
    pub change: Change,
    /// What the file is before, if the patch says so. A statement to check, not a change.
    pub old_mode: Option<Mode>,
    /// What the file becomes, if the patch sets it: for an added file and for a change of mode.
    pub new_mode: Option<Mode>,
    /// Changes of content, in the order of the file; none where the content stays.
    pub hunks: Vec<Hunk<'a>>,
    /// Where it begins in the patch, counted from 1.
    pub line: usize,
}

/// What happens to a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is created.
    Add,
    /// It is removed; the hunks remove all its content.
    Delete,
    /// Its content, its mode or both change.
    Modify,
    /// It moves, and may change on the way.
    Rename {
        /// Where it was.
        from: FilePath,
    },
    /// A second file is made from one that stays.
    Copy {
        /// The one that stays.
        from: FilePath,
    },
}

impl FilePatch<'_> {
    /// The file that the hunks apply to; `None` for an added one.
    pub fn source(&self) -> Option<&FilePath> {
        match &self.change {
            Change::Add => None,
            Change::Delete | Change::Modify => Some(&self.path),
            Change::Rename { from } | Change::Copy { from } => Some(from),
        }
    }

    /// Whether it can stand for an addition too, when there is no such file: labels that name the file twice, and
    /// one hunk that needs nothing of it. `diff -u` and people write additions like that.
    pub fn may_create(&self) -> bool {
        matches!(self.change, Change::Modify)
            && self.old_mode.is_none()
            && matches!(self.hunks.as_slice(), [hunk] if hunk.old_start == 0 && hunk.old_count() == 0)
    }

    /// Lines added and removed.
    pub fn stat(&self) -> Stat {
        let of = |kind| self.hunks.iter().map(|hunk| hunk.count(|line| line.kind == kind)).sum();
        Stat { added: of(LineKind::Added), removed: of(LineKind::Removed), binary: false }
    }
}

/// A run of lines in which something changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hunk<'a> {
    /// First line in the old file, counted from 1; of a hunk without old lines, the line before it.
    pub old_start: usize,
    /// The same for the new file.
    pub new_start: usize,
    /// Context, removed and added lines.
    pub lines: Vec<Line<'a>>,
    /// The counts in its header did not fit its lines and were replaced.
    pub recounted: bool,
    /// Where its header stands in the patch, counted from 1.
    pub line: usize,
}

impl Hunk<'_> {
    /// Lines of the old file: context and removed ones.
    pub fn old_count(&self) -> usize {
        self.count(|line| line.kind != LineKind::Added)
    }

    /// Lines of the new file: context and added ones.
    pub fn new_count(&self) -> usize {
        self.count(|line| line.kind != LineKind::Removed)
    }

    fn count(&self, is: impl Fn(&Line<'_>) -> bool) -> usize {
        self.lines.iter().filter(|line| is(line)).count()
    }
}

/// A line of a hunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// What happens to it.
    pub kind: LineKind,
    /// Its text, without the sign before it and the line feed behind it. A carriage return is text.
    pub text: &'a [u8],
    /// Whether a line feed ends it; only the last line of a file may lack one.
    pub terminated: bool,
}

/// What happens to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    /// It stays.
    Context,
    /// It goes.
    Removed,
    /// It comes.
    Added,
}
