//! `pyro workspace patch`.

mod apply;

use clap::Subcommand;

use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// Apply patches to the files of a workspace
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Apply(apply::Arguments),
}

impl Command {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Apply(arguments) => arguments.json,
        }
    }
}

pub(super) async fn perform(command: Command, settings: &Settings) -> Result<Status, Failure> {
    match command {
        Command::Apply(arguments) => apply::perform(arguments, settings).await,
    }
}
