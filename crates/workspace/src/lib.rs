//! The library: every decision about machines, templates and runs is taken here.
//!
//! It knows no HTTP, no command line, no terminal, no environment variable and no home directory: what it
//! needs arrives in a [`HostConfig`]. Around it, `pyro` turns requests into calls of [`Host`]; below it,
//! `engine` runs machines, `environments` makes what they boot, and `protocol` is what it says to the guest.
//!
//! Whatever dies, nothing is left: a machine's directory outlives its VMM, and whoever opens the store next
//! ends the machines of the dead (see [`machine_directory`]).

pub mod commands;
pub mod diagnosis;
mod draft;
mod entropy;
mod environment_store;
mod error;
pub mod fault;
pub mod files;
mod greeting;
mod guest_command;
mod host;
mod kept_memory;
mod layout;
mod lock;
#[cfg(test)]
mod loopback;
mod machine_directory;
mod machine_start;
pub mod policy;
pub mod run;
mod seal_key;
pub mod session;
pub mod store;
mod task;
mod template;
pub mod workspaces;

pub use {
    environment_store::EnvironmentStore,
    error::{Error, chain},
    host::{Host, HostConfig},
    layout::Layout,
    lock::FileLock,
    pyro_disk::Error as DiskError,
    pyro_tree::seed::Git,
    run::{CommandEnd, PhaseTimes, RunEvent, RunIo, RunOutcome, RunRequest, StartKind},
};
