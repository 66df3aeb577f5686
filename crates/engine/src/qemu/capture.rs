//! Captures a machine that runs.
//!
//! ```text
//! before the pause:  files are made, the process's memory is opened, the new layer is made known to QEMU, a mark is left
//! pause:             stop - is the disk whole? - pages - device state - the disk's switch - continue
//! after it:          the old layer loses its writer, the mark goes, the state gets to its file
//! ```
//!
//! The switch comes last, since all before it can be thrown away. The mark is for who adopts the machine when this process
//! dies meanwhile: it says that the pause is ours, and which layer was to be the next.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    device_state::DeviceState,
    layer::{self, OpenLayer},
    memory_dump,
    port::AgentPort,
    running::QemuMachine,
    standing::{self, Standing},
};
use crate::{
    Capture, CaptureRequest, Captured, DiskLayer, EngineError, StallCause,
    guest_memory::{MemoryFile, Reader, Reading},
    launch::Launcher,
    memory_delta::Written,
    new_file::NewFile,
    process::ProcessHandle,
    qmp::{Command, Qmp, QmpError},
};

const MARK: &str = "capture.json";

/// What a machine has to be captured with.
#[derive(Clone, Debug)]
pub(super) struct Capturing {
    pub(super) directory: PathBuf,
    pub(super) process: Arc<ProcessHandle>,
    pub(super) control: Arc<Qmp>,
    pub(super) standing: Arc<Standing>,
    pub(super) launcher: Launcher,
    /// The VMM's own user id, when it has one.
    pub(super) user: Option<u32>,
    /// Missing in a machine that was not prepared.
    pub(super) memory: Option<MemoryFile>,
    pub(super) memory_bytes: u64,
}

#[async_trait]
impl Capture for QemuMachine {
    async fn capture(&self, request: CaptureRequest) -> Result<Captured, EngineError> {
        let (capturing, turn) = (self.capturing.clone(), self.turn.clone().lock_owned().await);
        // Of its own, so that it lets the machine go on also when nobody waits for it any more.
        let task = tokio::spawn(async move { capturing.capture(request, turn).await });
        task.await.unwrap_or_else(|e| {
            Err(EngineError::file("capture the machine in", &self.capturing.directory, io::Error::other(e)))
        })
    }

    async fn active_layer<'a>(&self, layers: &'a [DiskLayer]) -> Result<Option<&'a DiskLayer>, EngineError> {
        if self.capturing.memory.is_none() {
            return Err(EngineError::CaptureUnprepared);
        }
        // A capture that is under way decides it.
        let _turn = self.turn.lock().await;
        let active = layer::active_node(&self.capturing.control).await.map_err(refused)?;
        for layer in layers {
            let file = fs::metadata(&layer.path).map_err(|e| EngineError::file("inspect", &layer.path, e))?;
            if layer::node_name(&file) == active {
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }

    async fn layer_count(&self) -> Result<usize, EngineError> {
        // One that is being made known may go again.
        let _turn = self.turn.lock().await;
        layer::count(&self.capturing.control).await.map_err(refused)
    }
}

pub(super) fn refused(source: QmpError) -> EngineError {
    EngineError::Control { operation: "capture", source }
}

