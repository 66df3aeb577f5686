//! A workspace that is being made: by a creation, a fork or a load. It becomes one, or everything of it goes again.

use std::{sync::Arc, time::SystemTime};

use tracing::warn;

use super::{
    Shared, WorkspaceRecord, WorkspaceState,
    live::LiveMachine,
    snapshots::{
        SnapshotRecord,
        shelf::{Shelf, SnapshotFiles},
    },
};
use crate::{
    commands::Commands,
    error::{Error, chain},
    files::FileWorkers,
    machine_start::Running,
    run::StartKind,
    session::GuestSession,
    task,
};

/// Must be finished or undone. What neither happens to is undone by the next daemon.
pub(super) struct Making {
    pub(super) shared: Arc<Shared>,
    /// As it is written down: being created.
    pub(super) record: WorkspaceRecord,
    pub(super) running: Option<Running>,
}

/// The talk with the guest of a new machine.
pub(super) struct Talk {
    pub(super) session: GuestSession,
    pub(super) files: FileWorkers,
}

/// What drives a workspace as soon as it is one.
pub(super) struct TakenUp {
    commands: Arc<Commands>,
    shelf: Shelf,
    talk: Talk,
}

/// They are workspaces with machines from now on: all, or none, also if this process is killed on the way. Of what does not become
/// one everything goes again.
pub(super) async fn finish_all(made: Vec<(Making, TakenUp)>) -> Result<(), Error> {
    let Some(shared) = made.first().map(|(making, _)| Arc::clone(&making.shared)) else { return Ok(()) };
    let records = made.iter().map(|(making, _)| making.record.clone()).collect();
    if let Err(error) = shared.store.update_workspaces(records).await {
        for (making, _) in made {
            making.undo().await;
        }
        return Err(error);
    }
    for (Making { record, running, .. }, TakenUp { commands, shelf, talk }) in made {
        let live = running.map(|running| {
            let start = Some(running.start);
            LiveMachine::new(running, start, talk.session, talk.files)
        });
        shared.drive(record, live, commands, shelf);
    }
    Ok(())
}

impl Making {
    pub(super) fn new(shared: &Arc<Shared>, record: WorkspaceRecord) -> Self {
        Self { shared: Arc::clone(shared), record, running: None }
    }

    /// It is a workspace with a machine from now on.
    pub(super) async fn finish(mut self, talk: Talk) -> Result<(), Error> {
        match self.take_up(talk, None).await {
            Ok(taken_up) => finish_all(vec![(self, taken_up)]).await,
            Err(error) => {
                self.undo().await;
                Err(error)
            }
        }
    }

    /// Takes up what runs in its machine, which may have gone on from a snapshot. Then only its record does not say yet what it is.
    pub(super) async fn take_up(
        &mut self,
        talk: Talk,
        from: Option<&SnapshotRecord>,
    ) -> Result<TakenUp, Error> {
        let running = self.running.as_ref();
        let running =
            running.ok_or_else(|| Error::Task("a workspace was made without a machine".to_owned()))?;
        let commands = self.shared.commands(&self.record.id)?;
        commands.move_in(running.machine.stalls());
        let session = talk.session.clone();
        match from {
            None => commands.adopt(session).await?,
            Some(from) => {
                let was_booted = running.start == StartKind::Booted;
                commands.restore(session, &from.commands, from.next_sequence, was_booted).await?;
            }
        }
        let shelf = shelf(&self.shared, &self.record).await?;
        self.record.state = WorkspaceState::Started { machine: running.directory.id().clone() };
        self.record.last_activity_at = SystemTime::now();
        Ok(TakenUp { commands, shelf, talk })
    }

    /// Removes everything that was made. What cannot be removed now is removed by the next daemon.
    pub(super) async fn undo(self) {
        let Self { shared, record, running } = self;
        let undone = async {
            if let Some(running) = running {
                running.end().await?;
            }
            super::remove(&shared.resources.layout, &shared.store, &record.id).await
        };
        if let Err(error) = undone.await {
            warn!(workspace = %record.id, error = %chain(&error), "cannot undo the making of a workspace; the next start does");
        }
        shared.registry.remove(&record.id);
    }
}

/// The snapshots of a workspace as they are on the disk.
pub(super) async fn shelf(shared: &Shared, record: &WorkspaceRecord) -> Result<Shelf, Error> {
    let files = SnapshotFiles::of(&shared.resources.layout, &record.id);
    task::blocking(move || Shelf::read(files)).await
}
