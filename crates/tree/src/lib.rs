//! Moves file trees between host and guest safely. Linked by both sides, so everything here is synchronous and small;
//! callers run it on threads that may block.
//!
//! - [`path`]: the checked form in which every path arrives.
//! - [`beneath`]: a directory below which the kernel keeps every path.
//! - [`archive`]: tar streams, written and read member by member.
//! - [`unpack`]: an untrusted archive becomes files below a root; [`room`]: as long as they fit.
//! - [`walk`] and [`pack`]: files below a root become an archive.
//! - [`transaction`]: changes to a tree in use that happen whole or not at all, also when the machine dies.
//! - `seed` and `compressed` (feature `host`): which files of a host directory are taken, and compressed archives.
//!
//! What is promised throughout: nothing outside the given root is touched whatever a tree or an archive holds, memory
//! does not grow with contents, and nothing a tree or an archive holds causes a panic.

pub mod archive;
pub mod attributes;
pub mod beneath;
#[cfg(feature = "host")]
pub mod compressed;
pub mod notes;
pub mod pack;
pub mod path;
mod removal;
pub mod room;
#[cfg(feature = "host")]
pub mod seed;
pub mod transaction;
pub mod unpack;
pub mod walk;

pub use archive::Reader;
pub use attributes::{Attributes, FileKind, Metadata, Time};
pub use beneath::Root;
pub use notes::{Note, Notes, Remark};
pub use path::{BadPath, RelativePath};
