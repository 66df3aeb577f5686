//! `pyro completions`: what a shell needs to complete command lines.

use clap::Args;
use clap_complete::Shell;
use pyro_api::{ErrorBody, ErrorCode};

use crate::{
    cli,
    output::{self, Failure, Status},
};

/// Print completions for a shell
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::aot::Generator::try_generate(&arguments.shell, &built(), &mut script)
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("cannot write completions: {error}")))?;
    output::write(&script)?;
    Ok(0)
}

fn built() -> clap::Command {
    let mut definition = cli::definition();
    definition.set_bin_name("pyro");
    definition.build();
    definition
}
