//! `pyro demo`: the life cycle of a one-shot machine, in one go.

use clap::Args;
use pyro_api::run::{CommandLine, RunRequest};

use super::run::perform_json;
use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// Run `git --version` in a machine of debian:12 and print the result as JSON
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Reach out of the machine too (not yet supported: refused)
    #[arg(long)]
    network: bool,
}

pub(crate) async fn perform(arguments: Arguments, settings: Settings) -> Result<Status, Failure> {
    let command = CommandLine::Arguments(vec!["git".into(), "--version".into()]);
    let request = RunRequest { network: arguments.network, ..RunRequest::new("debian:12", command) };
    perform_json(&request, &settings, true).await
}
