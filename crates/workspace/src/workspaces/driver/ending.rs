//! How a workspace loses its machine: it is stopped, the machine ends by itself, or all of it goes.
//!
//! That a machine is gone is a fact, whatever the store says to it: from then on the workspace is stopped, and it is tried
//! until that is written down.

use std::time::{Duration, SystemTime};

use pyro_engine::{ExitCause, ExitReport, StallCause};
use tracing::{info, warn};

use super::{
    super::{
        call::KEPT_BYTES,
        disk::WorkspaceDisk,
        guest_deadline::GuestDeadline,
        live::LiveMachine,
        record::{StopReason, WorkspaceState},
        state::Wish,
    },
    Driver,
};
use crate::{
    commands::Excerption,
    error::{Error, chain},
    fault::FaultPoint,
    machine_start::reach,
    session::OutputKind,
};

/// How long a guest's processes may take to end when their workspace is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How much longer the machine itself may take before it is ended.
const POWER_OFF_PATIENCE: Duration = Duration::from_secs(30);
/// The only command of a machine for one.
const FIRST_COMMAND: u64 = 1;

impl Driver {
    /// Shuts the guest down, so that its disk is whole, and ends the machine.
    pub(super) async fn stop(&mut self, reason: StopReason) -> Result<(), Error> {
        if !self.wake_and_admit("stop it", Wish::Stop).await? {
            self.touch().await;
            return Ok(());
        }
        if !self.is_adopted && self.live.as_ref().is_some_and(|live| live.stall().is_none()) {
            self.reconnect().await;
        }
        let Some(live) = self.live.clone() else {
            self.settle(reason).await;
            return Ok(());
        };
        let machine = live.machine_id().clone();
        self.write(WorkspaceState::Stopping { machine, reason }).await?;
        if reason == StopReason::Requested {
            self.record.last_activity_at = SystemTime::now();
        }
        if let Err(error) = reach(FaultPoint::WorkspaceStopRecorded, &self.place()) {
            // Nothing was asked of the guest yet: it goes on.
            self.write(WorkspaceState::Started { machine: live.machine_id().clone() }).await?;
            return Err(error);
        }
        if let Some(cause) = self.shut_down(&live).await {
            return Err(Error::Stalled { workspace: self.record.id.clone(), cause });
        }
        let reached = reach(FaultPoint::WorkspacePoweredOff, &self.place());
        live.end().await?;
        self.settle(reason).await;
        reached
    }

    /// Asks the guest to power off and waits until it has; a guest that does not answer is left to be ended. One that
    /// stands still in the midst of it is not: it has something left to write, and powers off when it goes on. Why it does.
    async fn shut_down(&self, live: &LiveMachine) -> Option<StallCause> {
        let asked = live.session()?.power_off(STOP_GRACE);
        let off = async {
            if let Err(error) = asked.await {
                warn!(workspace = %self.record.id, error = %chain(&error), "the guest does not shut down");
                return;
            }
            drop(live.machine.exited().await);
        };
        let off = tokio::time::timeout(STOP_GRACE + POWER_OFF_PATIENCE, off);
        let ended = tokio::select! {
            biased;
            cause = live.stands_still() => return Some(cause).filter(|cause| *cause != StallCause::Broken),
            ended = off => ended,
        };
        if ended.is_err() {
            warn!(workspace = %self.record.id, "the guest took too long to shut down and is ended");
        }
        None
    }

    /// The machine is gone: its commands are, and the workspace is stopped, whatever the store says to that.
    pub(super) async fn settle(&mut self, reason: StopReason) {
        self.live = None;
        match self.record.disk.settled(&WorkspaceDisk::of(&self.resources.layout, &self.record.id)) {
            Ok(disk) => self.record.disk = disk,
            // The next start tries again.
            Err(error) => {
                warn!(workspace = %self.record.id, error = %chain(&error), "cannot look at the disk of a stopped workspace");
            }
        }
        self.record.lineage.origin = None;
        self.guest_deadline = GuestDeadline::Unknown;
        self.record.state = WorkspaceState::Stopped { reason };
        self.show();
        self.commands.changes().of_state();
        self.write_end().await;
    }

