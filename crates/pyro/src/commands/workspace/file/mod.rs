//! `pyro workspace file`: the files of a workspace, without a shell and its quoting.

mod copy;
mod delete;
mod download;
mod glob;
mod grep;
pub(super) mod input;
mod line_range;
mod list;
mod mkdir;
mod r#move;
pub(super) mod read;
mod replace;
mod stat;
mod upload;
mod write;

use std::os::unix::ffi::OsStringExt as _;

use clap::{Subcommand, builder::TypedValueParser as _};
use pyro_api::{
    text::ByteString,
    workspace::{
        entry::FileEntry,
        files::{FileChanged, FileWritten},
        path::WorkspacePath,
    },
};

use super::view::shown;
use crate::{
    output::{self, Failure, Status},
    settings::Settings,
};

/// List, read, write, find and change the files of a workspace
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Arguments),
    Read(read::Arguments),
    Write(write::Arguments),
    Replace(replace::Arguments),
    Stat(stat::Arguments),
    Glob(glob::Arguments),
    Grep(grep::Arguments),
    Mkdir(mkdir::Arguments),
    Move(r#move::Arguments),
    Copy(copy::Arguments),
    Delete(delete::Arguments),
    Upload(upload::Arguments),
    Download(download::Arguments),
}

impl Command {
    pub(super) fn json(&self) -> bool {
        match self {
            Self::List(arguments) => arguments.json,
            Self::Read(arguments) => arguments.json,
            Self::Write(arguments) => arguments.json,
            Self::Replace(arguments) => arguments.json,
            Self::Stat(arguments) => arguments.json,
            Self::Glob(arguments) => arguments.json,
            Self::Grep(arguments) => arguments.json,
            Self::Mkdir(arguments) => arguments.json,
            Self::Move(arguments) => arguments.json,
            Self::Copy(arguments) => arguments.json,
            Self::Delete(arguments) => arguments.json,
            Self::Upload(arguments) => arguments.json,
            Self::Download(arguments) => arguments.json,
        }
    }
}

pub(super) async fn perform(command: Command, settings: &Settings) -> Result<Status, Failure> {
    match command {
        Command::List(arguments) => list::perform(arguments, settings).await,
        Command::Read(arguments) => read::perform(arguments, settings).await,
        Command::Write(arguments) => write::perform(arguments, settings).await,
        Command::Replace(arguments) => replace::perform(arguments, settings).await,
        Command::Stat(arguments) => stat::perform(arguments, settings).await,
        Command::Glob(arguments) => glob::perform(arguments, settings).await,
        Command::Grep(arguments) => grep::perform(arguments, settings).await,
        Command::Mkdir(arguments) => mkdir::perform(arguments, settings).await,
        Command::Move(arguments) => r#move::perform(arguments, settings).await,
        Command::Copy(arguments) => copy::perform(arguments, settings).await,
        Command::Delete(arguments) => delete::perform(arguments, settings).await,
        Command::Upload(arguments) => upload::perform(arguments, settings).await,
        Command::Download(arguments) => download::perform(arguments, settings).await,
    }
}

/// Reads a path in a workspace, bytes as they are.
pub(super) fn guest_path() -> impl clap::builder::TypedValueParser<Value = WorkspacePath> {
    clap::builder::OsStringValueParser::new().map(|path| WorkspacePath(ByteString(path.into_vec())))
}

/// A path and what is there, in one line.
pub(super) fn entry_line(entry: &FileEntry) -> String {
    let target = entry.link_target.as_ref().map_or_else(String::new, |to| format!(" -> {}", shown(to)));
    format!("{} [{}] size={}{target}", shown(&entry.path), entry.artifact_type, entry.size_bytes)
}

/// Tells what was made, moved, copied or deleted.
fn tell_change(verb: &str, change: &FileChanged, json: bool) -> Result<Status, Failure> {
    if json {
        output::json(change)?;
        return Ok(0);
    }
    let from = change.from.as_ref().map_or_else(String::new, |from| format!(" from={}", shown(from)));
    let count = change.entry_count.map_or_else(String::new, |count| format!(" entry_count={count}"));
    output::line(format!(
        "[workspace-file-{verb}] workspace_id={}{from} path={}{count} changed={} execution_mode={}",
        change.workspace_id,
        shown(&change.path),
        change.changed,
        change.execution_mode,
    ))?;
    Ok(0)
}

/// Tells what was written.
fn tell_written(written: &FileWritten, json: bool) -> Result<Status, Failure> {
    if json {
        output::json(written)?;
        return Ok(0);
    }
    output::line(format!(
        "[workspace-file-write] workspace_id={} path={} size_bytes={} bytes_written={} created={} mode={} execution_mode={}",
        written.workspace_id,
        shown(&written.path),
        written.size_bytes,
        written.bytes_written,
        written.created,
        written.mode,
        written.execution_mode,
    ))?;
    Ok(0)
}

/// Tells what could not be looked at.
fn tell_notes(notes: &[String]) {
    for note in notes {
        output::note(format!("[workspace-file] {}", output::printable(note)));
    }
}
