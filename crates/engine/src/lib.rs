//! Engines run machines. This crate knows how to start, restore, adopt, save and end one virtual machine
//! process, confined; it knows nothing of workspaces, environments, requests or people.
//!
//! - [`Engine`] and [`Machine`]: the contract, documented by when each method is called.
//! - [`qemu`]: QEMU's `microvm`, KVM where it truly accelerates, TCG otherwise.
//! - `fake`: the real guest agent in-process (feature `fake`, tests only).

use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// Names one machine; 12 lower-case hex digits. Also the name of its directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MachineId(String);

/// What was measured, not what a device file promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Hardware virtualization through KVM.
    Kvm,
    /// Full software emulation (TCG).
    Emulated,
}

/// Everything that must be equal for saved memory to fit: part of a template's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MachineShape {
    /// Virtual processors.
    pub vcpus: u8,
    /// Guest memory in MiB.
    pub mem_mib: u32,
    /// Whether the machine has a network card.
    pub nic: Nic,
}

/// The two shapes of machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Nic {
    /// No network device at all.
    None,
    /// One card whose frames go to a stream socket on which the engine listens.
    Stream,
}

/// What a machine boots; stays attached (and equal) when it is restored.
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

/// The writable disk: immutable layers under one active layer. Backing files are always given here,
/// never read from an image header, which an escaped VMM could have written.
#[derive(Clone, Debug)]
pub struct DiskLayers {
    /// Immutable layers, the lowest first; opened read-only.
    pub lower: Vec<DiskLayer>,
    /// The layer that takes every write; owned by this machine alone.
    pub active: DiskLayer,
}

/// One layer of a disk.
#[derive(Clone, Debug)]
pub struct DiskLayer {
    /// Image file.
    pub path: PathBuf,
    /// How its bytes are to be read.
    pub format: DiskFormat,
}

/// Formats of a [`DiskLayer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFormat {
    /// Byte for byte.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

/// One machine to start.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// Its name.
    pub id: MachineId,
    /// Its private directory: exists, empty but for the active disk layer, mode 0700, maybe 200 characters long.
    /// The engine keeps sockets, VMM output and its runtime record here.
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
    /// From the kernel. With `shared_memory`, guest memory is that (new) file, so that [`Machine::save`] has
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

/// Guest memory in a memfd sealed against write, shrink and growth.
pub struct SealedMemory {
    _file: std::os::fd::OwnedFd,
}

/// A byte stream to the guest agent.
pub trait GuestStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> GuestStream for T {}

/// Starts machines of one kind.
#[async_trait]
pub trait Engine: Send + Sync + fmt::Debug {}

/// One running machine.
#[async_trait]
pub trait Machine: Send + Sync + fmt::Debug {}

impl fmt::Debug for SealedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedMemory")
    }
}
