//! The agent inside every machine. The binary `pyro-guest` is PID 1: it boots the machine ([`boot`]) and serves
//! the host through a virtio-serial port ([`port`]). The same [`Agent`] also serves over any other byte stream in
//! another program's process ([`System::Embedded`]), as tests of the host do; there it starts and reports processes
//! and leaves everything else alone.
//!
//! - [`process`]: the one noun, with its output spools and confinement.
//! - [`agent`]: the loop; [`mod@self`]'s private parts answer requests and connect streams to processes.
//! - [`system`]: what differs between a machine and an embedded agent.
//! - [`worker`]: a process that does everything with files, so that this one never waits for a file system.
//! - [`workspace_mount`]: what `/workspace` is made of.
//!
//! Promises: a host that sends nonsense gets failures and never ends the agent; memory is bounded by the spools of
//! the processes that the host keeps and by the session's credit; processes outlive the host's connections.

pub mod agent;
mod attachment;
pub mod boot;
mod disk_sync;
mod ending;
mod holding;
pub mod identity;
pub mod kernel;
pub mod plain_file;
pub mod port;
pub mod power;
pub mod process;
mod request;
pub mod system;
pub mod worker;
pub mod workspace_mount;

pub use agent::{Agent, ServeError, Served};
pub use system::{Machine, StandIn, System};
