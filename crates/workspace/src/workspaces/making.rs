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

impl Making {
    pub(super) fn new(shared: &Arc<Shared>, record: WorkspaceRecord) -> Self {
        Self { shared: Arc::clone(shared), record, running: None }
    }

    /// It is a workspace with a machine from now on, which may have gone on from a snapshot.
    pub(super) async fn finish(self, talk: Talk, from: Option<&SnapshotRecord>) -> Result<(), Error> {
        let Talk { session, files } = talk;
        let Self { shared, mut record, running } = self;
        let Some(running) = running else {
            Self { shared, record, running }.undo().await;
            return Err(Error::Task("a workspace was made without a machine".to_owned()));
        };
        record.state = WorkspaceState::Started { machine: running.directory.id().clone() };
        record.last_activity_at = SystemTime::now();
        let entered = async {
            let commands = shared.commands(&record.id)?;
            commands.move_in(running.machine.stalls());
            match from {
                None => commands.adopt(session.clone()).await?,
                Some(from) => {
                    let was_booted = running.start == StartKind::Booted;
                    commands.restore(session.clone(), &from.commands, from.next_sequence, was_booted).await?;
                }
            }
            let shelf = shelf(&shared, &record).await?;
            shared.store.update_workspace(&record).await?;
            Ok((commands, shelf))
        };
        let entered: Result<_, Error> = entered.await;
        match entered {
            Ok((commands, shelf)) => {
                let start = Some(running.start);
                let live = LiveMachine::new(running, start, session, files);
                shared.drive(record, Some(live), commands, shelf);
                Ok(())
            }
            Err(error) => {
                Self { shared, record, running: Some(running) }.undo().await;
                Err(error)
            }
        }
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
