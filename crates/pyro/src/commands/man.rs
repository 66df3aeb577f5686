//! `pyro man`: the manual pages, written by whoever packages the program.

use std::path::PathBuf;

use clap::Args;
use pyro_api::{ErrorBody, ErrorCode};

use crate::{
    cli,
    output::{Failure, Status},
};

/// Write the manual pages into a directory
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// The directory, which must exist
    directory: PathBuf,
}

pub(crate) fn perform(arguments: &Arguments) -> Result<Status, Failure> {
    clap_mangen::generate_to(cli::definition(), &arguments.directory).map_err(|error| {
        let directory = arguments.directory.display();
        ErrorBody::new(ErrorCode::FileFailed, format!("cannot write manual pages into {directory}: {error}"))
    })?;
    Ok(0)
}
