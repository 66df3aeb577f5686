//! A switch that ends a blocking call of this crate from another thread.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::{Error, Result};

/// Shared by whoever waits and whoever may lose patience. Once fired it stays fired.
#[derive(Clone, Debug)]
pub struct Cancellation {
    event: Arc<OwnedFd>,
}

impl Cancellation {
    /// A switch that has not fired.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { event: Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?) })
    }

    /// Fires it. Every call that holds a clone returns [`Error::Cancelled`] soon.
    pub fn cancel(&self) {
        // The counter can only be full when it has fired already.
        let _already_fired = rustix::io::write(&*self.event, &1_u64.to_ne_bytes());
    }

    /// Whether it has fired.
    pub fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(&*self.event, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_fired_for_every_clone() {
        let first = Cancellation::new().unwrap();
        let second = first.clone();
        assert!(second.check().is_ok());
        first.cancel();
        first.cancel();
        assert!(second.is_cancelled());
        assert!(matches!(second.check(), Err(Error::Cancelled)));
    }
}
