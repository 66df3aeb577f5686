//! Guest-backed suites: the promises of `pyro`, each checked on real machines. One binary, so that it is linked
//! and staged once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking; its helpers are no different")]

mod arguments;
mod bytes;
mod confinement;
mod doctor;
mod environments;
mod exit_status;
mod fault_points;
mod guest_faults;
mod host_faults;
mod identity;
mod json;
mod mcp;
mod reference_faults;
mod refusals;
mod run;
mod signals;
mod workspace_changes;
mod workspace_contents;
mod workspace_faults;
mod workspace_files;
mod workspace_transfer;
mod workspaces;
