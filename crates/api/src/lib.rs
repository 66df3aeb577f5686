//! The public contract of pyro: what may be asked of the daemon, in which words, and what it answers.
//!
//! - [`operation`]: the one table of operations. CLI, HTTP routes and, later, MCP tools and SDKs come from it
//!   or are checked against it.
//! - [`run`], [`workspace`], [`vm`], [`environment`], [`gc`], [`service`], [`doctor`]: requests, events and results as serde types. Unknown
//!   fields of a request are refused, so a misspelt option is never ignored.
//! - [`error`]: [`ErrorCode`] and [`ErrorBody`], the one shape of every failure.
//! - [`frame`]: how streaming operations are laid out in HTTP bodies; pure, no I/O.
//! - `schema` (a feature): JSON schemas of all requests, events and results, and the contract as one JSON document.
//! - [`socket`], [`client`]: how to reach the daemon, starting it when there is none.
//!
//! The crate knows no terminal, no environment variable and not how a daemon is started.

pub mod body;
mod check;
pub mod client;
pub mod doctor;
pub mod environment;
pub mod error;
pub mod frame;
pub mod gc;
pub mod operation;
pub mod run;
#[cfg(feature = "schema")]
pub mod schema;
pub mod service;
pub mod socket;
pub mod text;
pub mod vm;
pub mod workspace;

pub use client::{Client, ClientError, Exchange, Output, Starter};
pub use error::{ErrorBody, ErrorCode};
pub use operation::{Call, OPERATIONS, Operation};
pub use socket::SocketPath;

/// Version of this contract. A daemon answers every version from [`OLDEST_API_VERSION`] on.
pub const API_VERSION: u32 = 1;

/// Oldest version of the contract that this release still answers.
pub const OLDEST_API_VERSION: u32 = 1;

/// Header of every request and every response: the speaker's [`API_VERSION`] in decimal.
pub const VERSION_HEADER: &str = "pyro-api-version";

/// Media type of bodies made of [`frame`]s.
pub const FRAMES_MEDIA_TYPE: &str = "application/vnd.pyro.frames";
