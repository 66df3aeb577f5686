//! A workspace goes on from a snapshot.
//!
//! ```text
//!  new layer ─ new machine started and greeted ─▶ record names it ─▶ old machine ended ─ old commands forgotten ─ sweep
//!  └── fails: goes again, the workspace is as it was ──┘  └── dies: the next daemon goes on from here ──┘
//! ```

use std::{sync::Arc, time::SystemTime};

use pyro_engine::MachineId;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::warn;

use super::{
    super::{
        disk::{DiskRecord, WorkspaceDisk},
        guest_deadline::{GuestDeadline, life_in_guest},
        id::{LayerId, SnapshotId},
        live::LiveMachine,
        record::WorkspaceState,
        revival::Revival,
        snapshots::{MemoryContent, SnapshotRecord, restore},
        state::Wish,
    },
    Driver,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    machine_start::reach,
    run::StartKind,
    task,
};

/// A workspace went on from a snapshot.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// From which.
    pub snapshot: Arc<SnapshotRecord>,
    /// Whether with its memory, or booted from its disk.
    pub start: StartKind,
    /// Why it was booted though there might have been a memory.
    pub because: Option<String>,
}

/// A machine that goes on from a snapshot, and what the record of its workspace has to say of it.
pub(super) struct Successor {
    pub(super) live: LiveMachine,
    pub(super) resumed: Resumed,
    pub(super) disk: DiskRecord,
    pub(super) origin: Option<MemoryContent>,
}

