//! Captures a fake machine: its memory is nothing, its disk is copied.

use std::{
    fs, io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Instant,
};

use async_trait::async_trait;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{ActiveLayer, FakeMachine, Life, SAVED, disk};
use crate::{
    Capture, CaptureRequest, Captured, DiskLayer, EngineError, StallCause,
    memory_delta::{MemoryDeltaWriter, Written},
    new_file::NewFile,
};

/// Asks an agent to stand still, until the other end of `go_on` is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    stands: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
}

impl Hold {
    /// What the agent does meanwhile.
    pub(super) async fn stand(self) {
        if self.stands.send(()).is_ok() {
            let _dropped = self.go_on.await;
        }
    }
}

#[async_trait]
impl Capture for FakeMachine {
    async fn capture(&self, request: CaptureRequest) -> Result<Captured, EngineError> {
        let (life, turn) = (self.life.clone(), self.life.turn.clone().lock_owned().await);
        // Of its own, so that it comes to its end also when nobody waits for it any more.
        let task = tokio::spawn(async move { life.capture(request, turn).await });
        task.await.unwrap_or_else(|e| Err(self.life.failed("capture", io::Error::other(e))))
    }

    async fn active_layer<'a>(&self, layers: &'a [DiskLayer]) -> Result<Option<&'a DiskLayer>, EngineError> {
        // A capture that is under way decides it.
        let _turn = self.life.turn.lock().await;
        for layer in layers {
            let file = fs::metadata(&layer.path).map_err(|e| EngineError::file("inspect", &layer.path, e))?;
            if self.life.on_active(|active| Ok(active.is(&file)))? {
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }

    async fn layer_count(&self) -> Result<usize, EngineError> {
        let _turn = self.life.turn.lock().await;
        Ok(self.life.layers.load(Ordering::Relaxed))
    }
}

impl Life {
    async fn capture(
        self: Arc<Self>,
        request: CaptureRequest,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Captured, EngineError> {
        self.check_whole()?;
        if self.about.hides_memory.load(Ordering::Relaxed) {
            let source = io::ErrorKind::PermissionDenied.into();
            return Err(EngineError::MemoryUnreadable { pid: self.about.identity.pid, source });
        }
        let next = ActiveLayer::take(&request.next_layer)?;
        let (mut memory, mut state) = (NewFile::create(request.memory)?, NewFile::create(request.state)?);
        self.on_active(|active| active.check_room(&next))?;

        let go_on = self.hold().await?;
        let began = Instant::now();
        let life = self.clone();
        // To the end also when the runtime is going: it is what lets the agent go on.
        let taken = tokio::task::spawn_blocking(move || {
            let written = life.take(next, &memory, &state)?;
            let paused = began.elapsed();
            drop(go_on);
            drop(turn);
            memory.keep();
            state.keep();
            Ok(Captured {
                pages: written.pages,
                zero_pages: written.zero_pages,
                stored_bytes: written.bytes,
                paused,
            })
        });
        taken.await.unwrap_or_else(|e| Err(self.failed("capture", io::Error::other(e))))
    }

    /// What happens while the agent stands still. The switch comes last, since all before it can be thrown away. Blocks.
    fn take(&self, next: ActiveLayer, memory: &NewFile, state: &NewFile) -> Result<Written, EngineError> {
        // It may have stalled on the way.
        self.check_whole()?;
        let nothing =
            MemoryDeltaWriter::begin(&memory.file, self.about.memory_bytes).and_then(MemoryDeltaWriter::end);
        let (_file, written) = nothing.map_err(|e| EngineError::file("write", &memory.path, e))?;
        let saved = io::Write::write_all(&mut &state.file, SAVED.as_bytes());
        saved.map_err(|e| EngineError::file("write", &state.path, e))?;
        self.on_active(|active| {
            disk::switch(&active.path, &next.path)?;
            *active = next;
            self.layers.fetch_add(1, Ordering::Relaxed);
            Ok(written)
        })
    }

    /// Has the agent stand still, for as long as what comes back is not dropped.
    async fn hold(&self) -> Result<oneshot::Sender<()>, EngineError> {
        let ((stands, standing), (go_on, held)) = (oneshot::channel(), oneshot::channel());
        self.holds.send(Hold { stands, go_on: held }).map_err(|_| self.gone())?;
        standing.await.map_err(|_| self.gone())?;
        Ok(go_on)
    }

    fn check_whole(&self) -> Result<(), EngineError> {
        match *self.stalls.borrow() {
            Some(stall) if stall.cause != StallCause::Paused => {
                Err(EngineError::CaptureStalled { cause: stall.cause })
            }
            _ => Ok(()),
        }
    }

    /// Does something with the active layer of a machine that lives.
    fn on_active<T>(
        &self,
        work: impl FnOnce(&mut ActiveLayer) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        work(active.as_mut().ok_or_else(|| self.gone())?)
    }

    fn gone(&self) -> EngineError {
        self.failed("capture", io::ErrorKind::NotFound.into())
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> EngineError {
        EngineError::Process { operation, pid: self.about.identity.pid, source }
    }
}

#[cfg(test)]
mod tests;
