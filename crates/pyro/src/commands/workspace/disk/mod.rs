//! `pyro workspace disk`: what is on the disk of a stopped workspace, read by the host.

mod export;
mod list;
mod read;

use std::os::unix::ffi::OsStringExt as _;

use clap::{Subcommand, builder::TypedValueParser as _};
use pyro_api::{text::ByteString, workspace::path::GuestPath};

use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// Look at the disk of a stopped workspace without starting it
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Arguments),
    Read(read::Arguments),
    Export(export::Arguments),
}

impl Command {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Read(arguments) => arguments.json,
            Self::Export(arguments) => arguments.json,
        }
    }
}

pub(super) async fn perform(command: Command, settings: &Settings) -> Result<Status, Failure> {
    match command {
        Command::List(arguments) => list::perform(arguments, settings).await,
        Command::Read(arguments) => read::perform(arguments, settings).await,
        Command::Export(arguments) => export::perform(arguments, settings).await,
    }
}

/// Reads a path anywhere in a guest, bytes as they are.
fn anywhere() -> impl clap::builder::TypedValueParser<Value = GuestPath> {
    clap::builder::OsStringValueParser::new().map(|path| GuestPath(ByteString(path.into_vec())))
}
