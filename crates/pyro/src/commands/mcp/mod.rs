//! `pyro mcp`: the tools of pyro for a model in a chat.

mod serve;

use clap::Subcommand;

use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// Serve the tools of pyro over the Model Context Protocol
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Arguments),
}

pub(crate) async fn perform(command: Command, settings: Settings) -> Result<Status, Failure> {
    match command {
        Command::Serve(arguments) => serve::perform(arguments, &settings).await,
    }
}
