//! Unified diffs as git writes them, from bytes to bytes: [`write`](write()), [`parse`](parse()),
//! [`apply`](apply()), [`rename`].
//!
//! Nothing here reads a file, knows an account or panics on any input, so the agent in the machine and the daemon
//! outside link the same rules. What [`write`](write()) writes, `git apply` takes, and so do [`parse`](parse())
//! and [`apply`](apply()), which give back the very bytes: final newlines, carriage returns and odd names included.
//!
//! A patch is read in the words of the field: a [`Patch`] has a [`FilePatch`] for each file, that has [`Hunk`]s,
//! those have [`Line`]s. Lines end at a line feed and nowhere else.

mod apply;
mod binary;
mod blob;
mod error;
mod heading;
mod lines;
mod locate;
mod mode;
mod model;
mod parse;
mod path;
mod quote;
pub mod rename;
mod reverse;
mod similarity;
mod stat;
mod write;

pub use apply::{Applied, MAX_FUZZ, Placement, apply};
pub use binary::is_binary;
pub use error::{ApplyError, ApplyFault, ParseError, ParseFault};
pub use lines::MAX_LINES;
pub use mode::Mode;
pub use model::{Change, FilePatch, Hunk, Line, LineKind, Patch};
pub use parse::parse;
pub use path::{FilePath, PathFault, ROOT};
pub use similarity::Similarity;
pub use stat::Stat;
pub use write::{Side, WriteOptions, stat, write, write_unread};
