//! The machine's end of the byte stream to the host: a virtio-serial port, a character device.
//!
//! Three traps shape it:
//!
//! - While no host is connected, a read gives end of file instead of waiting, and the device says "hung up" to
//!   whoever polls it. The runtime's own readiness remembers a hang-up for ever, so reading would spin. Here the device
//!   sits in an epoll set of its own, edge-triggered: the runtime waits on that set, which never hangs up, and each
//!   announcement of the driver (bytes came, room came, a host connected or left) lets one read and one write try again.
//! - A host that leaves and comes back at once is not noticed at all. The session layer finds it by its preamble.
//! - A write waits while no host is connected or none reads; nothing is dropped.
//!
//! A read that finds no host waits for the next one. When there was a host and none comes back for [`ABSENCE`], reading
//! gives end of file once: processes should not wait for it any more. The driver learns of hosts and of bytes in two ways
//! that overtake each other, so that shorter absences prove nothing.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::kernel;

/// How long a host may be away before it counts as gone.
pub const ABSENCE: Duration = Duration::from_secs(2);

/// A virtio-serial port. Both directions have to be used by the same task.
#[derive(Debug)]
pub struct Port {
    device: File,
    announcements: AsyncFd<OwnedFd>,
    may_read: bool,
    may_write: bool,
    host: Host,
}

/// What the last read said of the host.
#[derive(Debug)]
enum Host {
    /// It is there.
    Present,
    /// It was there, and counts as gone when the time is over.
    Absent(Pin<Box<Sleep>>),
    /// There is none.
    Gone,
}

impl Host {
    /// A read found none.
    fn not_found(&mut self) {
        if matches!(self, Self::Present) {
            *self = Self::Absent(Box::pin(tokio::time::sleep(ABSENCE)));
        }
    }

    /// True once, when one that was there has been away for so long that it counts as gone.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> bool {
        let Self::Absent(time) = self else { return false };
        let is_gone = time.as_mut().poll(context).is_ready();
        if is_gone {
            *self = Self::Gone;
        }
        is_gone
    }
}

impl Port {
    /// Takes over a device that was opened non-blocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(device: File) -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&set, &device, epoll::EventData::new_u64(0), interest)?;
        Ok(Self {
            device,
            announcements: kernel::watch(set)?,
            may_read: true,
            may_write: true,
            host: Host::Gone,
        })
    }

    /// Waits for the driver to announce something, then lets both directions try.
    fn poll_announcement(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut readiness = ready!(self.announcements.poll_read_ready(context))?;
            let mut events = Vec::with_capacity(4);
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let set = readiness.get_inner();
            match epoll::wait(set, rustix::buffer::spare_capacity(&mut events), Some(&at_once)) {
                Ok(0) => readiness.clear_ready(),
                Ok(_) => {
                    self.may_read = true;
                    self.may_write = true;
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncRead for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.may_read {
                match rustix::io::read(&self.device, buffer.initialize_unfilled()) {
                    // No host is connected.
                    Ok(0) => {
                        self.may_read = false;
                        self.host.not_found();
                    }
                    Err(Errno::AGAIN) => {
                        self.may_read = false;
                        self.host = Host::Present;
                    }
                    Ok(count) => {
                        self.host = Host::Present;
                        buffer.advance(count);
                        return Poll::Ready(Ok(()));
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            } else if self.host.poll_gone(context) {
                return Poll::Ready(Ok(()));
            } else {
                ready!(self.poll_announcement(context))?;
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.may_write {
                match rustix::io::write(&self.device, bytes) {
                    Ok(count) => return Poll::Ready(Ok(count)),
                    Err(Errno::AGAIN) => self.may_write = false,
                    Err(Errno::INTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            } else {
                ready!(self.poll_announcement(context))?;
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
