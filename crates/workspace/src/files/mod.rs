//! Files of a workspace, from the host's side: conversations with file workers in the guest.
//!
//! A worker is a process of the guest agent that speaks [`pyro_protocol::work`] on its pipes. It serves one request at
//! a time, so each operation takes an idle one, or has another one started, and gives it back when the last word is
//! said. A worker that was left in the middle of a request is killed: what it had not committed is undone by the next.
//!
//! - [`workers`]: which worker does what; [`conversation`]: one request, its input and its answers.
//! - [`transfer`]: what a thread that blocks writes goes to the guest, and what it reads comes from there.
//! - [`operations`]: single files and directories; [`diff`]: what changed; [`comparison`]: what two workspaces have not in common.
//! - [`seed`]: what `/workspace` is filled with; [`push`]: files of the host over it, whole or not at all.
//! - [`pull`]: what changed in the guest back to the host, merged with what changed there; [`pulls`]: so that what a killed
//!   daemon left half done is settled, and [`seal_key`](crate::seal_key): so that nothing else is taken for it.
//! - [`export`]: results out of it, never over something and never beside the place that was named; [`claims`]: so that
//!   nothing of them stays when the daemon is killed.
//!
//! What a guest sends is bounded and checked: it may be hostile. On the host nothing is touched outside the directory
//! that was named, whatever links lie in it.

mod archive;
mod binary_parts;
mod claims;
mod comparison;
mod conversation;
mod diff;
mod error;
mod export;
mod gathered;
mod ignored;
#[cfg(test)]
mod loopback;
mod operations;
mod output_place;
mod portions;
mod pull;
mod pulls;
mod push;
mod seed;
mod transfer;
mod workers;

pub(crate) use self::{
    claims::Claims,
    comparison::{Side, SideError, compare},
    output_place::OutputPlace,
    pulls::Pulls,
    workers::FileWorkers,
};
pub use self::{
    diff::DiffReport,
    error::FileError,
    export::{ExportForm, ExportRequest, ExportTo, Exported},
    operations::{Content, Found, Listing},
    pull::{Conflict, PullChange, PullRequest, Pulled},
    push::{PushOutcome, PushRequest},
    seed::SeedSource,
    transfer::TransferProgress,
};
pub use pyro_protocol::work::{
    Change, ChangeStatus, Delete, Diff, DiffDone, Entry, EntryKind, Glob, Grep, List, Listed, MakeDirectory,
    Match, Patch, Patched, PatchedFile, PathRef, Pushed, Read, ReadDone, Replace, Replaced, ShiftedHunk,
    Transfer, Unpacked, WorkFailureCode, Write, Written,
};
