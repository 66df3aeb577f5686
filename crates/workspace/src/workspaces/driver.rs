//! The one task that changes a workspace.
//!
//! It takes requests one after the other, asks the [table](super::state), writes the record before it acts, and
//! watches what nobody asks for: the machine's end, the loss of the session, the time to live, a machine that stands
//! still, a clock that jumped. Everybody else sees the workspace through a watch channel and works with its
//! [`LiveMachine`], side by side, without holding the driver up.

mod checkpoints;
mod ending;
mod fork;
mod merging;
mod reset;
mod sleep;
mod snapshots;
mod starting;

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use pyro_engine::{ExitReport, StallCause};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::Instant,
};
use tracing::{info, warn};

pub use self::{checkpoints::Undone, reset::Resumed};
pub(super) use self::{merging::MergedLayers, snapshots::Snapshots};
use super::{
    Shared, WorkspaceRecord, WorkspaceUpdate,
    clock::WallClock,
    disk::WorkspaceDisk,
    guest_deadline::{GuestDeadline, life_in_guest},
    id::SnapshotId,
    in_use::{InUse, UseCount},
    live::LiveMachine,
    naming,
    record::{StopReason, WorkspaceState},
    revival::Revival,
    snapshots::{SnapshotRecord, capture::Wanted},
    state::{Verdict, Wish, decide},
    stopped_disk::{Lending, StoppedDisk},
    view::Seen,
};
use crate::{
    commands::Commands,
    error::{Error, chain},
    host::Resources,
    store::Store,
};

