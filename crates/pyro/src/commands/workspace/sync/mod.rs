//! `pyro workspace sync`: files between a directory of this host and a workspace.

mod pull;
mod push;

use clap::Subcommand;
use pyro_api::workspace::sync::SyncChange;

use super::view::shown;
use crate::{
    output::{self, Failure, Status},
    settings::Settings,
};

/// Bring files into a workspace, or what changed there back
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Push(push::Arguments),
    Pull(pull::Arguments),
}

impl Command {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Push(arguments) => arguments.json,
            Self::Pull(arguments) => arguments.json,
        }
    }
}

pub(super) async fn perform(command: Command, settings: &Settings) -> Result<Status, Failure> {
    match command {
        Command::Push(arguments) => push::perform(arguments, settings).await,
        Command::Pull(arguments) => pull::perform(arguments, settings).await,
    }
}

/// One line for each change.
fn tell(changes: &[SyncChange]) -> Result<(), Failure> {
    changes.iter().try_for_each(|change| output::line(format!("{} [{}]", shown(&change.path), change.status)))
}
