//! Workspaces: machines that last, with a directory `/workspace` that is theirs.
//!
//! - [`identity`]: how a workspace is named: id, name, labels.
//! - [`create`], [`list`], [`lifecycle`]: making, finding, changing, stopping, starting and deleting.
//! - [`view`]: a workspace as everybody sees it.
//! - [`exec`], [`command`], [`job`]: running commands, their history and output, and following those that run on.
//! - [`summary`], [`wait`]: what happened, in few words, and waiting until something does.
//! - [`entry`], [`files`], [`search`], [`patch`], [`diff`]: what is in `/workspace`, and what became of it.
//! - [`transfer`], [`sync`], [`export`]: to the host and back.
//! - [`snapshot`]: states to go back to and to begin others from; [`timeline`]: back through the last calls.
//! - [`disk`]: what is on the disk of one that is stopped; [`archive`]: such a one as a file, for another host.
//!
//! Every request names its workspace by [`WorkspaceRef`](identity::WorkspaceRef) in the field `workspace` (`workspace_id`
//! means the same). Paths in `/workspace` are [`WorkspacePath`](path::WorkspacePath)s. Times are seconds since 1970, with
//! fractions.

pub mod archive;
pub mod command;
pub mod create;
pub mod diff;
pub mod disk;
pub mod entry;
pub mod exec;
pub mod export;
pub mod files;
pub mod identity;
pub mod job;
pub mod lifecycle;
pub mod list;
pub mod patch;
pub mod path;
pub mod progress;
pub mod search;
pub mod snapshot;
pub mod summary;
pub mod sync;
pub mod timeline;
pub mod transfer;
pub mod view;
pub mod wait;

/// Where the files of a workspace are in its guest.
pub const WORKSPACE_PATH: &str = "/workspace";
