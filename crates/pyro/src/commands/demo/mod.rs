//! `pyro demo`: the life cycle of a one-shot machine in one go, and a model that works in a workspace.

mod endpoint;
mod ollama;
mod project;
mod work;

use clap::{Args, Subcommand};
use pyro_api::run::{CommandLine, RunRequest};

use super::run::perform_json;
use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// Run `git --version` in a machine of debian:12 and print the result as JSON
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    demo: Option<Demo>,
    /// Reach out of the machine too (not yet supported: refused)
    #[arg(long)]
    network: bool,
}

#[derive(Debug, Subcommand)]
enum Demo {
    Ollama(ollama::Arguments),
}

pub(crate) async fn perform(arguments: Arguments, settings: Settings) -> Result<Status, Failure> {
    if let Some(Demo::Ollama(arguments)) = arguments.demo {
        return ollama::perform(&arguments, &settings).await;
    }
    let command = CommandLine::Arguments(vec!["git".into(), "--version".into()]);
    let request = RunRequest { network: arguments.network, ..RunRequest::new("debian:12", command) };
    perform_json(&request, &settings, true).await
}
