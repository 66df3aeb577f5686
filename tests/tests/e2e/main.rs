//! Guest-backed suites: the promises of `pyro`, each checked on real machines. One binary, so that it is linked
//! and staged once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking; its helpers are no different")]

mod arguments;
mod bytes;
mod chat_hosts;
mod comparisons;
mod confinement;
mod doctor;
mod environments;
mod exit_status;
mod fault_points;
mod foreign_memory;
mod forks;
mod full_hosts;
mod garbage;
mod guest_faults;
mod host_faults;
mod host_restarts;
mod identity;
mod json;
mod large_seeds;
mod layers;
mod lifetimes;
mod loaded_guests;
mod many_snapshots;
mod mcp;
mod mcp_faults;
mod mcp_once;
mod package_managers;
mod reference_faults;
mod refusals;
mod run;
mod signals;
mod sleeping;
mod snapshot_faults;
mod snapshots;
mod timelines;
mod transfer_faults;
mod use_cases;
mod vms;
mod workspace_activity;
mod workspace_archives;
mod workspace_changes;
mod workspace_contents;
mod workspace_disk;
mod workspace_faults;
mod workspace_files;
mod workspace_history;
mod workspace_host;
mod workspace_lists;
mod workspace_seeds;
mod workspace_snapshots;
mod workspace_summary;
mod workspace_transfer;
mod workspaces;
