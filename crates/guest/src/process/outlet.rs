//! The pipes of a process: an [`Outlet`] takes what it prints into a spool, an [`Inlet`] feeds it what the host sends.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::launch::Launch;
use super::spool::Spool;
use crate::kernel;

/// Bytes moved in one step, so that one process cannot keep the agent from the others; the size of the buffer that is
/// lent to [`Outlet::poll_fill`].
pub const STEP_BYTES: usize = 64 * 1024;

/// Reads a pipe into a spool as long as that has room.
#[derive(Debug)]
pub struct Outlet {
    /// What was read.
    pub spool: Spool,
    pipe: Option<AsyncFd<OwnedFd>>,
}

impl Outlet {
    /// Takes over the read end of a pipe.
    ///
    /// # Errors
    /// The kernel's, when the pipe cannot be watched.
    pub fn new(pipe: OwnedFd, launch: &Launch) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { spool: Spool::new(launch.spool_bytes, launch.overflow), pipe: Some(kernel::watch(pipe)?) })
    }

    /// Moves one step's worth of bytes by way of `buffer`; true if something moved or the pipe ended. `is_read` says
    /// whether the host takes this output.
    pub fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        is_read: impl FnOnce() -> bool,
    ) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let room = self.spool.room(is_read).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
            return false;
        };
        match poll_read(pipe, buffer, context) {
            Poll::Pending => false,
            Poll::Ready(Ok(count)) if count > 0 => {
                self.spool.push(buffer.get(..count).unwrap_or_default());
                true
            }
            Poll::Ready(_) => {
                self.close();
                true
            }
        }
    }

    /// Whether the process waits for a host that takes this output, as `is_read` says.
    pub fn waits_for_host(&self, is_read: impl Fn() -> bool) -> bool {
        self.pipe.is_some() && self.spool.room(&is_read) == 0 && is_read()
    }

    /// Reads no more.
    pub fn close(&mut self) {
        self.pipe = None;
        self.spool.end();
    }
}

fn poll_read(
    pipe: &AsyncFd<OwnedFd>,
    buffer: &mut [u8],
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        let mut readiness = ready!(pipe.poll_read_ready(context))?;
        match rustix::io::read(pipe.get_ref(), &mut *buffer) {
            Ok(count) => return Poll::Ready(Ok(count)),
            Err(Errno::AGAIN) => readiness.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}

/// Writes what the host sent to a pipe. What the process does not read any more is thrown away.
#[derive(Debug)]
pub struct Inlet {
    pipe: Option<AsyncFd<OwnedFd>>,
    queue: VecDeque<u8>,
    ended: bool,
    consumed: u32,
}

impl Inlet {
    /// Takes over the write end of a pipe.
    ///
    /// # Errors
    /// The kernel's, when the pipe cannot be watched.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: Some(kernel::watch(pipe)?), queue: VecDeque::new(), ended: false, consumed: 0 })
    }

    /// Queues bytes; their number is bounded by the credit of the host.
    pub fn push(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// The host sends no more: the process reads end of file after what is queued.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Bytes consumed since the last call, to be credited to the host.
    pub fn take_consumed(&mut self) -> u32 {
        std::mem::take(&mut self.consumed)
    }

    /// Moves what can be moved; true if something did.
    pub fn poll_feed(&mut self, context: &mut Context<'_>) -> bool {
        let before = (self.queue.len(), self.pipe.is_some());
        while let (Some(pipe), false) = (&self.pipe, self.queue.is_empty()) {
            match poll_write(pipe, self.queue.as_slices().0, context) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) => self.consume(count),
                // The process closed its standard input or is gone.
                Poll::Ready(Err(_)) => self.pipe = None,
            }
        }
        if self.pipe.is_none() {
            self.consume(self.queue.len());
        }
        if self.ended && self.queue.is_empty() {
            self.pipe = None;
        }
        before != (self.queue.len(), self.pipe.is_some())
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.queue.len());
        self.queue.drain(..count);
        self.consumed = self.consumed.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

fn poll_write(pipe: &AsyncFd<OwnedFd>, bytes: &[u8], context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        let mut readiness = ready!(pipe.poll_write_ready(context))?;
        match rustix::io::write(pipe.get_ref(), bytes) {
            Ok(count) => return Poll::Ready(Ok(count)),
            Err(Errno::AGAIN) => readiness.clear_ready(),
            Err(Errno::INTR) => {}
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}
