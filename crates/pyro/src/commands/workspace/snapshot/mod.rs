//! `pyro workspace snapshot`: a workspace as it was, to go back to or to begin others from.

mod create;
mod delete;
mod inspect;
mod list;

use clap::Subcommand;
use pyro_api::workspace::snapshot::Snapshot;

use super::view::time;
use crate::{
    output::{Failure, Status, printable},
    settings::Settings,
};

/// Take, list and delete snapshots of a workspace
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Arguments),
    List(list::Arguments),
    Inspect(inspect::Arguments),
    Delete(delete::Arguments),
}

impl Command {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Create(arguments) => arguments.json,
            Self::List(arguments) => arguments.json,
            Self::Inspect(arguments) => arguments.json,
            Self::Delete(arguments) => arguments.json,
        }
    }
}

pub(super) async fn perform(command: Command, settings: &Settings) -> Result<Status, Failure> {
    match command {
        Command::Create(arguments) => create::perform(arguments, settings).await,
        Command::List(arguments) => list::perform(arguments, settings).await,
        Command::Inspect(arguments) => inspect::perform(arguments, settings).await,
        Command::Delete(arguments) => delete::perform(arguments, settings).await,
    }
}

/// A snapshot in one line.
fn line(snapshot: &Snapshot) -> String {
    let line = format!(
        "[snapshot] name={} kind={} created_at={} parent={} memory={} size_bytes={} paused_ms={} current={} deletable={}",
        snapshot.snapshot_name,
        snapshot.kind,
        time(snapshot.created_at),
        snapshot.parent.as_deref().unwrap_or("-"),
        snapshot.has_memory,
        snapshot.size_bytes,
        snapshot.paused_ms.map_or_else(|| "-".to_owned(), |paused_ms| format!("{paused_ms:.1}")),
        snapshot.current,
        snapshot.deletable,
    );
    printable(&line)
}
