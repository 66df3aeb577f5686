//! `pyro mcp serve`, driven as a client drives it, against a daemon that answers as each test wants. Nothing here needs a
//! machine.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking, like the test")]

mod client;
mod commands;
mod daemon;
mod faults;
mod http;
mod protocol;
mod subscriptions;
