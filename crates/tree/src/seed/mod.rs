//! What of a host directory is taken into a workspace (feature `host`).
//!
//! Either everything but what ignore rules leave out ([`IgnoreRules`]), or only what git tracks ([`tracked`]). Hidden files
//! and `.git` are taken; `.gitignore` has no say, since what git does not keep (dependencies, builds, local
//! settings) is often just what a command needs.

mod git;
mod ignore_rules;

pub use git::{Error as GitError, Git, Tracked, pack_tracked, tracked};
pub use ignore_rules::{BadPattern, IGNORE_FILE_NAME, IgnoreRules};