impl Capturing {
    async fn capture(
        &self,
        request: CaptureRequest,
        turn: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Captured, EngineError> {
        let memory = self.memory.ok_or(EngineError::CaptureUnprepared)?;
        let runs = match standing::ask(&self.control).await.map_err(refused)? {
            None => true,
            Some(StallCause::Paused) => false,
            Some(cause) => return Err(EngineError::CaptureStalled { cause }),
        };
        let reader = Reader { launcher: &self.launcher, user: self.user };
        let pid = self.process.identity().pid;
        let reading = match Reading::open(&self.process, reader, memory, self.memory_bytes).await {
            Ok(reading) => Some(reading),
            Err(error) if self.is_forbidden(&error) => {
                tracing::info!(pid, %error, "a machine's memory cannot be read: all of it is saved");
                None
            }
            Err(source) => return Err(EngineError::MemoryUnreadable { pid, source }),
        };
        let (layer, mut files) = blocking(&self.directory, move || {
            let layer = OpenLayer::open(&request.next_layer)?;
            Ok((layer, Files::create(request.memory, request.state)?))
        })
        .await?;
        let mark = Mark { node: layer.node.clone(), resume: runs };
        mark.write(&self.directory)?;

        let outcome = match layer.add(&self.control).await {
            Ok(()) => self.pause_and_take(reading, &mark, &files).await,
            Err(error) => Err(refused(error)),
        };
        self.tidy(&mark, outcome.is_err()).await;
        drop(turn);
        let (written, paused) = outcome?;
        let (files, saved) = blocking(&self.directory, move || {
            let saved = files.save();
            Ok((files, saved))
        })
        .await?;
        drop(files);
        saved?;
        tracing::debug!(pages = written.pages, ?paused, "machine captured");
        Ok(Captured {
            pages: written.pages,
            zero_pages: written.zero_pages,
            stored_bytes: written.bytes,
            paused,
        })
    }

    /// Whether the host hides the memory of the process, of which `/proc` may say that it is not there.
    fn is_forbidden(&self, error: &io::Error) -> bool {
        let forbids = [io::ErrorKind::PermissionDenied, io::ErrorKind::NotFound];
        forbids.contains(&error.kind()) && !self.process.is_gone()
    }

    /// The pause, which ends in every case.
    async fn pause_and_take(
        &self,
        reading: Option<Reading>,
        mark: &Mark,
        files: &Files,
    ) -> Result<(Written, Duration), EngineError> {
        let before = layer::active_node(&self.control).await.map_err(refused)?;
        let [expected_bytes, actual_bytes] =
            layer::virtual_bytes(&self.control, [&before, &mark.node]).await.map_err(refused)?;
        if actual_bytes < expected_bytes {
            return Err(EngineError::LayerTooSmall { expected_bytes, actual_bytes });
        }
        self.standing.pause_briefly();
        let began = Instant::now();
        let taken = self.take(reading, mark, &before, files).await;
        if mark.resume
            && let Err(error) = self.control.execute(Command::Cont {}).await
        {
            // What was captured is whole; how the machine fares is told as ever.
            tracing::warn!(%error, directory = ?self.directory, "a captured machine does not go on");
        }
        let paused = began.elapsed();
        match self.standing.tell(&self.control).await {
            Ok(()) | Err(QmpError::Ended) => {}
            Err(error) => tracing::warn!(%error, "a captured machine does not say whether it runs"),
        }
        taken.map(|written| (written, paused))
    }

    /// What happens while the machine stands still. Without a reading of its process all memory is saved.
    async fn take(
        &self,
        reading: Option<Reading>,
        mark: &Mark,
        before: &str,
        files: &Files,
    ) -> Result<Written, EngineError> {
        let control = &self.control;
        if mark.resume {
            control.execute(Command::Stop {}).await.map_err(refused)?;
        }
        // A write may have failed on the way.
        let cause = match standing::ask(control).await.map_err(refused)? {
            Some(StallCause::Paused) => standing::ask_disk(control).await.map_err(refused)?,
            None => return Err(refused(QmpError::Strange { lacks: "the pause" })),
            other => other,
        };
        if let Some(cause) = cause {
            return Err(EngineError::CaptureStalled { cause });
        }
        let written = match reading {
            Some(reading) => self.write_changes(reading, &files.memory).await?,
            None => {
                let pid = self.process.identity().pid;
                memory_dump::write_delta(control, self.memory_bytes, &files.memory, pid).await?
            }
        };
        let filename = layer::add_state(control, &files.devices).await.map_err(refused)?;
        // Not live: otherwise QEMU would give its drives away, as for a machine that goes on elsewhere.
        control.execute(Command::SaveDevices { filename, live: false }).await.map_err(refused)?;
        let switch = Command::BlockdevSnapshot { node: before.to_owned(), overlay: mark.node.clone() };
        control.execute(switch).await.map_err(refused)?;
        Ok(written)
    }

    /// Writes what the memory has become into a delta.
    async fn write_changes(&self, reading: Reading, file: &NewFile) -> Result<Written, EngineError> {
        let (process, memory, path) = (self.process.clone(), file.share()?, file.path.clone());
        blocking(&self.directory, move || {
            reading.write_delta(&process, memory).map_err(|error| error.of(process.identity().pid, &path))
        })
        .await
    }

    /// Ends a capture, also one of a process that died: the machine is as if it had never been, or has the new layer.
    async fn tidy(&self, mark: &Mark, failed: bool) {
        let tidied = async {
            // A capture that came to its end has made the new one active.
            let active = match failed {
                true => layer::active_node(&self.control).await?,
                false => mark.node.clone(),
            };
            if active != mark.node {
                layer::discard(&self.control, &mark.node).await?;
            }
            layer::retire_all_but(&self.control, &active).await
        };
        match tidied.await {
            Ok(()) | Err(QmpError::Ended) => {}
            Err(error) => {
                tracing::warn!(%error, directory = ?self.directory, "what a capture needed stays with the machine");
            }
        }
        // One that does not go on now may when it is adopted.
        let stands = standing::ask(&self.control).await;
        if !mark.resume || !matches!(stands, Ok(Some(StallCause::Paused)) | Err(QmpError::Silent)) {
            Mark::remove(&self.directory);
        }
    }

    /// Called when the machine is adopted: ends the capture of a process that died.
    pub(super) async fn recover(&self, port: &AgentPort) -> Result<(), EngineError> {
        let Some(mark) = Mark::read(&self.directory) else { return Ok(()) };
        tracing::info!(directory = ?self.directory, "a machine is adopted that was being captured");
        let stands = standing::ask(&self.control).await.map_err(refused)?;
        if mark.resume && stands == Some(StallCause::Paused) {
            port.be_there(&self.control).await.map_err(refused)?;
            memory_dump::wait_for_end(&self.control).await.map_err(refused)?;
            self.control.execute(Command::Cont {}).await.map_err(refused)?;
        }
        self.tidy(&mark, true).await;
        Ok(())
    }
}

/// Work on files, away from everything that must not wait.
async fn blocking<T: Send + 'static>(
    directory: &Path,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(EngineError::file("capture the machine in", directory, io::Error::other(e))))
}

