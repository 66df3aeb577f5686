//! What a machine is made of, and the contract of a running one.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::{Capture, DiskLayers, EngineError, ProcessIdentity, SealedMemory, Stall};

/// Names one machine; 12 lower-case hex digits. Also the name of its directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineId(String);

/// A text is not a [`MachineId`].
#[derive(Debug, thiserror::Error)]
#[error("a machine id has 12 lower-case hex digits")]
pub struct MachineIdError;

impl MachineId {
    /// Makes an id from random bytes.
    pub fn from_bytes(random: [u8; 6]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The 12 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a number, for choices that only have to differ between machines.
    pub(crate) fn number(&self) -> u64 {
        u64::from_str_radix(&self.0, 16).unwrap_or(0)
    }
}

impl FromStr for MachineId {
    type Err = MachineIdError;

    fn from_str(text: &str) -> Result<Self, MachineIdError> {
        let valid = text.len() == 12 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned())).ok_or(MachineIdError)
    }
}

impl TryFrom<String> for MachineId {
    type Error = MachineIdError;

    fn try_from(text: String) -> Result<Self, MachineIdError> {
        text.parse()
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> Self {
        id.0
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was measured, not what a device file promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Hardware virtualization through KVM.
    Kvm,
    /// Full software emulation (TCG).
    Emulated,
}

/// Everything that must be equal for saved memory to fit: part of a template's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MachineShape {
    /// Virtual processors.
    pub vcpus: u8,
    /// Guest memory in MiB.
    pub mem_mib: u32,
    /// Whether the machine has a network card.
    pub nic: Nic,
}

impl MachineShape {
    /// Guest memory in bytes.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.mem_mib) << 20
    }
}

/// The two shapes of machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nic {
    /// No network device at all.
    None,
    /// One card whose frames go to a stream socket on which the engine listens (`nic.sock` in the machine's directory).
    Stream,
}

/// What a machine boots; the root image stays attached (and equal) when it is restored.
#[derive(Clone, Debug)]
pub struct BootFiles {
    /// ELF kernel.
    pub vmlinux: PathBuf,
    /// Uncompressed cpio archive(s).
    pub initramfs: PathBuf,
    /// Root image, attached read-only as the first block device.
    pub root_image: PathBuf,
    /// Kernel arguments that the environment wants added, e.g. `pyro.rootfs=erofs`.
    pub kernel_arguments: Vec<String>,
}

/// One machine to start.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// Its name.
    pub id: MachineId,
    /// Its private directory: exists, mode 0700, maybe 200 characters long, and nothing in it has a name of the engine's.
    /// The engine keeps sockets, VMM output and its runtime record here. The files of [`Self::disk`] may lie anywhere.
    pub directory: PathBuf,
    /// Size and devices.
    pub shape: MachineShape,
    /// Kernel, initramfs, root image.
    pub boot: BootFiles,
    /// Writable disk.
    pub disk: DiskLayers,
}

/// How a machine comes to life.
#[derive(Clone, Debug)]
pub enum Start {
    /// From the kernel. With `shared_memory`, guest memory is that (new) file, so that [`SaveMemory::save`] has
    /// only device state to write; this is how templates are made.
    Boot {
        /// File for guest memory, created by the engine with the shape's size.
        shared_memory: Option<PathBuf>,
    },
    /// From a saved machine: memory mapped copy-on-write, device state loaded, running at return.
    Restore(SavedMachine),
}

/// A saved machine that others start from. Nothing a VMM does can change it.
#[derive(Clone, Debug)]
pub struct SavedMachine {
    /// Guest memory, sealed.
    pub memory: Arc<SealedMemory>,
    /// Device state file.
    pub state: PathBuf,
}

/// A byte stream to the guest agent.
pub trait GuestStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> GuestStream for T {}

