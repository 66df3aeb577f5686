//! `pyro mcp serve`: the tools of pyro for a model in a chat, over the Model Context Protocol.
//!
//! A client of the daemon like the command line: everything enters at `pyro-api`, and all state is the daemon's. So two
//! servers, or one that was started again in the middle of a chat, see the same workspaces.
//!
//! - [`tools`]: the one table of tools, one file for each noun; [`tool`] is a row of it, [`profile`] who gets which.
//! - [`server`]: the protocol on one side, the table on the other. [`http`] is the other way in beside stdio.
//! - [`follow`], [`attach`], [`one_shot`]: commands that take longer than a client waits, and those asked for twice.
//! - [`excerpt`], [`answer`]: nothing that a tool returns is longer than its budget, and everything is said once.
//! - [`host_paths`]: which files of the host a model may name.
//! - [`prompts`], [`resources`]: ways to begin, and files and logs by address.
//! - [`conformance`]: what the official conformance suite calls, for a profile that only tests use.

mod answer;
mod attach;
mod command_answer;
mod conformance;
mod excerpt;
mod follow;
mod host_paths;
mod http;
mod one_shot;
mod profile;
mod progress;
mod prompts;
mod resources;
mod schema;
mod server;
mod tool;
mod tools;

pub(crate) use answer::ResultForm;
pub(crate) use conformance::Conformance;
pub(crate) use host_paths::HostPaths;
pub(crate) use http::{HttpOptions, Token, address as http_address, serve as serve_http};
pub(crate) use profile::Profile;
pub(crate) use server::{Server, serve_stdio};
