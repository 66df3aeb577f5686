//! `pyro workspace`: machines that last, with files in them. Wherever a workspace is named, its id does, and its name
//! where only one has it.

mod content;
mod create;
mod delete;
mod diff;
mod disk;
mod exec;
mod export;
mod file;
mod fork;
mod host_path;
mod job;
mod label;
mod list;
mod load;
mod logs;
mod output;
mod patch;
mod reattach;
mod reset;
mod save;
mod sleep;
mod snapshot;
mod start;
mod status;
mod stop;
mod summary;
mod sync;
mod timeline;
mod undo;
mod update;
mod view;
mod wait;

#[cfg(test)]
mod tests;

use clap::Subcommand;
use pyro_api::{Call, workspace::progress::WorkEvent};

use super::{
    client,
    progress::Indicator,
    signals::Signals,
    stream::{Sink, Streaming},
};
use crate::{
    output::{Failure, Status},
    settings::Settings,
};

/// Make, find, use and delete workspaces: machines that last
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(Box<create::Arguments>),
    List(list::Arguments),
    Status(status::Arguments),
    Summary(summary::Arguments),
    Wait(wait::Arguments),
    Update(update::Arguments),
    Exec(Box<exec::Arguments>),
    #[command(subcommand)]
    Job(job::Command),
    Logs(Box<logs::Arguments>),
    Output(output::Arguments),
    #[command(subcommand)]
    File(file::Command),
    #[command(subcommand)]
    Patch(patch::Command),
    Diff(diff::Arguments),
    #[command(subcommand)]
    Sync(sync::Command),
    Export(export::Arguments),
    #[command(subcommand)]
    Disk(disk::Command),
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    Reset(reset::Arguments),
    Undo(undo::Arguments),
    Timeline(timeline::Arguments),
    Fork(fork::Arguments),
    Sleep(sleep::Arguments),
    Save(save::Arguments),
    Load(load::Arguments),
    Stop(stop::Arguments),
    Start(start::Arguments),
    Delete(delete::Arguments),
}

impl Command {
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Create(arguments) => arguments.json,
            Self::List(arguments) => arguments.json,
            Self::Status(arguments) => arguments.json,
            Self::Summary(arguments) => arguments.json,
            Self::Wait(arguments) => arguments.json,
            Self::Update(arguments) => arguments.json,
            Self::Exec(arguments) => arguments.json,
            Self::Job(command) => command.json(),
            Self::Logs(arguments) => arguments.json,
            Self::Output(arguments) => arguments.json,
            Self::File(command) => command.json(),
            Self::Patch(command) => command.json(),
            Self::Diff(arguments) => arguments.json,
            Self::Sync(command) => command.json(),
            Self::Export(arguments) => arguments.json,
            Self::Disk(command) => command.json(),
            Self::Snapshot(command) => command.json(),
            Self::Reset(arguments) => arguments.json,
            Self::Undo(arguments) => arguments.json,
            Self::Timeline(arguments) => arguments.json,
            Self::Fork(arguments) => arguments.json,
            Self::Sleep(arguments) => arguments.json,
            Self::Save(arguments) => arguments.json,
            Self::Load(arguments) => arguments.json,
            Self::Stop(arguments) => arguments.json,
            Self::Start(arguments) => arguments.json,
            Self::Delete(arguments) => arguments.json,
        }
    }
}

pub(crate) async fn perform(command: Command, settings: Settings) -> Result<Status, Failure> {
    match command {
        Command::Create(arguments) => create::perform(*arguments, &settings).await,
        Command::List(arguments) => list::perform(arguments, &settings).await,
        Command::Status(arguments) => status::perform(arguments, &settings).await,
        Command::Summary(arguments) => summary::perform(arguments, &settings).await,
        Command::Wait(arguments) => wait::perform(arguments, &settings).await,
        Command::Update(arguments) => update::perform(arguments, &settings).await,
        Command::Exec(arguments) => exec::perform(*arguments, &settings).await,
        Command::Job(command) => job::perform(command, &settings).await,
        Command::Logs(arguments) => logs::perform(*arguments, &settings).await,
        Command::Output(arguments) => output::perform(arguments, &settings).await,
        Command::File(command) => file::perform(command, &settings).await,
        Command::Patch(command) => patch::perform(command, &settings).await,
        Command::Diff(arguments) => diff::perform(arguments, &settings).await,
        Command::Sync(command) => sync::perform(command, &settings).await,
        Command::Export(arguments) => export::perform(arguments, &settings).await,
        Command::Disk(command) => disk::perform(command, &settings).await,
        Command::Snapshot(command) => snapshot::perform(command, &settings).await,
        Command::Reset(arguments) => reset::perform(arguments, &settings).await,
        Command::Undo(arguments) => undo::perform(arguments, &settings).await,
        Command::Timeline(arguments) => timeline::perform(arguments, &settings).await,
        Command::Fork(arguments) => fork::perform(arguments, &settings).await,
        Command::Sleep(arguments) => sleep::perform(arguments, &settings).await,
        Command::Save(arguments) => save::perform(arguments, &settings).await,
        Command::Load(arguments) => load::perform(arguments, &settings).await,
        Command::Stop(arguments) => stop::perform(arguments, &settings).await,
        Command::Start(arguments) => start::perform(arguments, &settings).await,
        Command::Delete(arguments) => delete::perform(arguments, &settings).await,
    }
}

/// Follows work that has progress to show and, maybe, bytes to give. A signal undoes it.
async fn follow<C: Call<Event = WorkEvent>>(
    request: &C::Request,
    settings: &Settings,
    sink: &mut Sink<'_>,
) -> Result<C::Result, Failure> {
    let mut signals = Signals::watch()?;
    let mut work = Streaming::<C>::begin(&client(settings), request, &mut signals).await?;
    let followed = work.follow(sink, &mut Indicator::bar_only()).await;
    let interruption = work.interruption();
    followed.map_err(|ended| interruption.map_or_else(|| ended.into(), Failure::from))
}
