//! Brings what an earlier daemon left to a state that is true.
//!
//! | record says | machine lives | it becomes |
//! | --- | --- | --- |
//! | creating | either | gone: nobody was told of it |
//! | started | yes | started: machine, session and commands are taken over |
//! | started | stands still | started: the session and the end of its commands wait until it goes on |
//! | started | no | stopped, with the likeliest reason |
//! | falling asleep | yes | started: it goes on |
//! | falling asleep | no | asleep if it was saved, else stopped |
//! | asleep | either | asleep; its machine is ended |
//! | waking up | either | asleep |
//! | starting | yes or no | stopped: it had told nobody that it runs; its machine is ended |
//! | stopping | yes | stopped: the shutdown is done again |
//! | stopping | stands still | started: its guest has something left to write |
//! | stopping | no | stopped |
//! | deleting | either | gone |
//! | stopped | – | stopped |
//!
//! A guest that runs and cannot be talked to is ended; its disk stays. One whose machine stands still cannot be blamed for
//! its silence, and holds what is not on the disk yet.

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pyro_engine::{MachineId, StallCause};
use tracing::{info, warn};

use super::{
    Shared, WorkspaceRecord, WorkspaceState,
    disk::WorkspaceDisk,
    gc::recordless,
    kept_environment,
    live::LiveMachine,
    making::shelf,
    record::StopReason,
    snapshots::{SnapshotKind, capture::settle_switch, shelf::Shelf},
};
use crate::{
    commands::Commands,
    error::{Error, chain},
    files::{Claims, FileWorkers, Pulls},
    greeting::{self, RESTORE_PATIENCE},
    host::Resources,
    layout::Layout,
    lock::FileLock,
    machine_directory::MachineDirectory,
    machine_start::Running,
    run::StartKind,
    session::GuestSession,
    task,
};

/// How long a guest that was told to shut down by a dead daemon gets to do so.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(30);

/// The lock of whoever drives the workspaces of a store. Waits for one that is just ending.
pub(super) async fn own(layout: &Layout) -> Result<FileLock, Error> {
    let path = layout.workspaces().join(".lock");
    task::blocking(move || {
        FileLock::wait(&path).map_err(|source| Error::Store {
            operation: "lock the workspaces with",
            path,
            source,
        })
    })
    .await
}

/// Looks at every record; see the table. Workspaces are looked at side by side.
pub(super) async fn reconcile(shared: &Arc<Shared>) -> Result<(), Error> {
    let resources = &shared.resources;
    let was_restarted = {
        let layout = resources.layout.clone();
        task::blocking(move || host_was_restarted(&layout)).await?
    };
    let records = shared.store.load_workspaces().await?;
    let mut looking = tokio::task::JoinSet::new();
    for record in records {
        let shared = Arc::clone(shared);
        looking.spawn(async move { settle_or_tell(&shared, record, was_restarted).await });
    }
    while let Some(settled) = looking.join_next().await {
        settled.unwrap_or_else(|error| Err(Error::Task(error.to_string())))?;
    }
    let layout = resources.layout.clone();
    let known = shared.known();
    let needed = shared.needed_environments();
    task::blocking(move || {
        for path in recordless(&layout.workspaces(), &known)? {
            info!(path = %path.display(), "removed the files of a workspace without a record");
            fs::remove_dir_all(&path).map_err(|source| Error::Store { operation: "remove", path, source })?;
        }
        // Whoever exported something held the lock that is ours now.
        if let Err(error) = Claims::of(&layout).settle() {
            warn!(error = %chain(&error), "cannot look over exports that were cut off");
        }
        // Whoever pulled, too.
        if let Err(error) = Pulls::of(&layout).settle() {
            warn!(error = %chain(&error), "cannot look over pulls that were cut off");
        }
        kept_environment::remove_partial(&layout)?;
        let Some(needed) = needed else { return Ok(()) };
        for path in kept_environment::unneeded(&layout, &needed)? {
            fs::remove_dir_all(&path).map_err(|source| Error::Store { operation: "remove", path, source })?;
        }
        Ok(())
    })
    .await
}

/// One workspace that cannot be brought to a state must not keep all others from being used, and is not missing either: it
/// shows what went wrong. Its machine, of which nobody takes care now, is ended; its disk stays.
async fn settle_or_tell(
    shared: &Arc<Shared>,
    mut record: WorkspaceRecord,
    was_restarted: bool,
) -> Result<(), Error> {
    let Err(error) = settle(shared, record.clone(), was_restarted).await else { return Ok(()) };
    warn!(workspace = %record.id, error = %chain(&error), "a workspace could not be taken up as it was");
    if matches!(record.state, WorkspaceState::Creating { .. } | WorkspaceState::Deleting { .. }) {
        // It goes, and the next daemon tries again.
        return Ok(());
    }
    record.last_error = Some(chain(&error));
    record.state = WorkspaceState::Stopped { reason: StopReason::MachineLost };
    let commands = shared.commands(&record.id)?;
    let shelf = shelf(shared, &record).await?;
    shared.drive(record, None, commands, shelf);
    Ok(())
}

