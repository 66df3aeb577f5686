//! Waiting for a descriptor we own to become readable.
#![expect(unsafe_code, reason = "tokio leaves it to the caller that the descriptor stays open and the same")]

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers with the runtime for reading.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always gives the same number, and is closed only when the `AsyncFd` that owns it
    // from now on is dropped; nothing here replaces it.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.map_err(Into::into)
}
