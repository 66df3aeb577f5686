//! `pyro host`: chat hosts on this machine, and the entries in their configurations that start pyro. No daemon is asked.

mod change;
mod connect;
mod doctor;
mod list;
mod repair;
mod surroundings;

use clap::{Args, Subcommand};

use crate::output::{Failure, Status};

/// Connect chat hosts (Claude Code, Codex, OpenCode, Cursor, …) to pyro; alone, list them
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What can be done with a host.
#[derive(Debug, Subcommand)]
enum Command {
    Connect(connect::Arguments),
    Doctor(doctor::Arguments),
    Repair(repair::Arguments),
}

impl Arguments {
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            None => self.json,
            Some(Command::Connect(arguments)) => arguments.json(),
            Some(Command::Doctor(arguments)) => arguments.json(),
            Some(Command::Repair(arguments)) => arguments.json(),
        }
    }
}

pub(crate) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    match &arguments.command {
        None => list::perform(arguments.json),
        Some(Command::Connect(arguments)) => connect::perform(arguments),
        Some(Command::Doctor(arguments)) => doctor::perform(arguments),
        Some(Command::Repair(arguments)) => repair::perform(arguments),
    }
}
