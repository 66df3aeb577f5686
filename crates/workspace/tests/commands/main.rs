//! Commands of a workspace against the real guest agent: at most once, whoever goes away in between.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod calls;
mod harness;
mod losses;
mod memory;
mod waiting;
