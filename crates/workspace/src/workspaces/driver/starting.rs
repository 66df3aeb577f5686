//! How a workspace comes to a machine that boots from its own disk.

use std::{sync::Arc, time::SystemTime};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    super::{
        disk::WorkspaceDisk,
        guest_deadline::{GuestDeadline, life_in_guest},
        kept_environment,
        live::LiveMachine,
        record::{StopReason, WorkspaceState},
        revival::Revival,
        snapshots::{MemoryContent, restore},
        state::Wish,
    },
    Driver,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    machine_directory::MachineDirectory,
    machine_start::{Claimed, GuestIdentity, Running, reach},
    task,
};

impl Driver {
    /// Has a machine: wakes the one that sleeps, or boots one from the workspace's own disk.
    pub(super) async fn start(&mut self, turn: Option<OwnedSemaphorePermit>) -> Result<(), Error> {
        if matches!(self.record.state, WorkspaceState::Asleep { .. }) {
            return self.wake(turn).await;
        }
        if !self.admit("start it", Wish::Start)? {
            self.touch().await;
            return Ok(());
        }
        self.start_from_disk(turn).await
    }

    pub(super) async fn start_from_disk(&mut self, turn: Option<OwnedSemaphorePermit>) -> Result<(), Error> {
        if self.disk_lent.is_lent() {
            return Err(Error::DiskRead { workspace: self.record.id.clone() });
        }
        let resources = Arc::clone(&self.resources);
        let _turn = match turn {
            Some(turn) => turn,
            None => resources.turn_to_start().await?,
        };
        let layout = resources.layout.clone();
        let id = self.record.id.clone();
        let directory = task::blocking(move || MachineDirectory::create_for(&layout, &id)).await?;
        let disk = self.record.disk.settled(&WorkspaceDisk::of(&resources.layout, &self.record.id))?;
        self.record.disk = disk;
        self.claim_memory(directory.id().clone(), None).await?;
        self.record.last_activity_at = SystemTime::now();
        let started = match self.boot(directory).await {
            Ok(live) => self.take_up(Arc::new(live)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &started {
            self.record.last_error = Some(chain(error));
            self.settle(StopReason::StartFailed).await;
        }
        started?;
        reach(FaultPoint::WorkspaceStarted, &self.place())
    }

    /// Begins to live in a machine that has booted; one that cannot be lived in is ended.
    async fn take_up(&mut self, live: Arc<LiveMachine>) -> Result<(), Error> {
        let machine = live.machine_id().clone();
        let taken_up = async {
            self.commands.move_in(live.machine.stalls());
            self.converse(&live).await?;
            self.record.last_error = None;
            // It was booted: its memory began as nothing.
            self.record.lineage.origin = Some(MemoryContent::default());
            self.write(WorkspaceState::Started { machine }).await
        };
        if let Err(error) = taken_up.await {
            live.end().await?;
            return Err(error);
        }
        self.guest_deadline = GuestDeadline::told(Instant::now(), life_in_guest(self.record.ttl));
        self.live = Some(live);
        self.is_adopted = true;
        self.revival = Revival::default();
        Ok(())
    }

    async fn boot(&self, directory: MachineDirectory) -> Result<LiveMachine, Error> {
        reach(FaultPoint::WorkspaceStartRecorded, &self.place())?;
        let layout = &self.resources.layout;
        let record = &self.record;
        let boot = kept_environment::kept(layout, &record.boot_digest, record.kernel_arguments.clone());
        let disk = WorkspaceDisk::of(layout, &record.id).layers(&record.disk);
        let claimed = Claimed::from_disk(record.shape, boot, directory, disk, None);
        let running = claimed.start(&self.resources).await?;
        self.live_in(running, false).await
    }

    /// Greets the guest of a machine that was just started, and gives it its identity. One that cannot be is ended. Of one that
    /// was restored it is said whether its file workers were at rest.
    pub(super) async fn live_in(&self, running: Running, at_rest: bool) -> Result<LiveMachine, Error> {
        let record = &self.record;
        let identity = GuestIdentity { id: record.id.to_string(), deadline: life_in_guest(record.ttl) };
        match running.greet(&self.resources.release, identity).await {
            Ok(session) => {
                let start = Some(running.start);
                let files = restore::workers(&running, session.clone(), at_rest);
                Ok(LiveMachine::new(running, start, session, files))
            }
            Err(error) => {
                running.end().await?;
                Err(error)
            }
        }
    }
}