async fn settle(shared: &Arc<Shared>, mut record: WorkspaceRecord, was_restarted: bool) -> Result<(), Error> {
    let resources = &shared.resources;
    let found = match record.state.machine() {
        Some(machine) => find(resources, machine).await?,
        None => None,
    };
    let commands = shared.commands(&record.id)?;
    let shelf = shelf(shared, &record).await?;
    settle_disk(shared, &mut record, found.as_ref()).await?;
    if let WorkspaceState::FallingAsleep { machine } = record.state.clone() {
        record.state = settle_sleep(&mut record, &shelf, machine, found.as_ref()).await?;
        shared.store.update_workspace(&record).await?;
    }
    let live = match (&record.state, found) {
        (WorkspaceState::Creating { .. } | WorkspaceState::Deleting { .. }, found) => {
            if let Some(running) = found {
                running.end().await?;
            }
            info!(workspace = %record.id, "removed what was left of a workspace");
            return super::remove(&resources.layout, &shared.store, &record.id).await;
        }
        (WorkspaceState::Stopped { .. }, _) => None,
        // Its machine, if it lives, is ended with all that nobody answers for.
        (WorkspaceState::FallingAsleep { .. } | WorkspaceState::Asleep { .. }, _) => {
            commands.expect().await?;
            None
        }
        (WorkspaceState::Started { .. }, Some(running)) if stall(&running).is_some() => {
            Some(take_over_standing(running, &commands).await?)
        }
        (WorkspaceState::Started { .. }, Some(running)) => match talk(resources, &running).await {
            Ok(session) => {
                // It may have been about to be captured.
                session.let_go();
                commands.move_in(running.machine.stalls());
                if record.lineage.unsettled.is_none() {
                    commands.adopt(session.clone()).await?;
                }
                let files = FileWorkers::taking_over(session.clone());
                let live = LiveMachine::new(running, None, session, files);
                // Nobody saw whether the host slept since.
                live.tell_time();
                Some(live)
            }
            // Since a moment ago.
            Err(_) if stall(&running).is_some() => Some(take_over_standing(running, &commands).await?),
            Err(error) => {
                warn!(workspace = %record.id, error = %chain(&error), "cannot talk to a guest; its machine is ended");
                record.last_error = Some(chain(&error));
                running.end().await?;
                stopped(shared, &mut record, &commands, StopReason::MachineLost).await?;
                None
            }
        },
        (WorkspaceState::Started { .. }, None) => {
            let expired = record.remaining(SystemTime::now()).is_some_and(|left| left.is_zero());
            let reason = match (was_restarted, expired) {
                (true, _) => StopReason::HostRestarted,
                (false, true) => StopReason::Expired,
                (false, false) => StopReason::MachineLost,
            };
            stopped(shared, &mut record, &commands, reason).await?;
            None
        }
        (WorkspaceState::Stopping { machine, reason }, found) => {
            let (machine, reason) = (machine.clone(), *reason);
            let standing = match found {
                Some(running) => shut_down(resources, running).await?,
                None => None,
            };
            match standing {
                Some(running) => {
                    record.state = WorkspaceState::Started { machine };
                    shared.store.update_workspace(&record).await?;
                    Some(take_over_standing(running, &commands).await?)
                }
                None => {
                    stopped(shared, &mut record, &commands, reason).await?;
                    None
                }
            }
        }
        (WorkspaceState::Starting { from: Some(snapshot), .. }, found) => {
            let snapshot = snapshot.clone();
            if let Some(running) = found {
                running.end().await?;
            }
            record.state = WorkspaceState::Asleep { snapshot };
            shared.store.update_workspace(&record).await?;
            None
        }
        (WorkspaceState::Starting { from: None, .. }, found) => {
            if let Some(running) = found
                && let Some(standing) = shut_down(resources, running).await?
            {
                standing.end().await?;
            }
            stopped(shared, &mut record, &commands, StopReason::StartFailed).await?;
            None
        }
    };
    if live.is_none() && record.lineage.unsettled.take().is_some() {
        // It was reset, and its commands are still those of before.
        commands.machine_gone("the workspace was reset").await?;
        commands.clear().await?;
        shared.store.update_workspace(&record).await?;
    }
    shared.drive(record, live, commands, shelf);
    Ok(())
}

/// A capture that was cut off: whether the machine had switched to the next layer, it tells; one that is gone need not.
async fn settle_disk(
    shared: &Shared,
    record: &mut WorkspaceRecord,
    found: Option<&Running>,
) -> Result<(), Error> {
    if record.disk.next.is_none() {
        return Ok(());
    }
    let disk = WorkspaceDisk::of(&shared.resources.layout, &record.id);
    record.disk = match found.and_then(|running| running.machine.capture()) {
        Some(capture) => settle_switch(capture, &disk, &record.disk).await?,
        None => record.disk.settled(&disk)?,
    };
    shared.store.update_workspace(record).await
}

