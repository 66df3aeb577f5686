//! A workspace sleeps: its machine is saved and ended, and goes on when it is used.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::{info, warn};

use super::{
    super::{
        record::{StopReason, WorkspaceState},
        snapshots::{
            MemoryStage, SnapshotKind, SnapshotRecord,
            capture::{Wanted, sync},
        },
        state::{Verdict, Wish, decide},
    },
    Driver,
    reset::Successor,
};
use crate::{
    error::{Error, chain},
    fault::FaultPoint,
    machine_start::reach,
    run::StartKind,
};

/// How long after a failure to fall asleep it is tried again.
const RETRY: Duration = Duration::from_secs(60);

impl Driver {
    /// Saves the machine and ends it. On an error the workspace goes on as before.
    pub(super) async fn sleep(&mut self) -> Result<(), Error> {
        if !self.admit("let it sleep", Wish::Sleep)? {
            return Ok(());
        }
        if !self.is_adopted {
            self.reconnect().await;
            self.admit("let it sleep", Wish::Sleep)?;
        }
        self.finish_sealing().await;
        let Some(live) = self.live.clone() else {
            return Err(Error::Task("a started workspace without a machine".to_owned()));
        };
        self.admit_layer().await?;
        let (started, at) = (self.record.state.clone(), self.record.lineage.at.clone());
        if let Some(session) = live.session() {
            sync(&session).await;
        }
        self.write(WorkspaceState::FallingAsleep { machine: live.machine_id().clone() }).await?;
        let saved = match self.save_for_sleep(&live).await {
            Ok(saved) => saved,
            Err(error) => {
                if let Err(error) = live.machine.resume().await {
                    warn!(workspace = %self.record.id, error = %chain(&error), "cannot let a machine go on");
                }
                live.tell_time();
                // What was taken for it goes again.
                self.record.lineage.at = at;
                self.go_back_to(started).await;
                self.discard_passing().await;
                return Err(error);
            }
        };
        // From here on it sleeps. Its commands run on when it wakes up.
        self.commands.suspend();
        self.live = None;
        self.is_adopted = false;
        self.show();
        self.commands.changes().of_state();
        info!(workspace = %self.record.id, snapshot = %saved.id, "sleeps");
        self.reached(FaultPoint::SleepRecorded);
        if let Err(error) = live.end().await {
            warn!(workspace = %self.record.id, error = %chain(&error), "the machine of a sleeping workspace is left to the next look over the machines");
        }
        Ok(())
    }

    async fn save_for_sleep(&mut self, live: &super::LiveMachine) -> Result<Arc<SnapshotRecord>, Error> {
        // So that nothing happens between what is saved and the end.
        let paused = live.machine.pause().await;
        paused.map_err(|source| Error::Engine { operation: "pause the machine", source })?;
        let saved = self.capture(Wanted::unnamed(SnapshotKind::Sleep)).await?;
        self.finish_sealing().await;
        let saved = self.snapshots.shelf.get(&saved.id).unwrap_or(saved);
        let is_whole = saved.memory.as_ref().is_some_and(|memory| memory.stage == MemoryStage::Sealed);
        if !is_whole {
            return Err(Error::NoSnapshots { reason: "its memory could not be kept" });
        }
        reach(FaultPoint::SleepSaved, &self.place())?;
        self.write(WorkspaceState::Asleep { snapshot: saved.id.clone() }).await?;
        Ok(saved)
    }

    /// Wakes a workspace that sleeps; otherwise nothing happens. On an error it sleeps on.
    pub(super) async fn wake(&mut self, turn: Option<OwnedSemaphorePermit>) -> Result<(), Error> {
        let WorkspaceState::Asleep { snapshot: id } = self.record.state.clone() else { return Ok(()) };
        self.finish_sealing().await;
        let Some(snapshot) = self.snapshots.shelf.get(&id) else {
            // Its record is gone, or is a newer release's: its disk is there.
            warn!(workspace = %self.record.id, snapshot = %id, "what a workspace slept by is gone; it is booted");
            self.record.last_error = Some("what it slept by could not be read: it was stopped".to_owned());
            self.settle(StopReason::MachineLost).await;
            return self.start_from_disk(turn).await;
        };
        let asleep = self.record.state.clone();
        let successor = match self.succeed(Arc::clone(&snapshot), Some(id), turn).await {
            Ok(successor) => successor,
            Err(error) => {
                self.record.last_error = Some(chain(&error));
                self.go_back_to(asleep).await;
                return Err(error);
            }
        };
        let Successor { live, resumed, disk, origin } = successor;
        let mut record = self.record.clone();
        record.state = WorkspaceState::Started { machine: live.machine_id().clone() };
        record.disk = disk;
        record.last_activity_at = SystemTime::now();
        record.last_error = resumed.because.map(|because| format!("booted when it woke up: {because}"));
        // What it slept by goes; it descends from what that did.
        (record.lineage.at, record.lineage.origin) = (snapshot.parent.clone(), origin);
        let switched = async {
            reach(FaultPoint::WakeStarted, &self.place())?;
            self.store.update_workspace(&record).await
        };
        if let Err(error) = switched.await {
            self.give_up(live, asleep).await;
            return Err(error);
        }
        // From here on it is awake, whatever happens.
        self.record = record;
        self.live = Some(Arc::new(live));
        self.lives_in_successor();
        let told = match resumed.start {
            StartKind::Booted => {
                self.commands.machine_gone("its machine could not be restored when it woke up").await
            }
            StartKind::Restored => {
                let slept = SystemTime::now().duration_since(snapshot.created_at).unwrap_or_default();
                self.commands.note_sleep(slept).await
            }
        };
        if let Err(error) = told {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot write down what sleep was to the commands");
        }
        self.is_adopted = false;
        self.show();
        self.reconnect().await;
        self.commands.changes().of_state();
        self.snapshots.discard_is_due();
        Ok(())
    }

    /// Admits what is wished, after waking up what sleeps.
    pub(super) async fn wake_and_admit(
        &mut self,
        operation: &'static str,
        wish: Wish,
    ) -> Result<bool, Error> {
        if decide(&self.record.state, None, wish) == Verdict::Awake {
            self.wake(None).await?;
        }
        self.admit(operation, wish)
    }

    /// How long until it falls asleep by itself; none: never, or not while it is in use.
    pub(super) fn until_drowsy(&self) -> Option<Duration> {
        let live = self.live.as_ref().filter(|live| live.stall().is_none())?;
        if self.is_in_use() || live.machine.capture().is_none() {
            return None;
        }
        let idle = SystemTime::now().duration_since(self.record.last_activity_at).unwrap_or_default();
        let pause = self.no_sleep_before.map(|end| end.saturating_duration_since(Instant::now()));
        Some(self.record.idle_sleep?.saturating_sub(idle).max(pause.unwrap_or_default()))
    }

    /// It was not used for so long that it sleeps by itself.
    pub(super) async fn fall_asleep(&mut self) {
        if self.until_drowsy().is_none_or(|left| !left.is_zero()) {
            return;
        }
        if let Err(error) = self.sleep().await {
            warn!(workspace = %self.record.id, error = %chain(&error), "a workspace does not fall asleep");
            self.no_sleep_before = Some(Instant::now() + RETRY);
        }
    }
}
