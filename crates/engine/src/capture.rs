//! Capturing a running machine: its memory, devices and disk as they are at one instant.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;

use crate::{DiskLayer, EngineError};

/// Capturing a machine that runs on.
///
/// What is captured is the base of other machines: [`SealedMemory::compose`](crate::SealedMemory::compose) makes memory of it and of
/// what the machine itself was started from, [`Start::Restore`](crate::Start::Restore) starts machines from that, over the layers
/// that the captured machine had until then and a new one of each machine's own.
///
/// # Which layer is active
///
/// A capture ends with the disk's switch to a new layer. After a success it is made; after an error, a future that was dropped
/// or the death of the process it may be: [`Self::active_layer`] is what tells, at once or after an adoption. A machine that was
/// left paused by a capture whose process died runs on when it is adopted.
///
/// # What a captured machine can still do
///
/// Nothing to the files of memory and state, which it never has. A VMM that was taken over may have kept the layer below open, and
/// can write to it while it lives: only a digest taken at once tells that later.
#[async_trait]
pub trait Capture: Send + Sync {
    /// Captures the machine. It stands still meanwhile, up to about 1 ms for each MiB that it changed, which [`Machine::stall`] does
    /// not tell, and goes on afterwards in every case. One that is paused is captured so and stays so. Whoever else changes the machine
    /// (pauses, resumes, grows, captures it) waits until it goes on; once begun, the work also ends when this future is dropped.
    ///
    /// Where the host forbids to read the memory of its process, the VMM writes out all of it: that takes 1 to 3 s for each GiB, and
    /// the delta has every page.
    ///
    /// At return both files are whole for whoever reads them, and not durable yet: they are mostly brought into another form at once,
    /// which is. After an error both are gone, and so is the new layer from the machine unless it is active; the file of the
    /// layer is the caller's.
    ///
    /// # Errors
    ///
    /// [`EngineError::CaptureStalled`] for a machine that stands still because the host failed to write, or is broken;
    /// [`EngineError::CaptureUnprepared`] for one that an earlier release started; [`EngineError::MemoryUnreadable`] when reading its
    /// memory fails; [`EngineError::DiskInUse`] for a layer that another machine writes to;
    /// [`EngineError::LayerTooSmall`] for one that does not have the disk's size;
    /// [`EngineError::File`] for files that cannot be written.
    ///
    /// [`Machine::stall`]: crate::Machine::stall
    async fn capture(&self, request: CaptureRequest) -> Result<Captured, EngineError>;

    /// Which of these layers the machine writes to; `None` if it is none of them. Any time while the machine lives; a capture that is
    /// under way is waited for. The answer is the VMM's.
    async fn active_layer<'a>(&self, layers: &'a [DiskLayer]) -> Result<Option<&'a DiskLayer>, EngineError>;

    /// How many layers the machine's disk has, the lowest and the active one included: those that it was started with, whatever
    /// their files have become since, and one for each capture. Any time while the machine lives; a capture that is under way is
    /// waited for. The answer is the VMM's.
    ///
    /// # Errors
    ///
    /// [`EngineError::Control`]: the VMM did not say.
    async fn layer_count(&self) -> Result<usize, EngineError>;
}

/// What a capture is to be written to.
#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// An empty layer of the disk's present size or more, made by [`Engine::create_layer`](crate::Engine::create_layer), which becomes
    /// active: the machine never writes to the present one again.
    pub next_layer: DiskLayer,
    /// A new file for what the memory has become since the machine was started: a [memory delta](crate::memory_delta) to what it was
    /// restored from, or for one that was booted to nothing.
    pub memory: PathBuf,
    /// A new file for the state of the devices.
    pub state: PathBuf,
}

/// What was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Pages of memory in the delta, of 4 KiB each.
    pub pages: u64,
    /// Those of them that are zero, which take no room.
    pub zero_pages: u64,
    /// Size of the memory file.
    pub stored_bytes: u64,
    /// How long the machine stood still for it.
    pub paused: Duration,
}