/// One running machine. Dropping it leaves the machine running (the VMM is detached); only [`Machine::kill`]
/// and the guest itself end it.
///
/// ```text
///            pause            save
/// running ---------> paused --------> saved        (each of them) --kill, guest power-off--> gone
///   | ^------resume----'  `---save (also from running)
///   | '------resume----.
///   |--write fails--> stalled                      (on the host; see [`Stall`]: nothing is lost)
///   `--capture------> running                      (or paused, as it was; see [`Capture`])
/// ```
#[async_trait]
pub trait Machine: Send + Sync + fmt::Debug {
    /// Which process this is. Any time; never changes.
    fn identity(&self) -> ProcessIdentity;

    /// How it is isolated from the host. Any time; never changes.
    fn isolation(&self) -> Isolation;

    /// Opens the byte stream to the guest agent. Called after start, adoption and each loss of the stream; succeeds
    /// as soon as the VMM lives, also before the guest listens. One stream at a time: a second one waits
    /// until the first is dropped. The guest may have left half a frame in it: resynchronise before use.
    async fn connect(&self) -> Result<Box<dyn GuestStream>, EngineError>;

    /// Stops the virtual processors. Already so, or stalled: nothing happens. At return [`Self::stall`] tells it.
    async fn pause(&self) -> Result<(), EngineError>;

    /// Lets the virtual processors run on, and does again what the host failed to write. Already so: nothing happens. A machine
    /// whose disk still has no room stalls again, which [`Self::stall`] may tell a moment after the return.
    async fn resume(&self) -> Result<(), EngineError>;

    /// Why the machine stands still; `None` while it runs and when it is gone. Any time; costs nothing.
    fn stall(&self) -> Option<Stall> {
        *self.stalls().borrow()
    }

    /// Every change of [`Self::stall`], beginning with what is so now. Any time, by several. It closes when the machine is
    /// gone or this handle is dropped.
    fn stalls(&self) -> watch::Receiver<Option<Stall>>;

    /// Ends the machine at once, without asking the guest; at return the process is gone. Idempotent.
    async fn kill(&self) -> Result<(), EngineError>;

    /// Waits until the machine is gone, however it ended, and says what is known about it. May be called many
    /// times, by several, before and after the end; dropping the future loses nothing.
    async fn exited(&self) -> ExitReport;

    /// The ability to save a machine that was booted with shared memory.
    fn save_memory(&self) -> Option<&dyn SaveMemory>;

    /// The ability to grow the writable disk of a running machine.
    fn resize_disk(&self) -> Option<&dyn ResizeDisk>;

    /// The ability to capture a machine that runs on.
    fn capture(&self) -> Option<&dyn Capture>;
}

/// Saving a machine for others to start from.
#[async_trait]
pub trait SaveMemory: Send + Sync {
    /// Writes the device state to the new file `state`. Called once, on a machine started with
    /// `Boot { shared_memory: Some(_) }` and with no stream connected. Afterwards the machine is paused for
    /// good, the memory file holds its memory, and it has only to be killed.
    async fn save(&self, state: &Path) -> Result<(), EngineError>;
}

/// Growing the writable disk.
#[async_trait]
pub trait ResizeDisk: Send + Sync {
    /// Grows the disk to `bytes`. Called on a running machine, before the guest is asked to grow its file system.
    async fn resize_disk(&self, bytes: u64) -> Result<(), EngineError>;
}

/// What is known about a machine that is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExitReport {
    /// Why it ended, as far as it was seen.
    pub cause: ExitCause,
    /// Last lines of the VMM's own output and of the guest's console, for people; at most 8 KiB, untrusted.
    pub last_output: String,
}

/// Why a machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitCause {
    /// The guest powered itself off.
    GuestPowerOff,
    /// The guest asked for a reset, which a kernel panic does too.
    GuestReset,
    /// [`Machine::kill`] was called on this handle.
    Killed,
    /// The process vanished: crash, resource limit, a signal of somebody else, or it ended while nobody watched.
    Unknown,
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GuestPowerOff => "the guest powered off",
            Self::GuestReset => "the guest reset itself or panicked",
            Self::Killed => "killed",
            Self::Unknown => "the machine process ended unexpectedly",
        })
    }
}

/// Reads at most the last `limit` bytes of a text file; a file that is not there is empty.
pub(crate) fn tail(path: &Path, limit: u64) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
