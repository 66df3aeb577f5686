//! Puts the received descriptors where the VMM expects them and lets no other survive.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags};

use super::{system, wire::FIRST_DESCRIPTOR};

/// Above every number the VMM is given.
const PARKING: i32 = 256;

/// The first of `received` becomes standard output and error, the others [`FIRST_DESCRIPTOR`] and following.
pub(super) fn arrange(received: Vec<OwnedFd>) -> io::Result<()> {
    let parked = received
        .into_iter()
        .map(|descriptor| system::duplicate_above(descriptor.as_fd(), PARKING))
        .collect::<io::Result<Vec<_>>>()?;
    system::close_on_exec_from(3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    system::duplicate_to(null.as_fd(), 0)?;
    let mut parked = parked.into_iter();
    let log = parked.next().ok_or(io::ErrorKind::InvalidData)?;
    system::duplicate_to(log.as_fd(), 1)?;
    system::duplicate_to(log.as_fd(), 2)?;
    for (target, descriptor) in (i32::try_from(FIRST_DESCRIPTOR).unwrap_or(10)..).zip(parked) {
        system::duplicate_to(descriptor.as_fd(), target)?;
    }
    Ok(())
}
