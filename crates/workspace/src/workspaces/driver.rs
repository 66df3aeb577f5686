//! The one task that changes a workspace.
//!
//! It takes requests one after the other, asks the [table](super::state), writes the record before it acts, and
//! watches what nobody asks for: the machine's end, the loss of the session, the time to live, a machine that stands
//! still, a clock that jumped. Everybody else sees the workspace through a watch channel and works with its
//! [`LiveMachine`], side by side, without holding the driver up.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use pyro_engine::{ExitCause, ExitReport};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::{
    Shared, WorkspaceRecord, WorkspaceUpdate,
    clock::WallClock,
    disk::WorkspaceDisk,
    guest_deadline::{GuestDeadline, life_in_guest},
    in_use::{InUse, UseCount},
    kept_environment,
    live::LiveMachine,
    naming,
    record::{StopReason, WorkspaceState},
    state::{Verdict, Wish, decide},
    view::Seen,
};
use crate::{
    commands::Commands,
    error::{Error, chain},
    fault::FaultPoint,
    files::FileWorkers,
    host::Resources,
    machine_directory::MachineDirectory,
    machine_start::{Claimed, GuestIdentity, reach},
    store::Store,
    task,
};

/// How long a guest's processes may take to end when their workspace is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How much longer the machine itself may take before it is ended.
const POWER_OFF_PATIENCE: Duration = Duration::from_secs(30);
/// How long after an expiry that failed the next one is tried.
const EXPIRY_PAUSE: Duration = Duration::from_secs(60);
/// How often the clock and a machine that stands still are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How often a machine that waits for room on the host's disk is looked at.
const STALL_INTERVAL: Duration = Duration::from_millis(500);
/// Room that a machine which found none must have to go on.
const ROOM_BYTES: u64 = 64 << 20;

/// What a driver is asked; each with where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    /// Work in the guest.
    Use(oneshot::Sender<Result<InUse, Error>>),
    Start(oneshot::Sender<Result<(), Error>>),
    Stop(oneshot::Sender<Result<(), Error>>),
    Delete {
        force: bool,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Update(WorkspaceUpdate, oneshot::Sender<Result<(), Error>>),
    /// Something was done that counts as activity and needs no machine.
    Touch,
}

/// Everything a driver needs.
pub(super) struct Driver {
    pub(super) record: WorkspaceRecord,
    pub(super) shared: Weak<Shared>,
    pub(super) resources: Arc<Resources>,
    pub(super) store: Store,
    pub(super) commands: Arc<Commands>,
    pub(super) live: Option<Arc<LiveMachine>>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) seen: watch::Sender<Seen>,
    pub(super) uses: UseCount,
    pub(super) clock: WallClock,
    pub(super) guest_deadline: GuestDeadline,
    /// Ending it failed: not again at once.
    pub(super) no_expiry_before: Option<Instant>,
}

/// What wakes a driver.
enum Event {
    Asked(Request),
    /// Nobody can ask any more: the host is closed. The machine goes on.
    Closed,
    MachineEnded(ExitReport),
    SessionLost,
    Expired,
    Look,
    UseEnded,
}

impl Driver {
    /// Runs until the workspace is deleted or the host is closed.
    pub(super) async fn drive(mut self) {
        self.move_guest_deadline();
        loop {
            match self.next_event().await {
                Event::Closed => return,
                Event::Asked(request) => {
                    if self.answer(request).await {
                        return;
                    }
                }
                Event::MachineEnded(report) => self.machine_ended(&report).await,
                Event::SessionLost => self.reconnect().await,
                Event::Expired => {
                    if self.expire().await {
                        return;
                    }
                }
                Event::Look => self.look().await,
                Event::UseEnded => self.touch().await,
            }
            self.show();
        }
    }

