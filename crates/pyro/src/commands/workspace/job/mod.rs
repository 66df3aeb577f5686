//! `pyro workspace job`: commands that run, or were begun to go on by themselves.

mod kill;
mod list;
mod logs;
mod wait;

use clap::Subcommand;

use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// List, follow and end commands that run on by themselves
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Arguments),
    Wait(wait::Arguments),
    Logs(logs::Arguments),
    Kill(kill::Arguments),
}

impl Command {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Wait(arguments) => arguments.json,
            Self::Logs(arguments) => arguments.json,
            Self::Kill(arguments) => arguments.json,
        }
    }
}

pub(super) async fn perform(command: Command, settings: &Settings) -> Result<Status, Failure> {
    match command {
        Command::List(arguments) => list::perform(arguments, settings).await,
        Command::Wait(arguments) => wait::perform(arguments, settings).await,
        Command::Logs(arguments) => logs::perform(arguments, settings).await,
        Command::Kill(arguments) => kill::perform(arguments, settings).await,
    }
}
