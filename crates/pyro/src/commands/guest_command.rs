//! The words of a command for a guest, and what goes with them, as they are written on our command line.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use clap::{Args, builder::TypedValueParser as _};
use pyro_api::{
    ErrorBody, ErrorCode,
    run::{self, CommandLine},
    text::ByteString,
};

/// The command, after `--` or without it.
#[derive(Debug, Args)]
pub(super) struct GuestCommand {
    /// The command; the same as after --
    #[arg(value_name = "ARG", hide = true)]
    words: Vec<OsString>,
    /// The command
    #[arg(last = true, value_name = "ARG")]
    command: Vec<OsString>,
}

impl GuestCommand {
    /// The command that the words mean.
    pub(super) fn to_command_line(&self) -> Result<CommandLine, ErrorBody> {
        let ((words, []) | ([], words)) = (self.words.as_slice(), self.command.as_slice()) else {
            return Err(ErrorBody::new(ErrorCode::Usage, "arguments both before and after --")
                .with_hint("write the whole command after --"));
        };
        let words = words.iter().cloned().map(OsString::into_vec).collect();
        CommandLine::from_arguments(words).ok_or_else(run::missing_command)
    }
}

/// Reads `NAME=VALUE`.
pub(super) fn variable_parser() -> impl clap::builder::TypedValueParser<Value = (String, ByteString)> {
    clap::builder::OsStringValueParser::new().try_map(parse_variable)
}

fn parse_variable(text: OsString) -> Result<(String, ByteString), String> {
    let bytes = text.into_vec();
    let split = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
    let at = split.ok_or("write it as NAME=VALUE")?;
    let name = std::str::from_utf8(&bytes[..at]).map_err(|_| "the name is not UTF-8")?;
    Ok((name.to_owned(), ByteString(bytes[at + 1..].to_vec())))
}