    /// Writes down that the machine is gone. What the store does not take is tried again; a daemon that dies before finds
    /// out by itself.
    pub(super) async fn write_end(&mut self) {
        self.is_unwritten = false;
        let WorkspaceState::Stopped { reason } = self.record.state else { return };
        let written = async {
            self.commands.machine_gone(reason.explanation()).await?;
            self.store.update_workspace(&self.record).await
        };
        if let Err(error) = written.await {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot write down that a workspace is stopped; tries again");
            self.is_unwritten = true;
        }
    }

    pub(super) async fn machine_ended(&mut self, report: &ExitReport) {
        let expired = self.record.remaining(SystemTime::now()).is_some_and(|left| left.is_zero());
        let reason = match (&self.record.state, report.cause) {
            (WorkspaceState::Stopping { reason, .. }, _) => *reason,
            (_, ExitCause::GuestPowerOff) if expired => StopReason::Expired,
            (_, ExitCause::GuestPowerOff) => StopReason::PoweredOff,
            (_, ExitCause::GuestReset | ExitCause::Killed | ExitCause::Unknown) => StopReason::MachineLost,
        };
        info!(workspace = %self.record.id, cause = %report.cause, "the machine of a workspace ended");
        // One that we ended was given up for a reason that is known better.
        let is_explained = report.cause == ExitCause::Killed && self.record.last_error.is_some();
        if reason == StopReason::MachineLost && !is_explained {
            let evidence = crate::greeting::quoted(&report.last_output);
            let separator = if evidence.is_empty() { "" } else { "; " };
            self.record.last_error = Some(format!("{}{separator}{evidence}", report.cause));
        }
        if let Some(live) = self.live.clone()
            && let Err(error) = live.end().await
        {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot clean up after a machine");
        }
        self.settle(reason).await;
    }

    /// Of a machine whose call had a key, keeps the ends of what its command wrote. Without them only how it ended is known
    /// to whoever makes that call again.
    async fn keep_outputs(&self) {
        if self.record.call.as_ref().is_none_or(|call| call.key.is_none()) {
            return;
        }
        let kept = async {
            let stdout = self.end_of_output(OutputKind::Stdout).await?;
            let stderr = self.end_of_output(OutputKind::Stderr).await?;
            self.store.keep_outputs(&self.record.id, stdout, stderr).await
        };
        match kept.await {
            // It was given no command.
            Ok(()) | Err(Error::UnknownCommand { .. }) => {}
            Err(error) => {
                warn!(workspace = %self.record.id, error = %chain(&error), "cannot keep what a command wrote");
            }
        }
    }

    async fn end_of_output(&self, kind: OutputKind) -> Result<Vec<u8>, Error> {
        let excerpt = self.commands.output(FIRST_COMMAND, kind, Excerption::End, KEPT_BYTES).await?;
        Ok(excerpt.passages.into_iter().flat_map(|passage| passage.bytes).collect())
    }

    /// Removes the workspace with everything it has.
    pub(super) async fn delete(&mut self, force: bool) -> Result<(), Error> {
        self.admit("delete it", Wish::Delete)?;
        let running = self.commands.running();
        if running > 0 && !force {
            return Err(Error::Busy { workspace: self.record.id.clone(), running });
        }
        let machine = self.record.state.machine().cloned();
        self.write(WorkspaceState::Deleting { machine }).await?;
        reach(FaultPoint::WorkspaceDeleteRecorded, &self.place())?;
        if let Some(live) = &self.live {
            live.end().await?;
            self.live = None;
            self.commands.machine_gone("the workspace was deleted").await?;
        }
        reach(FaultPoint::WorkspaceMachineGone, &self.place())?;
        self.keep_outputs().await;
        self.stop_sealing().await;
        crate::workspaces::remove(&self.resources.layout, &self.store, &self.record.id).await?;
        if let Some(shared) = self.shared.upgrade() {
            shared.registry.remove(&self.record.id);
        }
        Ok(())
    }
}
