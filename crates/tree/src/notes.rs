//! What happened on the way that is no reason to stop, but that the person must hear of.

use std::fmt;

use crate::path::{RelativePath, printable};

/// One remark about one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Of which file, in printable form.
    pub path: String,
    /// What about it.
    pub remark: Remark,
}

/// What there is to say of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Remark {
    /// Its contents changed while they were read, so they may be a mix.
    ChangedWhileRead,
    /// It could not be read and was left out. Holds what the system said.
    Unreadable(String),
    /// Reading failed half way; the rest is zeros. Holds what the system said.
    CutShort(String),
    /// Left out for being what it is: `socket`, `named pipe`, `device`.
    Skipped(&'static str),
    /// Left out for its name, which is kept for our own use.
    Reserved,
    /// An ignore file, or a line of it, that has no effect. Holds what is wrong with it.
    IgnoreFile(String),
    /// The repository's data lies outside of what was taken, as in a worktree, so git will not work on the copy.
    RepositoryElsewhere,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.remark {
            Remark::ChangedWhileRead => write!(f, "`{path}` changed while it was read"),
            Remark::Unreadable(cause) => write!(f, "`{path}` left out, it cannot be read: {cause}"),
            Remark::CutShort(cause) => write!(f, "`{path}` is incomplete, reading it failed: {cause}"),
            Remark::Skipped(what) => write!(f, "`{path}` left out, it is a {what}"),
            Remark::IgnoreFile(cause) => write!(f, "`{path}`: {cause}"),
            Remark::RepositoryElsewhere => {
                write!(f, "`{path}` names a repository elsewhere, so git will not work on the copy")
            }
            Remark::Reserved => write!(f, "`{path}` left out, the name is reserved"),
        }
    }
}

/// Most notes that are kept; of the others only the number.
pub const MAX_NOTES: usize = 1000;

/// Notes in the order they came, the first [`MAX_NOTES`] of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    /// The first ones.
    pub list: Vec<Note>,
    /// How many more there were.
    pub left_out: u64,
}

impl Notes {
    /// Adds one.
    pub fn add(&mut self, path: &RelativePath, remark: Remark) {
        self.add_named(path.as_bytes(), remark);
    }

    pub(crate) fn add_named(&mut self, path: &[u8], remark: Remark) {
        if self.list.len() < MAX_NOTES {
            self.list.push(Note { path: printable(path), remark });
        } else {
            self.left_out += 1;
        }
    }

    /// Adds all of `others`.
    pub fn append(&mut self, others: Self) {
        for note in others.list {
            if self.list.len() < MAX_NOTES {
                self.list.push(note);
            } else {
                self.left_out += 1;
            }
        }
        self.left_out += others.left_out;
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