/// Left in the machine's directory while it is captured.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The layer that is to be active.
    node: String,
    /// Whether the machine ran before.
    resume: bool,
}

impl Mark {
    fn write(&self, directory: &Path) -> Result<(), EngineError> {
        let path = directory.join(MARK);
        let bytes =
            serde_json::to_vec(self).map_err(|e| EngineError::file("write", &path, io::Error::other(e)))?;
        fs::write(&path, bytes).map_err(|e| EngineError::file("write", &path, e))
    }

    /// `None` when there is none. One that was torn was never acted on.
    fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(directory.join(MARK)).ok()?).ok()
    }

    fn remove(directory: &Path) {
        if let Err(error) = fs::remove_file(directory.join(MARK))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, ?directory, "the mark of a capture stays");
        }
    }
}

/// What a capture writes.
#[derive(Debug)]
struct Files {
    memory: NewFile,
    state: NewFile,
    /// Where the state is until it is in its file.
    devices: DeviceState,
}

impl Files {
    fn create(memory: PathBuf, state: PathBuf) -> Result<Self, EngineError> {
        let devices = DeviceState::empty().map_err(|e| EngineError::file("make room for", &state, e))?;
        Ok(Self { memory: NewFile::create(memory)?, state: NewFile::create(state)?, devices })
    }

    /// Keeps both.
    fn save(&mut self) -> Result<(), EngineError> {
        let copied = self.devices.copy_to(&self.state.file);
        copied.map_err(|e| EngineError::file("write", &self.state.path, e))?;
        self.memory.keep();
        self.state.keep();
        Ok(())
    }
}
