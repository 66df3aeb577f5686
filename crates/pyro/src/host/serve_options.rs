//! The options of `pyro mcp serve` in an entry, understood by the same command line that will get them.

use std::path::Path;

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    commands::mcp,
    mcp::Profile,
};

const NOT_SERVE: &str = "they do not say `mcp serve`";

/// What a server in an entry is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ServeOptions {
    pub(crate) profile: Profile,
    /// Directories that tools may name, as they are written.
    pub(crate) allow_paths: Vec<String>,
    /// Everything else that is not as usual, as it is written.
    others: Vec<String>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { profile: Profile::WorkspaceCore, allow_paths: Vec::new(), others: Vec::new() }
    }
}

impl ServeOptions {
    /// The usual options, with these directories.
    pub(crate) fn allowing(allow_paths: Vec<String>) -> Self {
        Self { allow_paths, ..Self::default() }
    }

    /// Understands the arguments of an entry, or says what is wrong with them.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let words = std::iter::once("pyro").chain(arguments.iter().map(String::as_str));
        let command = match Cli::try_parse_from(words) {
            Ok(cli) => cli.command,
            // Help and version are asked for like that.
            Err(error) if !error.use_stderr() => return Err(NOT_SERVE.to_owned()),
            Err(error) => {
                let text = error.render().to_string();
                let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                return Err(line.to_owned());
            }
        };
        match command {
            Command::Mcp(mcp::Command::Serve(serve)) if serve.listens() => {
                Err("with --http the server does not speak on its standard output".to_owned())
            }
            Command::Mcp(mcp::Command::Serve(serve)) => Ok(Self {
                profile: serve.profile,
                allow_paths: serve.allow_path.iter().map(|path| text_of(path)).collect(),
                others: serve.unusual_words(),
            }),
            _ => Err(NOT_SERVE.to_owned()),
        }
    }

    /// The arguments that say it.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = ["mcp", "serve", "--profile", self.profile.name()].map(str::to_owned).to_vec();
        for path in &self.allow_paths {
            words.extend(["--allow-path".to_owned(), path.clone()]);
        }
        words.extend(self.others.iter().cloned());
        words
    }
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
