//! Devices appear a moment after their driver. The kernel says so on a netlink socket, which is what the boot
//! waits on: no sleeping, no missed device, since the socket is open before the first module is loaded.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// Multicast group of the events that the kernel itself sends.
const KERNEL_EVENTS: u32 = 1;

/// The kernel's announcements of devices.
#[derive(Debug)]
pub(super) struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Subscribes.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn subscribe() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_EVENTS))?;
        Ok(Self { socket })
    }

    /// Asks `find` now and again after each announcement until it finds something.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when nothing was found within `patience`, else the kernel's.
    pub(super) fn wait_for<T>(
        &self,
        patience: Duration,
        mut find: impl FnMut() -> Option<T>,
    ) -> io::Result<T> {
        let give_up_at = Instant::now() + patience;
        loop {
            self.discard_announcements();
            if let Some(found) = find() {
                return Ok(found);
            }
            let left = give_up_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout))?;
        }
    }

    /// Their content does not matter, and a lost one (overflow) is an error that counts as an announcement.
    fn discard_announcements(&self) {
        let mut buffer = [0u8; 4096];
        while recv(&self.socket, &mut buffer[..], RecvFlags::empty()).is_ok() {}
    }
}
