//! Changes to a tree in use that happen whole or not at all, also when the process or the machine dies half way.
//!
//! A directory [`STAGING_NAME`] at the top of the tree holds everything while it lasts:
//!
//! ```text
//! lock      held by the living transaction; whoever gets it owns what a dead one left
//! new/N     staged contents: a file, a link, or a whole new directory
//! old/N     what is replaced (a second name of it, or a copy) or removed (moved here)
//! journal   the steps, once they are decided
//! undo      the same file, once they are being taken back
//! again     a directory that is made anew while they are taken back
//! aside-N   what somebody makes beside transactions, see [`Scratch`]
//! ```
//!
//! | phase | what is there | after death, [`recover`] |
//! |---|---|---|
//! | *stage*: contents are written, backups made | no journal | removes the staging: as before |
//! | *commit*: what was seen is seen again, the journal appears by one rename | | |
//! | *carry out*: only renames and attributes | `journal` | carries the rest out: as after |
//! | a step fails: all is taken back | `undo` | takes the rest back: as before |
//! | *finish*: the journal goes, then the staging | no journal | removes the staging: as after |
//!
//! Each step tells by the names in the staging whether it is done, so recovery may itself be killed at any point. People go
//! on working between a death and its recovery: the journal says what each step found and what it makes of it, and where something
//! else is, the later edit is [`Spared`]. What was to be there gets a name beside it, `NAME.pyro-new`. The living stop and
//! take back instead. Which journals are carried out at all is a question of [`Trust`].
//!
//! A file or link is replaced by one atomic rename. Directories that exist are never replaced, so working directories of running
//! processes survive; a removed directory is moved away whole, with what was seen in it and nothing else. What is taken back
//! and finds its name taken, by somebody who made it anew meanwhile, gets the name `NAME.pyro-old`. A bystander may see a mix while it is carried out, never
//! after. Not kept are the times of change of directories in which names were placed or removed, unless
//! they are given, and that of the root. A backup is a hard link where the file system has them, else a copy, which costs
//! its length but survives everything too.
//!
//! With [`Durability::Machine`] the contents are on the disk before the journal is, and the changes before it goes; without,
//! only the death of the process is survived.

mod backup;
mod below;
mod journal;
mod placement;
mod recovery;
mod scratch;
mod seal;
mod spared;
mod stage;
mod staging;
mod stamp;
mod step;

use std::io;

pub use below::Below;
pub use recovery::{Recovered, Recovery, is_cut_off, recover, settle};
pub use scratch::Scratch;
pub use seal::{Seal, TAG_BYTES, Tag, Trust};
pub use spared::{Kept, Spared};
pub use stage::{Committed, NewAttributes, Options, Transaction};

use crate::{
    beneath,
    path::{BadPath, RelativePath},
};

/// The directory at the top of a tree that holds a transaction while it lasts. It is ours: listings, diffs and archives
/// leave it out, and no change may name it.
pub const STAGING_NAME: &str = ".pyro-transaction";

/// What a transaction survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// The death of the process.
    #[default]
    Process,
    /// The death of the machine, or the loss of its power: everything is flushed to the disk, twice.
    Machine,
}

