//! Chat hosts: the programs in which people talk to a model, and whose configuration says which MCP servers they start.
//!
//! What is known of a host is one small file each. Texts are changed by pure functions: [`document`] puts a value at
//! a place and leaves every other byte, [`entry`] knows how a host writes down what it starts, [`connection`] decides
//! what an entry should be and [`problem`] what is wrong with one. Only [`file`] touches the disk, and only [`probe`]
//! starts a program.

mod claude_code;
mod claude_desktop;
mod codex;
pub(crate) mod connection;
mod cursor;
mod document;
mod entry;
pub(crate) mod file;
mod json;
mod open_code;
pub(crate) mod place;
pub(crate) mod probe;
pub(crate) mod problem;
pub(crate) mod serve_options;
#[cfg(test)]
mod tests;
mod toml;
pub(crate) mod variables;
mod vs_code;

use std::path::PathBuf;

use clap::ValueEnum;

pub(crate) use self::{
    connection::{Wish, connect, mend},
    document::{Document, Unusable},
    entry::{Found, Launch},
    place::{Allowed, Location, Places, Scope},
};
use self::{document::Notation, entry::Shape};

/// A chat host, as the command line names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum HostName {
    /// Claude Code, in a terminal or an editor
    ClaudeCode,
    /// Codex: command line, editor and app share one configuration
    Codex,
    /// OpenCode, of either major version
    #[value(name = "opencode")]
    OpenCode,
    /// Cursor
    Cursor,
    /// Claude Desktop
    ClaudeDesktop,
    /// Visual Studio Code
    #[value(name = "vscode")]
    VsCode,
}

/// What is known of a chat host.
#[derive(Debug)]
pub(crate) struct Host {
    /// As the command line names it.
    pub(crate) name: &'static str,
    /// As people call it.
    pub(crate) title: &'static str,
    /// How its configuration is written.
    notation: Notation,
    /// How it writes down what it starts.
    shape: Shape,
    /// Where its configuration is, by scope.
    locations: fn(&Places) -> Vec<Location>,
    /// Programs that it consists of, as they are in `PATH`.
    pub(crate) programs: &'static [&'static str],
    /// What it leaves on a disk.
    traces: fn(&Places) -> Vec<PathBuf>,
    /// Whether it hands only some variables of its environment to the servers that it starts.
    pub(crate) filters_environment: bool,
    /// What to do for it to notice a change.
    pub(crate) next: &'static str,
}

/// Variables that a host which filters still hands on; Codex and the client libraries agree on these.
pub(crate) const ALWAYS_HANDED_ON: &[&str] =
    &["HOME", "LOGNAME", "PATH", "SHELL", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ"];

impl HostName {
    /// What is known of it.
    pub(crate) fn host(self) -> &'static Host {
        match self {
            Self::ClaudeCode => &claude_code::HOST,
            Self::Codex => &codex::HOST,
            Self::OpenCode => &open_code::HOST,
            Self::Cursor => &cursor::HOST,
            Self::ClaudeDesktop => &claude_desktop::HOST,
            Self::VsCode => &vs_code::HOST,
        }
    }

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }
}

impl Host {
    /// Where its configuration is, by scope.
    pub(crate) fn locations(&self, places: &Places) -> Vec<Location> {
        (self.locations)(places)
    }

    /// The same without those that another one is already: in the home directory a project's file can be the user's.
    pub(crate) fn distinct_locations(&self, places: &Places) -> Vec<Location> {
        let mut distinct: Vec<Location> = Vec::new();
        for location in self.locations(places) {
            let same = |other: &Location| (&other.files, &other.keys) == (&location.files, &location.keys);
            if !distinct.iter().any(same) {
                distinct.push(location);
            }
        }
        distinct
    }

    /// The first sign of it on this machine's disk, `PATH` aside.
    pub(crate) fn trace(&self, places: &Places) -> Option<PathBuf> {
        (self.traces)(places).into_iter().find(|path| path.exists())
    }

    /// Understands a configuration.
    pub(crate) fn read(&self, text: &str) -> Result<Document, Unusable> {
        Document::read(self.notation, text)
    }
}
