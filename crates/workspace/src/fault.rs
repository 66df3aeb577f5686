//! Fault points: the places where a crash or a full disk must leave before or after, never between.
//!
//! Each point is declared once, in the list below, and reached with [`reach`]. A test lists them all
//! (`pyro daemon fault-points`), arms one after the other in a real process, and fails on a point that was
//! never reached. Unarmed, a point costs one relaxed load. Two are armed together where only a failure leads to the second.
//!
//! Crates below this one declare points of their own and have them reached by name: the steps of a transaction, and those of
//! the environments.

use std::{
    io,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use pyro_tree::transaction;
use rustix::process::{Signal, getpid, kill_process};

macro_rules! fault_points {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal;)+) => {
        /// One place where the armed fault happens.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum FaultPoint { $($(#[$doc])+ $variant,)+ }

        impl FaultPoint {
            /// Every point there is.
            pub const ALL: &'static [FaultPoint] = &[$(FaultPoint::$variant,)+];

            /// Its stable name.
            pub const fn name(self) -> &'static str {
                match self { $(FaultPoint::$variant => $name,)+ }
            }
        }
    };
}

fault_points! {
    /// A machine's directory exists and is locked, and holds nothing else.
    MachineDirectoryMade = "machine.directory-made";
    /// The machine's writable layer exists.
    MachineDiskMade = "machine.disk-made";
    /// The VMM runs; nobody has spoken to the guest.
    MachineStarted = "machine.started";
    /// The guest answers and has its own identity.
    MachineReady = "machine.ready";
    /// The command runs.
    CommandStarted = "run.command-started";
    /// The command has ended; the machine still runs.
    CommandEnded = "run.command-ended";
    /// The VMM is gone; the directory is still there.
    MachineKilled = "machine.killed";
    /// The template's directory and disk exist.
    TemplateDiskMade = "template.disk-made";
    /// The machine that becomes the template has booted.
    TemplateBooted = "template.booted";
    /// Memory and device state are saved; the template is not installed.
    TemplateSaved = "template.saved";
    /// The template is installed; its builder has not used it.
    TemplateInstalled = "template.installed";
    /// A command of a workspace is written down; the guest has not been asked.
    CommandRecorded = "command.recorded";
    /// The guest has started a command of a workspace; that is not written down.
    CommandRunning = "command.running";
    /// Output of a command is in its file.
    CommandOutputWritten = "command.output-written";
    /// A command has ended and all its output is kept; that is not written down.
    CommandOver = "command.over";
    /// A new workspace has a record and nothing else.
    WorkspaceRecorded = "workspace.recorded";
    /// A new workspace has its disk.
    WorkspaceDiskMade = "workspace.disk-made";
    /// The record names the machine that is about to be started.
    WorkspaceMachineRecorded = "workspace.machine-recorded";
    /// A workspace that is loaded from an archive has a record and nothing else.
    LoadRecorded = "load.recorded";
    /// The disk of a workspace that is loaded is being written; something of it is there.
    LoadHalfWritten = "load.half-written";
    /// A workspace that is loaded has its disk; the record says that it is still being made.
    LoadDiskMade = "load.disk-made";
    /// `/workspace` is filled; the record does not say so yet.
    WorkspaceSeeded = "workspace.seeded";
    /// The record says that a machine is being booted from the workspace's disk.
    WorkspaceStartRecorded = "workspace.start-recorded";
    /// The machine runs and the record says so; nobody was told.
    WorkspaceStarted = "workspace.started";
    /// The record says that the machine is shutting down.
    WorkspaceStopRecorded = "workspace.stop-recorded";
    /// The guest has powered off; its machine's directory is still there.
    WorkspacePoweredOff = "workspace.powered-off";
    /// The record says that the workspace is going away.
    WorkspaceDeleteRecorded = "workspace.delete-recorded";
    /// The machine of a workspace that is being deleted is gone.
    WorkspaceMachineGone = "workspace.machine-gone";
    /// The files of a workspace that is being deleted are gone.
    WorkspaceFilesRemoved = "workspace.files-removed";
    /// The record says that a capture is to switch to a layer; that is not made.
    SnapshotRecorded = "snapshot.recorded";
    /// The layer that a capture is to switch to is made.
    SnapshotLayerMade = "snapshot.layer-made";
    /// The machine is captured and goes on; nothing of that is written down.
    SnapshotCaptured = "snapshot.captured";
    /// The record knows the layers of a snapshot; the snapshot is not written down.
    SnapshotLayersRecorded = "snapshot.layers-recorded";
    /// The snapshot is written down; its memory is as the engine wrote it.
    SnapshotWritten = "snapshot.written";
    /// The memory of a snapshot is sealed; nobody was told.
    SnapshotSealed = "snapshot.sealed";
    /// Layers of a disk became one; no record names it.
    LayersMerged = "merge.written";
    /// The record of the workspace names the merged layer, those of its snapshots do not.
    MergeRecorded = "merge.recorded";
    /// All records name the merged layer; what it was merged of is still there.
    MergeSnapshotsRecorded = "merge.snapshots-recorded";
    /// A machine runs that goes on from a snapshot; the record names the one before.
    ResetStarted = "reset.started";
    /// The record names the machine that goes on from a snapshot; the one before still runs, and the commands are its.
    ResetRecorded = "reset.recorded";
    /// The machine before is gone; the commands are still its.
    ResetMachineGone = "reset.machine-gone";
    /// A machine that is going to sleep is saved and stands still; the record does not say so.
    SleepSaved = "sleep.saved";
    /// The record says that the workspace sleeps; its machine is not gone.
    SleepRecorded = "sleep.recorded";
    /// A machine runs that goes on from where the workspace slept; the record does not say so.
    WakeStarted = "wake.started";
    /// Workspaces that are to be forked have records and nothing else.
    ForkRecorded = "fork.recorded";
    /// They have their files; their machines are not started.
    ForkShared = "fork.shared";
    /// Their machines run; nobody was told.
    ForkStarted = "fork.started";
    /// The guest is asked for a push; nothing of it was sent.
    PushAsked = "push.asked";
    /// All that is pushed was read; the guest has not been told that it is all.
    PushRead = "push.read";
    /// The guest has been told that it has everything; what it made of it is not known.
    PushSent = "push.sent";
    /// The guest has pushed; nobody was told.
    PushAnswered = "push.answered";
    /// The guest is asked to patch; nothing of the patch was sent.
    PatchAsked = "patch.asked";
    /// The guest has been told that it has the whole patch; what it made of it is not known.
    PatchSent = "patch.sent";
    /// The guest has patched; nobody was told.
    PatchAnswered = "patch.answered";
    /// What a pull takes is decided; nothing was written.
    PullPlanned = "pull.planned";
    /// It is written down that a directory of the host is going to be changed; nothing of it was.
    PullRecorded = "pull.recorded";
    /// All contents have come; the steps of the transaction follow.
    PullReceived = "pull.received";
    /// The host's directory is as after; the guest has not been told what both sides have in common.
    PullCarriedOut = "pull.carried-out";
    /// The guest knows what both sides have in common; nobody was told.
    PullAgreed = "pull.agreed";
    /// The place of an export is written down; nothing was made there.
    ExportClaimed = "export.claimed";
    /// What is exported is being made beside its place; it is empty.
    ExportMade = "export.made";
    /// What is exported is whole; it is not in its place.
    ExportWritten = "export.written";
    /// What is exported is in its place; what it replaced is still beside it.
    ExportPlaced = "export.placed";
}