/// A workspace that was falling asleep: it goes on if its machine lives; else it sleeps if it was saved.
async fn settle_sleep(
    record: &mut WorkspaceRecord,
    shelf: &Shelf,
    machine: MachineId,
    found: Option<&Running>,
) -> Result<WorkspaceState, Error> {
    let saved = record.lineage.at.as_ref().and_then(|at| shelf.get(at));
    let saved = saved.filter(|snapshot| snapshot.kind == SnapshotKind::Sleep);
    match (found, &saved) {
        (None, Some(snapshot)) => Ok(WorkspaceState::Asleep { snapshot: snapshot.id.clone() }),
        (Some(running), _) => {
            let resumed = running.machine.resume().await;
            resumed.map_err(|source| Error::Engine { operation: "let the machine go on", source })?;
            // What was saved of it is of no use to anybody, and must never be woken up from.
            if let Some(saved) = saved {
                record.lineage.at.clone_from(&saved.parent);
            }
            Ok(WorkspaceState::Started { machine })
        }
        (None, None) => Ok(WorkspaceState::Started { machine }),
    }
}

async fn stopped(
    shared: &Shared,
    record: &mut WorkspaceRecord,
    commands: &Commands,
    reason: StopReason,
) -> Result<(), Error> {
    commands.machine_gone(reason.explanation()).await?;
    record.state = WorkspaceState::Stopped { reason };
    shared.store.update_workspace(record).await
}

/// The machine of that id, if it lives. The directory of one that does not is removed.
async fn find(resources: &Arc<Resources>, machine: &MachineId) -> Result<Option<Running>, Error> {
    let layout = resources.layout.clone();
    let id = machine.clone();
    let Some(directory) = task::blocking(move || MachineDirectory::take_over(&layout, &id)).await? else {
        return Ok(None);
    };
    match resources.engine.adopt(directory.path()).await {
        Ok(Some(machine)) => Ok(Some(Running {
            machine: machine.into(),
            start: StartKind::Restored,
            because: None,
            directory,
        })),
        Ok(None) => {
            directory.vacate();
            Ok(None)
        }
        Err(error) => {
            warn!(%machine, error = %chain(&error), "cannot take a machine over; it is ended");
            let ended = resources.engine.end(directory.path()).await;
            ended.map_err(|source| Error::Engine { operation: "end the machine", source })?;
            directory.vacate();
            Ok(None)
        }
    }
}

async fn talk(resources: &Resources, running: &Running) -> Result<GuestSession, Error> {
    greeting::greet(running.machine.as_ref(), &resources.release, RESTORE_PATIENCE).await
}

fn stall(running: &Running) -> Option<StallCause> {
    running.machine.stall().map(|stall| stall.cause)
}

/// Takes over a machine whose guest cannot be talked to before it goes on. Its driver sees to that.
async fn take_over_standing(running: Running, commands: &Commands) -> Result<LiveMachine, Error> {
    info!(machine = %running.directory.id(), cause = ?stall(&running), "takes over a machine that stands still");
    commands.move_in(running.machine.stalls());
    commands.expect().await?;
    Ok(LiveMachine::standing_still(running))
}

/// Lets a guest whose disk should be whole shut down, and ends what does not. Returns one that stands still and may go on.
async fn shut_down(resources: &Resources, running: Running) -> Result<Option<Running>, Error> {
    let mut stalls = running.machine.stalls();
    let stands_still = async {
        // Closed when the machine is gone.
        match stalls.wait_for(Option::is_some).await.map(|stall| *stall) {
            Ok(Some(stall)) => stall.cause,
            _ => std::future::pending().await,
        }
    };
    let off = async {
        // It may have powered off by itself at any moment, and then there is nobody to talk to.
        if let Ok(session) = talk(resources, &running).await {
            drop(session.power_off(Duration::ZERO).await);
        }
        drop(running.machine.exited().await);
    };
    let standing = tokio::select! {
        biased;
        cause = stands_still => cause != StallCause::Broken,
        _ = tokio::time::timeout(SHUTDOWN_PATIENCE, off) => false,
    };
    if standing {
        return Ok(Some(running));
    }
    running.end().await.map(|()| None)
}

/// Whether the host was started anew since the store was last in use.
fn host_was_restarted(layout: &Layout) -> Result<bool, Error> {
    let path = layout.state().join("host-boot");
    let failed =
        |source| Error::Store { operation: "write down the host's boot in", path: path.clone(), source };
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(failed)?;
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.map_err(failed)?),
    };
    if before.as_ref() != Some(&now) {
        fs::write(&path, &now).map_err(failed)?;
    }
    Ok(before.is_some_and(|before| before != now))
}