impl Driver {
    /// Goes on from a snapshot. On an error the workspace is as it was.
    pub(super) async fn reset(
        &mut self,
        reference: &str,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Resumed, Error> {
        self.admit("reset it", Wish::Reset)?;
        self.finish_sealing().await;
        let snapshot = self.find_snapshot(reference)?;
        let before = self.record.state.clone();
        let asleep = before.asleep().cloned();
        let successor = match self.succeed(Arc::clone(&snapshot), asleep, turn).await {
            Ok(successor) => successor,
            Err(error) => {
                self.go_back_to(before).await;
                return Err(error);
            }
        };
        let Successor { live, resumed, disk, origin } = successor;

        let mut record = self.record.clone();
        record.state = WorkspaceState::Started { machine: live.machine_id().clone() };
        (record.disk, record.disk_bytes) = (disk, snapshot.disk_bytes);
        let now = SystemTime::now();
        (record.last_activity_at, record.last_error) = (now, None);
        let lineage = &mut record.lineage;
        (lineage.at, lineage.origin) = (Some(snapshot.id.clone()), origin);
        (lineage.reset_count, lineage.last_reset_at) = (lineage.reset_count + 1, Some(now));
        lineage.unsettled = Some(snapshot.id.clone());
        lineage.steps.clone_from(&snapshot.steps);
        let switched = async {
            reach(FaultPoint::ResetStarted, &self.place())?;
            self.store.update_workspace(&record).await
        };
        if let Err(error) = switched.await {
            self.give_up(live, before).await;
            return Err(error);
        }

        // From here on it is reset, whatever happens.
        self.record = record;
        let old = self.live.replace(Arc::new(live));
        self.lives_in_successor();
        self.show();
        self.reached(FaultPoint::ResetRecorded);
        if let Some(old) = old
            && let Err(error) = old.end().await
        {
            warn!(workspace = %self.record.id, error = %chain(&error), "the machine of before is left to the next look over the machines");
        }
        self.reached(FaultPoint::ResetMachineGone);
        self.is_adopted = false;
        self.reconnect().await;
        // Everything may be another than before.
        self.commands.changes().of_commands_and_files();
        self.commands.changes().of_state();
        self.snapshots.sweep_is_due();
        self.snapshots.discard_is_due();
        self.mark_unchanged_since(&resumed.snapshot);
        Ok(resumed)
    }

    /// A step is done that nothing can undo: what fails here fails nobody.
    pub(super) fn reached(&self, point: FaultPoint) {
        if let Err(error) = reach(point, &self.place()) {
            warn!(workspace = %self.record.id, error = %chain(&error), "a step that was done is told to have failed");
        }
    }

    /// Starts a machine that goes on from the snapshot, on a new layer of its own. Whatever fails leaves nothing of it; the
    /// state may then be that of a start, see [`Self::go_back_to`].
    pub(super) async fn succeed(
        &mut self,
        snapshot: Arc<SnapshotRecord>,
        asleep: Option<SnapshotId>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Successor, Error> {
        if self.disk_lent.is_lent() {
            return Err(Error::DiskRead { workspace: self.record.id.clone() });
        }
        let resources = Arc::clone(&self.resources);
        let _turn = match turn {
            Some(turn) => turn,
            None => resources.turn_to_start().await?,
        };
        let disk = WorkspaceDisk::of(&resources.layout, &self.record.id);
        let active = LayerId::random()?;
        let (made, engine) = (disk.clone(), Arc::clone(&resources.engine));
        let (layer, bytes) = (active.clone(), snapshot.disk_bytes);
        task::blocking(move || made.create_layer(engine.as_ref(), Some(&layer), bytes)).await?;
        let started = async {
            let layers = disk.layers_of(&snapshot.disk, Some(&active));
            let claimed = restore::claim(&resources, &self.record, &snapshot, layers).await?;
            if self.live.is_none() {
                self.claim_memory(claimed.directory().id().clone(), asleep).await?;
            }
            let running = claimed.start(&resources).await?;
            let origin = restore::origin(&running, &snapshot);
            let (start, because) = (running.start, running.because.clone());
            let live = self.live_in(running, snapshot.at_rest).await?;
            let resumed = Resumed { snapshot: Arc::clone(&snapshot), start, because };
            Ok((live, resumed, origin))
        };
        let started: Result<_, Error> = started.await;
        match started {
            Ok((live, resumed, origin)) => {
                let disk = DiskRecord {
                    frozen: snapshot.disk.clone(),
                    active: Some(active),
                    ..DiskRecord::default()
                };
                Ok(Successor { live, resumed, disk, origin })
            }
            Err(error) => {
                self.snapshots.sweep_is_due();
                self.sweep_if_due().await;
                Err(error)
            }
        }
    }

    /// A machine that goes on from a snapshot is the one of the workspace from now on.
    pub(super) fn lives_in_successor(&mut self) {
        self.guest_deadline = GuestDeadline::told(Instant::now(), life_in_guest(self.record.ttl));
        self.revival = Revival::default();
        if let Some(live) = &self.live {
            self.commands.move_in(live.machine.stalls());
        }
    }

    /// Nothing came of a machine that was started: it is ended, and the state is as it was.
    pub(super) async fn give_up(&mut self, live: LiveMachine, before: WorkspaceState) {
        if let Err(error) = live.end().await {
            warn!(workspace = %self.record.id, error = %chain(&error), "a machine that is not used is left to the next look over the machines");
        }
        self.snapshots.sweep_is_due();
        self.go_back_to(before).await;
    }

    /// Nothing came of it: the state is as it was.
    pub(super) async fn go_back_to(&mut self, before: WorkspaceState) {
        if self.record.state == before {
            return;
        }
        if let Err(error) = self.write(before.clone()).await {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot write down that a start failed");
            self.record.state = before;
            self.show();
        }
    }

    /// The commands of before are those of the machine before: forgets them, and takes up what the snapshot had.
    pub(super) async fn settle_reset(&mut self, live: &LiveMachine) -> Result<(), Error> {
        let Some(id) = self.record.lineage.unsettled.clone() else { return Ok(()) };
        self.commands.machine_gone("the workspace was reset").await?;
        self.commands.clear().await?;
        let session = live.reconnect(&self.resources.release).await?;
        // One that was deleted meanwhile has told what it could.
        let snapshot = self.snapshots.shelf.get(&id);
        let (then, next) = snapshot
            .as_ref()
            .map_or((&[][..], 1), |snapshot| (&snapshot.commands[..], snapshot.next_sequence));
        self.commands.restore(session, then, next, live.start == Some(StartKind::Booted)).await?;
        let mut record = self.record.clone();
        record.lineage.unsettled = None;
        self.store.update_workspace(&record).await?;
        self.record = record;
        Ok(())
    }

    /// Decides whether its machine fits, and shows that it is starting before anybody else gets the same room.
    pub(super) async fn claim_memory(
        &mut self,
        machine: MachineId,
        from: Option<SnapshotId>,
    ) -> Result<(), Error> {
        let shared = self.shared.upgrade().ok_or(Error::Cancelled)?;
        let _admission = shared.admission.lock().await;
        let usage = shared.usage().await?;
        shared.limits.admit_machine(&usage, self.record.shape)?;
        shared.make_room(&usage, self.record.shape.mem_mib.into());
        self.note(WorkspaceState::Starting { machine, from }).await
    }
}