/// Called with the name of each kind of step before it is done ([`POINTS`]); may kill the process there. An error fails
/// the step; one made by [`crash`] stops everything without cleaning up, as if the process had died.
pub type Hook<'a> = &'a dyn Fn(&'static str) -> io::Result<()>;

/// All names that a [`Hook`] is called with.
pub const POINTS: [&str; 13] = [
    "transaction-stage",
    "transaction-backup",
    "transaction-verify",
    "transaction-journal-write",
    "transaction-journal-commit",
    "transaction-place",
    "transaction-remove",
    "transaction-prune",
    "transaction-attributes",
    "transaction-undo-begin",
    "transaction-undo-step",
    "transaction-journal-remove",
    "transaction-clean",
];

#[derive(Debug, thiserror::Error)]
#[error("stopped as if the process had died")]
struct Crash;

/// An error that stops a transaction where it is, with nothing cleaned up.
pub fn crash() -> io::Error {
    io::Error::other(Crash)
}

/// Why a change could not be made, or not be recovered. Unless it says otherwise, the tree is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another transaction on this tree is alive.
    #[error("another change of this tree is under way")]
    Busy,
    /// What is called [`STAGING_NAME`] was not made by us.
    #[error("`{STAGING_NAME}` is not a directory of this user's; remove it to go on")]
    Foreign,
    /// The change names our own directory.
    #[error("`{path}`: the name `{STAGING_NAME}` is reserved")]
    Reserved {
        /// What was to be changed.
        path: RelativePath,
    },
    /// Two changes of one path.
    #[error("`{path}` is changed twice")]
    Twice {
        /// Which.
        path: RelativePath,
    },
    /// There is nothing there.
    #[error("`{path}` does not exist")]
    Missing {
        /// What was to be changed.
        path: RelativePath,
    },
    /// Something else is there.
    #[error("`{path}` is a {found}")]
    WrongKind {
        /// What was to be changed.
        path: RelativePath,
        /// What it is.
        found: &'static str,
    },
    /// It is not what it was when the change was prepared.
    #[error("`{path}` was changed by somebody else meanwhile")]
    Changed {
        /// Which.
        path: RelativePath,
    },
    /// A path became too long.
    #[error("`{path}`")]
    BadPath {
        /// Which, or in which directory.
        path: RelativePath,
        /// What is wrong.
        #[source]
        source: BadPath,
    },
    /// The tree could not be read or changed.
    #[error(transparent)]
    Tree(#[from] beneath::Error),
    /// Contents could not be read, written or flushed.
    #[error("{operation} `{path}`")]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: RelativePath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A step failed and could not all be taken back: the tree is a mix, and the staging is kept. The next [`recover`] goes
    /// on.
    #[error("the change could not be taken back: {undo}; first it failed")]
    Stuck {
        /// Why it could not be taken back, with its causes.
        undo: String,
        /// What failed first.
        #[source]
        first: Box<Error>,
    },
    /// It failed and was taken back, but for what somebody else has changed since it was decided. Everything else is as
    /// before.
    #[error("{spared}{}", and_more(*more))]
    Spared {
        /// The last of it.
        spared: Box<Spared>,
        /// How many others there are of which the same is true.
        more: usize,
        /// What failed.
        #[source]
        first: Box<Error>,
    },
    /// There is a journal that was not sealed by the [`Seal`] at hand for this tree: it was brought here from elsewhere, or the
    /// secret is another one now. Nothing was touched.
    #[error("the journal in `{STAGING_NAME}` was not written here by this user's pyro")]
    Unsealed,
    /// The journal of a dead transaction is of another release. Nothing was touched.
    #[error(
        "the journal in `{STAGING_NAME}` is that of another release of pyro; what was replaced is in `{STAGING_NAME}/old`"
    )]
    OtherVersion,
    /// The journal of a dead transaction makes no sense. Nothing was touched.
    #[error("the journal in `{STAGING_NAME}` is malformed; what was replaced is in `{STAGING_NAME}/old`")]
    BadJournal,
    /// The contents of one change did not come whole, so nothing is changed.
    #[error("a change was not prepared to its end")]
    Incomplete,
    /// A [`Hook`] said so.
    #[error("stopped as if the process had died")]
    Crashed,
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!("; the same goes for {more} others") }
}

/// Outcome of everything about transactions.
pub type Result<T> = std::result::Result<T, Error>;

fn io_error(operation: &'static str, path: &RelativePath) -> impl FnOnce(io::Error) -> Error {
    let path = path.clone();
    move |source| Error::Io { operation, path, source }
}

/// Calls the hook before a step on `path`.
fn reach(hook: Hook<'_>, point: &'static str, path: &RelativePath) -> Result<()> {
    debug_assert!(POINTS.contains(&point), "{point}");
    hook(point).map_err(|error| {
        if error.get_ref().is_some_and(|cause| cause.is::<Crash>()) {
            Error::Crashed
        } else {
            Error::Io { operation: point, path: path.clone(), source: error }
        }
    })
}
