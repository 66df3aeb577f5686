//! Engines run machines. This crate knows how to start, restore, adopt, save and end one virtual machine
//! process, confined; it knows nothing of workspaces, environments, requests or people.
//!
//! - [`Engine`] and [`Machine`]: the contract, documented by when each method is called.
//! - `fake` (a feature): the real guest agent in this process, for tests of everything above.
//! - [`memory_delta`]: what a machine's memory became since it was started, as a stream.
//! - [`qemu`]: QEMU's `microvm`, KVM where it truly accelerates, TCG otherwise.
//! - [`launch`]: the jail in which every VMM process runs.
//! - [`acceleration`]: what KVM is worth on this host, measured.

pub mod acceleration;
mod capture;
mod core_file;
mod disk;
mod engine;
#[cfg(feature = "fake")]
pub mod fake;
mod guest_memory;
mod kvm;
pub mod launch;
mod machine;
mod memory;
pub mod memory_delta;
mod new_file;
mod pagemap;
mod process;
mod process_memory;
pub mod qemu;
pub mod qmp;
mod readiness;
mod record;
mod socket;
mod stall;
mod timestamp_counter;

pub use capture::{Capture, CaptureRequest, Captured};
pub use disk::{DiskFormat, DiskLayer, DiskLayers};
pub use engine::{Build, Engine, EngineError};
pub use machine::{
    BootFiles, ExitCause, ExitReport, GuestStream, Isolation, Machine, MachineId, MachineIdError,
    MachineShape, MachineSpec, Nic, ResizeDisk, SaveMemory, SavedMachine, Start,
};
pub use memory::{ComposeError, MemoryBase, MemoryError, SealedMemory};
pub use process::ProcessIdentity;
pub use stall::{Stall, StallCause};
