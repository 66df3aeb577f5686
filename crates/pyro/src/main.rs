//! `pyro`: isolated workspaces for coding agents, each one a real virtual machine.
//!
//! One binary with three lives. Started by the engine, it prepares the confinement of a virtual machine monitor
//! and becomes it. Started as `pyro daemon serve`, it is the daemon. Otherwise it is the command line, a client
//! of the daemon through `pyro-api` like any other.

mod cli;
mod commands;
mod config_file;
mod daemon;
mod host;
mod layout;
mod mcp;
mod output;
#[cfg(test)]
mod parity;
mod process_traits;
mod random;
mod settings;
mod user_ids;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    pyro_engine::launch::intercept();
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let status = match arguments.as_slice() {
        [only] if only == "--version" || only == "-V" => commands::version(),
        [noun, verb] if noun == "daemon" && verb == "serve" => daemon::begin(),
        _ => cli::begin(&arguments),
    };
    ExitCode::from(status)
}