/// How often it is tried to write down an end that the store did not take.
const RECORD_RETRY: Duration = Duration::from_secs(5);
/// How long after an expiry that failed the next one is tried.
const EXPIRY_PAUSE: Duration = Duration::from_secs(60);
/// How often the clock is looked at, and whether work goes on.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What a driver is asked; each with where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    /// Work in the guest.
    Use(oneshot::Sender<Result<InUse, Error>>),
    Start {
        /// The right to start a machine, if it was foreseen that one is started.
        turn: Option<OwnedSemaphorePermit>,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Stop(oneshot::Sender<Result<(), Error>>),
    Delete {
        force: bool,
        /// Not while somebody uses it.
        unless_used: bool,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Update(WorkspaceUpdate, oneshot::Sender<Result<(), Error>>),
    /// Read the disk past the guest.
    ReadDisk(oneshot::Sender<Result<StoppedDisk, Error>>),
    Snapshot(Wanted, oneshot::Sender<Result<Arc<SnapshotRecord>, Error>>),
    /// A snapshot that others are to begin from.
    ForkPoint(String, oneshot::Sender<Result<Arc<SnapshotRecord>, Error>>),
    DeleteSnapshot(String, oneshot::Sender<Result<Arc<SnapshotRecord>, Error>>),
    Reset {
        /// To which snapshot.
        snapshot: String,
        /// The right to start a machine.
        turn: Option<OwnedSemaphorePermit>,
        answer: oneshot::Sender<Result<Resumed, Error>>,
    },
    /// Before a call that may change something, in words.
    Checkpoint(String, oneshot::Sender<Result<(), Error>>),
    /// Go back before so many calls.
    Undo(usize, oneshot::Sender<Result<Undone, Error>>),
    Sleep(oneshot::Sender<Result<(), Error>>),
    /// Workspaces that were begun from a snapshot made in passing have what they need of it.
    Forked(SnapshotId),
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
    pub(super) disk_lent: Lending,
    pub(super) clock: WallClock,
    /// The commands were taken up over the session of now.
    pub(super) is_adopted: bool,
    pub(super) revival: Revival,
    /// The record says stopped, and the store does not know it.
    pub(super) is_unwritten: bool,
    pub(super) guest_deadline: GuestDeadline,
    /// Ending it failed: not again at once.
    pub(super) no_expiry_before: Option<Instant>,
    /// Saving it for sleep failed: not again at once.
    pub(super) no_sleep_before: Option<Instant>,
    pub(super) snapshots: Snapshots,
}

/// What wakes a driver.
enum Event {
    Asked(Request),
    /// Nobody can ask any more: the host is closed. The machine goes on.
    Closed,
    MachineEnded(ExitReport),
    SessionLost,
    Expired,
    Drowsy,
    /// The memory of a snapshot is kept, or cannot be.
    Sealed(Box<Result<SnapshotRecord, Error>>),
    /// Layers of the disk became one, or cannot.
    Merged(Box<Result<Option<MergedLayers>, Error>>),
    Look,
    UseEnded,
    CommandsEnded,
    /// What the store did not take is due again.
    Unwritten,
    /// A workspace was answered that woke up, and there is time to remove what it slept by.
    DiscardDue,
}

impl Driver {
    /// Runs until the workspace is deleted or the host is closed.
    pub(super) async fn drive(mut self) {
        if self.live.as_ref().is_some_and(|live| live.stall().is_some()) {
            // There may be room by now: then nobody need hear that there was none.
            self.look().await;
            self.show();
        }
        self.move_guest_deadline();
        self.discard_forks().await;
        self.seal_next().await;
        self.merge_if_due();
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
                Event::Drowsy => self.fall_asleep().await,
                Event::Sealed(sealed) => self.sealed(*sealed).await,
                Event::Merged(merged) => self.merged(*merged).await,
                Event::Look => self.look().await,
                Event::UseEnded => self.touch().await,
                // Nobody was there to use it.
                Event::CommandsEnded if self.record.ends_with_callers => self.move_guest_deadline(),
                Event::CommandsEnded => self.touch().await,
                Event::Unwritten => self.write_end().await,
                Event::DiscardDue => self.discard_passing().await,
            }
            self.merge_if_due();
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
        let stall = live.as_ref().and_then(|live| live.stall());
        let is_adopted = self.is_adopted;
        let session = async {
            match &live {
                // A guest that stands still cannot answer: there is a session again when it goes on.
                Some(live) if stall.is_none() => {
                    if is_adopted {
                        live.is_without_session().await;
                    }
                }
                _ => std::future::pending().await,
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
        let drowsiness = self.until_drowsy();
        let now = Instant::now();
        let next_look = stall.map_or(now + LOOK_INTERVAL, |cause| self.revival.next_look(cause, now));
        let look = async {
            match &live {
                Some(live) => {
                    let mut stalls = live.machine.stalls();
                    let changed = stalls.wait_for(|now| now.map(|now| now.cause) != stall);
                    tokio::select! {
                        () = tokio::time::sleep_until(next_look) => {}
                        _ = changed => {}
                    }
                }
                None => std::future::pending().await,
            }
        };
        let is_discard_due = self.snapshots.is_discard_due();
        let retry = self.is_unwritten.then_some(RECORD_RETRY);
        tokio::select! {
            biased;
            request = self.requests.recv() => request.map_or(Event::Closed, Event::Asked),
            report = machine => Event::MachineEnded(report),
            () = session => Event::SessionLost,
            () = self.uses.last_ended() => Event::UseEnded,
            () = commands_ended => Event::CommandsEnded,
            () = passed(expiry) => Event::Expired,
            () = passed(drowsiness) => Event::Drowsy,
            background = self.snapshots.background() => background,
            () = std::future::ready(()), if is_discard_due => Event::DiscardDue,
            () = look => Event::Look,
            () = passed(retry) => Event::Unwritten,
        }
    }

    /// None: never, or not while it is in use. What is stopped stays, unless it is for one command.
    fn until_expiry(&self) -> Option<Duration> {
        let is_stopped = matches!(self.record.state, WorkspaceState::Stopped { .. });
        let has_an_end = self.live.is_some() || (is_stopped && self.record.one_shot);
        if !has_an_end || self.is_in_use() {
            return None;
        }
        let pause = self.no_expiry_before.map(|end| end.saturating_duration_since(Instant::now()));
        self.record.remaining(SystemTime::now()).map(|left| left.max(pause.unwrap_or_default()))
    }

    fn is_in_use(&self) -> bool {
        self.uses.count() > 0 || (!self.record.ends_with_callers && self.commands.running() > 0)
    }

    /// Answers one request; whether the workspace is gone now.
    async fn answer(&mut self, request: Request) -> bool {
        // Who asked may be gone; what was asked is done all the same.
        match request {
            Request::Use(answer) => {
                let used = self.use_machine().await;
                drop(answer.send(used));
            }
            Request::Start { turn, answer } => {
                let started = self.start(turn).await;
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
            Request::Delete { force, unless_used, answer } => {
                let users = if unless_used { self.uses.count() } else { 0 };
                let deleted = match users {
                    0 => self.delete(force).await,
                    running => Err(Error::Busy { workspace: self.record.id.clone(), running }),
                };
                let is_gone = deleted.is_ok();
                drop(answer.send(deleted));
                return is_gone;
            }
            Request::ReadDisk(answer) => drop(answer.send(self.lend_disk())),
            Request::Snapshot(wanted, answer) => self.snapshot(wanted, answer).await,
            Request::ForkPoint(name, answer) => {
                if let Err(Ok(_)) = answer.send(self.fork_point(&name).await) {
                    // Nobody is there to fork it.
                    self.snapshots.fork_ends();
                }
            }
            Request::DeleteSnapshot(name, answer) => drop(answer.send(self.delete_snapshot(&name).await)),
            Request::Reset { snapshot, turn, answer } => {
                let reset = self.reset(&snapshot, turn).await;
                self.show();
                drop(answer.send(reset));
            }
            Request::Checkpoint(call, answer) => drop(answer.send(self.checkpoint(&call).await)),
            Request::Undo(count, answer) => {
                let undone = self.undo(count).await;
                self.show();
                drop(answer.send(undone));
            }
            Request::Sleep(answer) => {
                let slept = self.sleep().await;
                self.show();
                drop(answer.send(slept));
            }
            Request::Forked(id) => self.forked(&id).await,
            Request::Touch => self.touch().await,
        }
        false
    }

    fn admit(&self, operation: &'static str, wish: Wish) -> Result<bool, Error> {
        let stall = self.live.as_ref().and_then(|live| live.stall());
        match decide(&self.record.state, stall, wish) {
            Verdict::Accepted => Ok(true),
            Verdict::AlreadySo => Ok(false),
            Verdict::Awake => Err(Error::WrongState {
                operation,
                workspace: self.record.id.clone(),
                state: self.record.state.name(),
                reason: "sleeps".to_owned(),
            }),
            Verdict::Stalled(cause) => Err(Error::Stalled { workspace: self.record.id.clone(), cause }),
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
        self.wake_and_admit("work in it", Wish::Use).await?;
        if !self.is_adopted {
            self.reconnect().await;
            self.admit("work in it", Wish::Use)?;
        }
        let live = self.live.clone();
        let (live, talk) =
            live.and_then(|live| Some((Arc::clone(&live), live.talk()?))).ok_or_else(|| {
                let reason = self.record.last_error.clone().unwrap_or_default();
                Error::MachineLost { reason, console: String::new(), work_started: false }
            })?;
        self.touch().await;
        Ok(self.uses.begin(live, talk))
    }

    /// Lends the disk; no machine starts on it until it is given back.
    fn lend_disk(&mut self) -> Result<StoppedDisk, Error> {
        self.admit("read its disk", Wish::ReadDisk)?;
        let disk = WorkspaceDisk::of(&self.resources.layout, &self.record.id);
        self.record.disk = self.record.disk.settled(&disk)?;
        Ok(StoppedDisk::lend(&self.resources.layout, &self.record, &self.disk_lent))
    }

    /// Writes the record, then says and shows what it says.
    async fn write(&mut self, state: WorkspaceState) -> Result<(), Error> {
        let record = WorkspaceRecord { state, ..self.record.clone() };
        self.store.update_workspace(&record).await?;
        self.become_as_written(record);
        Ok(())
    }

    /// The same for a state that ends with the host, after which the one before is right.
    async fn note(&mut self, state: WorkspaceState) -> Result<(), Error> {
        let record = WorkspaceRecord { state, ..self.record.clone() };
        self.store.note_workspace(&record).await?;
        self.become_as_written(record);
        Ok(())
    }

    fn become_as_written(&mut self, record: WorkspaceRecord) {
        self.record = record;
        self.show();
        self.commands.changes().of_state();
    }

    fn show(&self) {
        let machine = self.live.as_ref().map(|live| live.view());
        self.seen.send_replace(Seen {
            record: Arc::new(self.record.clone()),
            machine,
            snapshots: self.snapshots.shelf.records().into(),
        });
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
        let Some(session) = self.live.as_ref().and_then(|live| live.session()) else { return };
        let (now, life) = (Instant::now(), self.life());
        if !self.guest_deadline.is_off(now, life) {
            return;
        }
        let life = life_in_guest(life);
        let told = session.set_deadline(life);
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

    /// The session broke off though the machine lives.
    async fn reconnect(&mut self) {
        let Some(live) = self.live.clone() else { return };
        self.is_adopted = false;
        let adopted = tokio::select! {
            biased;
            // Tried again when it goes on.
            _ = live.stands_still() => return,
            // It notices the end of the machine too.
            adopted = self.converse(&live) => adopted,
        };
        self.is_adopted = adopted.is_ok();
        // The guest may not have heard what it was told last.
        self.guest_deadline = GuestDeadline::Unknown;
        self.move_guest_deadline();
        if let Err(error) = adopted {
            if live.ends_by_itself().await {
                // That is the next event.
                return;
            }
            self.record.last_error = Some(chain(&error));
            warn!(workspace = %self.record.id, error = %chain(&error), "lost the session with a guest");
            // A guest that cannot be talked to any more is of no use; its disk is.
            drop(live.machine.kill().await);
        }
    }

    /// Opens a session if there is none, and has the commands taken up over it.
    async fn converse(&mut self, live: &LiveMachine) -> Result<(), Error> {
        if self.record.lineage.unsettled.is_some() {
            return self.settle_reset(live).await;
        }
        let session = live.reconnect(&self.resources.release).await?;
        self.commands.adopt(session).await
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
        if let Some(cause) = live.stall() {
            // Its clock stands still with it, and it hears of the time when it goes on.
            self.clock.suspect();
            self.revive(&live, cause).await;
        } else if self.clock.has_jumped() {
            live.tell_time();
        }
        // Neither side may take work for idleness.
        if self.is_in_use() && self.guest_deadline.is_off(Instant::now(), self.life()) {
            self.touch().await;
        }
    }

    /// Lets a machine that stands still go on if that may help.
    async fn revive(&mut self, live: &LiveMachine, cause: StallCause) {
        let free_bytes = rustix::fs::statvfs(self.place()).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
        if !self.revival.is_due(cause, free_bytes, Instant::now()) {
            return;
        }
        if let Err(error) = live.machine.resume().await {
            warn!(workspace = %self.record.id, error = %chain(&error), "cannot let a machine go on");
        }
        self.revival.note_try(Instant::now());
    }

    fn place(&self) -> std::path::PathBuf {
        self.resources.layout.workspace(&self.record.id)
    }
}

/// Resolves when so much time has passed; never if there is no time to wait for.
async fn passed(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