/// Every point that can be armed here: those above and the steps of transactions on the host.
pub fn names() -> impl Iterator<Item = &'static str> {
    FaultPoint::ALL.iter().map(|point| point.name()).chain(transaction::POINTS)
}

/// What happens at the armed point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The process gets SIGKILL.
    Kill,
    /// The process stands still until somebody lets it go on: a test does something else at this very point.
    Stop,
    /// The step fails as if the disk were full.
    DiskFull,
}

static ARMED: AtomicBool = AtomicBool::new(false);
static FAULTS: OnceLock<Vec<(String, Fault)>> = OnceLock::new();

/// Arms faults for the life of this process. Called by the binary at start, before any work; later calls do nothing.
/// A point may also be one of the environments crate, which reports its own by name.
pub fn arm(faults: Vec<(String, Fault)>) {
    if FAULTS.set(faults).is_ok() {
        ARMED.store(true, Ordering::Release);
    }
}

/// Reaches a point: does nothing unless this very point is armed.
pub fn reach(point: FaultPoint) -> io::Result<()> {
    reach_name(point.name())
}

/// The same by name, for points declared by a crate below this one.
pub fn reach_name(point: &str) -> io::Result<()> {
    if !ARMED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let armed = FAULTS.get().into_iter().flatten().find(|(armed, _)| armed == point);
    armed.map_or(Ok(()), |(_, fault)| happen(*fault))
}

/// Stops this process, this thread with the rest. Another thread may be the one that takes the signal: as long as none has, this
/// one would go on.
fn stand_still() -> io::Result<()> {
    kill_process(getpid(), Signal::STOP)?;
    let stop = 1_u64 << (Signal::STOP.as_raw() - 1);
    while pending_signals()? & stop != 0 {
        std::thread::yield_now();
    }
    Ok(())
}

/// The signals that wait for any thread of this process, a bit for each.
fn pending_signals() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    pending
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn happen(fault: Fault) -> io::Result<()> {
    match fault {
        // It is delivered before the call returns.
        Fault::Kill => Ok(kill_process(getpid(), Signal::KILL)?),
        Fault::Stop => stand_still(),
        Fault::DiskFull => Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())),
    }
}
