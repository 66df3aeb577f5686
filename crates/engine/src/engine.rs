//! The contract of an engine and its errors.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    DiskLayer, Isolation, Machine, MachineSpec, MemoryError, StallCause, Start,
    launch::{Confinement, LaunchError},
    qmp::QmpError,
};

/// What saved memory depends on. Two engines with equal builds read each other's saved machines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Build {
    /// The engine's name, `qemu`.
    pub name: String,
    /// Version as the program states it.
    pub version: String,
    /// SHA-256 in hex over program (version, size, modification time), machine type, device set and host CPU.
    pub digest: String,
}

/// Starts machines of one kind.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {
    /// What saved memory depends on. Any time; costs nothing.
    fn build(&self) -> &Build;

    /// How machines of this engine are isolated on this host, as measured before the engine was made.
    fn acceleration(&self) -> Isolation;

    /// Makes an empty layer of `virtual_bytes` at `path`, which must not exist, to be the active layer of machines that
    /// are started over other layers, which may be smaller: what they lack reads as zeros. Later machines start from it
    /// as it was left. Blocks for as long as it takes to write a few KiB.
    fn create_layer(&self, path: &Path, virtual_bytes: u64) -> Result<DiskLayer, EngineError>;

    /// Writes what adjacent layers of a disk hold together to a new one at `path`, which must not exist; the lowest first. It may
    /// take their place in every disk that has them in this order: what none of them holds stays that of whatever is below. Any
    /// time after a machine last wrote to them, also while machines read them. The new layer and its name are durable at return; after
    /// an error there is none. They are layers that this engine made; the base that a disk began with is none. Blocks while contents
    /// are copied; `going` hears of the bytes so far, and ends the work by an error.
    ///
    /// # Errors
    ///
    /// [`EngineError::Merge`], also for what a VMM that was taken over made of a layer.
    fn merge_layers(
        &self,
        layers: &[DiskLayer],
        path: &Path,
        going: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<DiskLayer, EngineError>;

    /// Starts a machine. Called with an existing empty directory that is the machine's alone. At return of
    /// a boot the VMM lives and the stream can be connected; at return of a restore the guest runs as well. After an
    /// error nothing of it runs; the directory then holds only logs and dead sockets, which the caller removes. While a
    /// machine lives, whoever started it, no other starts on its active layer ([`EngineError::DiskInUse`]).
    async fn start(&self, spec: MachineSpec, start: Start) -> Result<Box<dyn Machine>, EngineError>;

    /// Takes over a machine that an earlier process started in `directory`. Called once for each directory, before machines
    /// are started. `None` when there is none any more: pid, start time, boot of the host and the peer of the
    /// control socket must all match the record, and a process that does not match is never signalled. How a machine ended
    /// that nobody watched is not known.
    async fn adopt(&self, directory: &Path) -> Result<Option<Box<dyn Machine>>, EngineError>;

    /// Ends what an earlier process started in `directory`; whether something lived there. Called for a directory whose
    /// owner is dead, also when the machine is paused, hung or of another release: nothing is asked of the VMM. Pid,
    /// start time and boot of the host must match the record, so that no stranger is ever signalled.
    async fn end(&self, directory: &Path) -> Result<bool, EngineError>;

    /// What the jail of a machine on this host has and lacks. `scratch` is an existing directory, in which nothing is left.
    async fn confinement(&self, scratch: &Path) -> Result<Confinement, EngineError>;
}

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The VMM program is not where it was configured, or does not run.
    #[error("find a working {program:?}")]
    Program {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file or socket of the machine could not be used.
    #[error("{operation} {path:?}")]
    File {
        /// What was tried, e.g. `open`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The runtime record is there and cannot be understood.
    #[error("read the runtime record {path:?}")]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The jail could not be set up.
    #[error("launch the machine process")]
    Launch(#[source] LaunchError),
    /// The VMM refused a command.
    #[error("{operation} the machine")]
    Control {
        /// What was tried, e.g. `pause`.
        operation: &'static str,
        /// The VMM's answer.
        #[source]
        source: QmpError,
    },
    /// The VMM ended while it was being started.
    #[error("start the machine: its process ended; its last words: {last_output:?}")]
    Ended {
        /// Tail of its log.
        last_output: String,
    },
    /// The saved state does not fit this machine.
    #[error("restore the machine: the saved state was refused; last words: {last_output:?}")]
    Refused {
        /// Tail of its log.
        last_output: String,
    },
    /// Layers could not be merged.
    #[error("merge layers of a disk to {path:?}")]
    Merge {
        /// What they were to become.
        path: PathBuf,
        /// What was wrong with one of them, or with writing.
        #[source]
        source: pyro_disk::Error,
    },
    /// Saved memory does not have the size of the shape.
    #[error("restore a machine of {expected_bytes} bytes from memory of {actual_bytes} bytes")]
    MemorySize {
        /// What the shape wants.
        expected_bytes: u64,
        /// What was given.
        actual_bytes: u64,
    },
    /// Sealed memory could not be used.
    #[error("use sealed memory")]
    Memory(#[source] MemoryError),
    /// The process could not be watched or signalled.
    #[error("{operation} machine process {pid}")]
    Process {
        /// What was tried.
        operation: &'static str,
        /// The process.
        pid: u32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The active layer of the machine to start is that of a machine that lives.
    #[error("start a machine on the disk {path:?}: another machine runs on it")]
    DiskInUse {
        /// The active layer.
        path: PathBuf,
    },
    /// The machine to capture stands still, and what of it would be captured is not whole.
    #[error("capture the machine: it stands still: {cause}")]
    CaptureStalled {
        /// Why.
        cause: StallCause,
    },
    /// The machine to capture was started by a release that did not prepare machines for that.
    #[error(
        "capture the machine: an earlier release started it; it can be captured when it was stopped and started"
    )]
    CaptureUnprepared,
    /// The layer that is to become active is smaller than the disk.
    #[error("capture the machine: its disk has {expected_bytes} bytes and the next layer {actual_bytes}")]
    LayerTooSmall {
        /// What the disk has.
        expected_bytes: u64,
        /// What was given.
        actual_bytes: u64,
    },
    /// The memory of a machine could neither be read by this process nor be written out by the VMM.
    #[error("look into the memory of machine process {pid}")]
    MemoryUnreadable {
        /// The process.
        pid: u32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// No free user id is left in the configured range.
    #[error("choose a user id for the machine: all {count} of the range are in use")]
    NoUserId {
        /// Size of the range.
        count: u32,
    },
}

impl EngineError {
    pub(crate) fn file(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File { operation, path: path.to_owned(), source: source.into() }
    }
}