    async fn next_event(&mut self) -> Event {
        let live = self.live.clone();
        let machine = async {
            match &live {
                Some(live) => live.machine.exited().await,
                None => std::future::pending().await,
            }
        };
        let session = async {
            match &live {
                Some(live) => drop(live.session().ended().await),
                None => std::future::pending().await,
            }
        };
        let commands = Arc::clone(&self.commands);
        let commands_ended = async move {
            match commands.running() {
                0 => std::future::pending().await,
                _ => commands.idle().await,
            }
        };
        let expiry = self.until_expiry();
        let expired = async {
            match expiry {
                Some(remaining) => tokio::time::sleep(remaining).await,
                None => std::future::pending().await,
            }
        };
        let stalled = live.as_ref().is_some_and(|live| live.machine.stall().is_some());
        let look = async {
            match &live {
                Some(_) if stalled => tokio::time::sleep(STALL_INTERVAL).await,
                Some(live) => {
                    let mut stalls = live.machine.stalls();
                    tokio::select! {
                        () = tokio::time::sleep(LOOK_INTERVAL) => {}
                        _ = stalls.changed() => {}
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            request = self.requests.recv() => request.map_or(Event::Closed, Event::Asked),
            report = machine => Event::MachineEnded(report),
            () = session => Event::SessionLost,
            () = self.uses.last_ended() => Event::UseEnded,
            () = commands_ended => Event::UseEnded,
            () = expired => Event::Expired,
            () = look => Event::Look,
        }
    }

    /// None: never, or not while it is in use.
    fn until_expiry(&self) -> Option<Duration> {
        self.live.as_ref()?;
        if self.is_in_use() {
            return None;
        }
        let pause = self.no_expiry_before.map(|end| end.saturating_duration_since(Instant::now()));
        self.record.remaining(SystemTime::now()).map(|left| left.max(pause.unwrap_or_default()))
    }

    fn is_in_use(&self) -> bool {
        self.uses.count() > 0 || self.commands.running() > 0
    }

    /// Answers one request; whether the workspace is gone now.
    async fn answer(&mut self, request: Request) -> bool {
        // Who asked may be gone; what was asked is done all the same.
        match request {
            Request::Use(answer) => {
                let used = self.use_machine().await;
                drop(answer.send(used));
            }
            Request::Start(answer) => {
                let started = self.start().await;
                self.show();
                drop(answer.send(started));
            }
            Request::Stop(answer) => {
                let stopped = self.stop(StopReason::Requested).await;
                self.show();
                drop(answer.send(stopped));
            }
            Request::Update(update, answer) => {
                let updated = self.update(&update).await;
                self.show();
                drop(answer.send(updated));
            }
            Request::Delete { force, answer } => {
                let deleted = self.delete(force).await;
                let is_gone = deleted.is_ok();
                drop(answer.send(deleted));
                return is_gone;
            }
            Request::Touch => self.touch().await,
        }
        false
    }

    fn admit(&self, operation: &'static str, wish: Wish) -> Result<bool, Error> {
        match decide(&self.record.state, wish) {
            Verdict::Accepted => Ok(true),
            Verdict::AlreadySo => Ok(false),
            Verdict::Denied(_) if self.record.state.has_expired() => {
                Err(Error::WorkspaceExpired { operation, workspace: self.record.id.clone() })
            }
            Verdict::Denied(reason) => Err(Error::WrongState {
                operation,
                workspace: self.record.id.clone(),
                state: self.record.state.name(),
                reason,
            }),
        }
    }

    async fn use_machine(&mut self) -> Result<InUse, Error> {
        self.admit("work in it", Wish::Use)?;
        let live =
            self.live.clone().ok_or_else(|| Error::Task("a started workspace has no machine".into()))?;
        self.touch().await;
        Ok(self.uses.begin(live))
    }

    /// Writes the record, then says what it says.
    async fn write(&mut self, state: WorkspaceState) -> Result<(), Error> {
        let mut record = self.record.clone();
        record.state = state;
        self.store.update_workspace(&record).await?;
        self.record = record;
        Ok(())
    }

    fn show(&self) {
        let machine = self.live.as_ref().map(|live| live.view());
        self.seen.send_replace(Seen { record: self.record.clone(), machine });
    }

    /// Something was done: the time to live begins anew.
    async fn touch(&mut self) {
        self.record.last_activity_at = SystemTime::now();
        self.show();
        let touched = self.store.touch_workspace(&self.record.id, self.record.last_activity_at).await;
        if let Err(error) = touched {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot write down the last activity");
        }
        self.move_guest_deadline();
    }

    /// How long the workspace will live if nothing more is done with it. Work is activity for as long as it lasts.
    fn life(&self) -> Option<Duration> {
        if self.is_in_use() { self.record.ttl } else { self.record.remaining(SystemTime::now()) }
    }

    /// The guest's deadline follows the host's.
    fn move_guest_deadline(&mut self) {
        let Some(live) = &self.live else { return };
        let (now, life) = (Instant::now(), self.life());
        if !self.guest_deadline.is_off(now, life) {
            return;
        }
        let life = life_in_guest(life);
        let told = live.session().set_deadline(life);
        self.guest_deadline = GuestDeadline::told(now, life);
        // A guest that cannot hear it is noticed by its session.
        tokio::spawn(async move { drop(told.await) });
    }

    async fn update(&mut self, update: &WorkspaceUpdate) -> Result<(), Error> {
        self.admit("update it", Wish::Update)?;
        let mut record = self.record.clone();
        naming::apply(&mut record, update)?;
        record.last_activity_at = SystemTime::now();
        self.store.update_workspace(&record).await?;
        self.record = record;
        self.move_guest_deadline();
        Ok(())
    }

    /// Boots a machine from the workspace's own disk.
    async fn start(&mut self) -> Result<(), Error> {
        if !self.admit("start it", Wish::Start)? {
            self.touch().await;
            return Ok(());
        }
        let resources = Arc::clone(&self.resources);
        let turn = resources.starts.clone().acquire_owned().await;
        let _turn = turn.map_err(|error| Error::Task(error.to_string()))?;
        let layout = resources.layout.clone();
        let id = self.record.id.clone();
        let directory = task::blocking(move || MachineDirectory::create_for(&layout, &id)).await?;
        self.write(WorkspaceState::Starting { machine: directory.id().clone() }).await?;
        self.record.last_activity_at = SystemTime::now();
        let started = match self.boot(directory).await {
            Ok(live) => self.take_up(Arc::new(live)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &started {
            self.record.last_error = Some(chain(error));
            self.live = None;
            self.write(WorkspaceState::Stopped { reason: StopReason::StartFailed }).await?;
        }
        started?;
        reach(FaultPoint::WorkspaceStarted, &self.place())
    }

    /// Begins to live in a machine that has booted; one that cannot be lived in is ended.
    async fn take_up(&mut self, live: Arc<LiveMachine>) -> Result<(), Error> {
        let machine = live.machine_id().clone();
        let taken_up = async {
            self.commands.adopt(live.session()).await?;
            self.record.last_error = None;
            self.write(WorkspaceState::Started { machine }).await
        };
        if let Err(error) = taken_up.await {
            live.end().await?;
            return Err(error);
        }
        self.guest_deadline = GuestDeadline::told(Instant::now(), life_in_guest(self.record.ttl));
        self.live = Some(live);
        Ok(())
    }

    async fn boot(&self, directory: MachineDirectory) -> Result<LiveMachine, Error> {
        reach(FaultPoint::WorkspaceStartRecorded, &self.place())?;
        let layout = &self.resources.layout;
        let record = &self.record;
        let boot = kept_environment::kept(layout, &record.boot_digest, record.kernel_arguments.clone());
        let disk = WorkspaceDisk::of(layout, &record.id).layers();
        let claimed = Claimed::from_disk(record.shape, boot, directory, disk);
        let running = claimed.start(&self.resources).await?;
        let identity = GuestIdentity { id: record.id.to_string(), deadline: life_in_guest(record.ttl) };
        match running.greet(&self.resources.release, identity).await {
            Ok(session) => {
                let start = Some(running.start);
                let files = FileWorkers::new(session.clone());
                Ok(LiveMachine::new(running, start, session, files))
            }
            Err(error) => {
                running.end().await?;
                Err(error)
            }
        }
    }

    /// Shuts the guest down, so that its disk is whole, and ends the machine.
    async fn stop(&mut self, reason: StopReason) -> Result<(), Error> {
        if !self.admit("stop it", Wish::Stop)? {
            self.touch().await;
            return Ok(());
        }
        let Some(live) = self.live.clone() else { return Ok(()) };
        if let Some(stall) = live.machine.stall() {
            return Err(Error::Stalled {
                workspace: self.record.id.clone(),
                reason: stall.cause.to_string(),
            });
        }
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
        self.shut_down(&live).await;
        let reached = reach(FaultPoint::WorkspacePoweredOff, &self.place());
        live.end().await?;
        self.settle(reason).await?;
        reached
    }

    /// Asks the guest to power off and waits until it has; a guest that does not answer is left to be ended.
    async fn shut_down(&self, live: &LiveMachine) {
        let asked = live.session().power_off(STOP_GRACE);
        let off = async {
            if let Err(error) = asked.await {
                warn!(workspace = %self.record.id, error = %chain(&error), "the guest does not shut down");
                return;
            }
            drop(live.machine.exited().await);
        };
        if tokio::time::timeout(STOP_GRACE + POWER_OFF_PATIENCE, off).await.is_err() {
            warn!(workspace = %self.record.id, "the guest took too long to shut down and is ended");
        }
    }

    /// The machine is gone: its commands are, and the workspace is stopped.
    async fn settle(&mut self, reason: StopReason) -> Result<(), Error> {
        self.live = None;
        self.guest_deadline = GuestDeadline::Unknown;
        self.commands.machine_gone(reason.explanation()).await?;
        self.write(WorkspaceState::Stopped { reason }).await
    }

    async fn machine_ended(&mut self, report: &ExitReport) {
        let expired = self.record.remaining(SystemTime::now()).is_some_and(|left| left.is_zero());
        let reason = match report.cause {
            ExitCause::GuestPowerOff if expired => StopReason::Expired,
            ExitCause::GuestPowerOff => StopReason::PoweredOff,
            ExitCause::GuestReset | ExitCause::Killed | ExitCause::Unknown => StopReason::MachineLost,
        };
        info!(workspace = %self.record.id, cause = %report.cause, "the machine of a workspace ended");
        if reason == StopReason::MachineLost {
            let evidence = crate::greeting::quoted(&report.last_output);
            self.record.last_error = Some(format!("{}; {evidence}", report.cause));
        }
        let Some(live) = self.live.clone() else { return };
        let ended = async {
            live.end().await?;
            self.settle(reason).await
        };
        if let Err(error) = ended.await {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot clean up after a machine");
            self.live = None;
        }
    }

    /// The session broke off though the machine lives.
    async fn reconnect(&mut self) {
        let Some(live) = self.live.clone() else { return };
        let renewed = tokio::select! {
            biased;
            // Its end is the next event.
            _ = live.machine.exited() => return,
            session = live.reconnect(&self.resources.release) => session,
        };
        let adopted = match renewed {
            Ok(session) => self.commands.adopt(session).await,
            Err(error) => Err(error),
        };
        // The guest may not have heard what it was told last.
        self.guest_deadline = GuestDeadline::Unknown;
        self.move_guest_deadline();
        if let Err(error) = adopted {
            self.record.last_error = Some(chain(&error));
            warn!(workspace = %self.record.id, error = %chain(&error), "lost the session with a guest");
            // A guest that cannot be talked to any more is of no use; its disk is.
            drop(live.machine.kill().await);
        }
    }

    /// Ends what was not used for so long; whether the workspace is gone now.
    async fn expire(&mut self) -> bool {
        if self.until_expiry().is_none_or(|left| !left.is_zero()) {
            return false;
        }
        let one_shot = self.record.one_shot;
        info!(workspace = %self.record.id, one_shot, "reached the end of its time to live");
        let ended = if one_shot { self.delete(true).await } else { self.stop(StopReason::Expired).await };
        if let Err(error) = &ended {
            warn!(workspace = %self.record.id, error = %chain(error), "cannot end an expired workspace");
            self.no_expiry_before = Some(Instant::now() + EXPIRY_PAUSE);
        }
        one_shot && ended.is_ok()
    }

    /// Looks after what nobody reports: room on the disk, a clock that jumped, work that goes on.
    async fn look(&mut self) {
        let Some(live) = self.live.clone() else { return };
        if live.machine.stall().is_some() {
            let place = self.place();
            let free_bytes = rustix::fs::statvfs(&place).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
            if free_bytes >= ROOM_BYTES
                && let Err(error) = live.machine.resume().await
            {
                warn!(workspace = %self.record.id, error = %chain(&error), "cannot let a machine go on");
            }
        }
        if self.clock.has_jumped() {
            // A guest that cannot hear it is noticed by its session.
            drop(live.session().set_clock(crate::machine_start::realtime_ns()).await);
        }
        // Neither side may take work for idleness.
        if self.is_in_use() && self.guest_deadline.is_off(Instant::now(), self.life()) {
            self.touch().await;
        }
    }

    /// Removes the workspace with everything it has.
    async fn delete(&mut self, force: bool) -> Result<(), Error> {
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
        super::remove(&self.resources.layout, &self.store, &self.record.id).await?;
        if let Some(shared) = self.shared.upgrade() {
            shared.registry.remove(&self.record.id);
        }
        Ok(())
    }

    fn place(&self) -> std::path::PathBuf {
        self.resources.layout.workspace(&self.record.id)
    }
}
