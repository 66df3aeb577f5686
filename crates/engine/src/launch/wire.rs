//! What engine and launcher say to each other: one JSON object in each packet, descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Confinement;

/// The number of the first descriptor that is handed to the VMM; the others follow.
pub(crate) const FIRST_DESCRIPTOR: u32 = 10;
/// As many as the kernel lets travel with one packet (`SCM_MAX_FD`). Of a disk each layer that is only read has one, the active one
/// two.
const MAX_DESCRIPTORS: usize = 253;
const MAX_PACKET_BYTES: usize = 128 << 10;

/// What is to be run, and how confined. With it come: the log, which becomes standard output and error, and then the
/// descriptors of [`FIRST_DESCRIPTOR`] onward.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// `None`: report the confinement and exit.
    pub program: Option<PathBuf>,
    /// Everything after the program's name.
    pub arguments: Vec<String>,
    /// Files visible to it, read-only, at the same path.
    pub files: Vec<PathBuf>,
    /// Directories visible to it, read-only, at the same path.
    pub directories: Vec<PathBuf>,
    /// Files it may execute: itself and its loader.
    pub executables: Vec<PathBuf>,
    /// Device nodes it may open.
    pub devices: Vec<PathBuf>,
    /// Numbers of descriptors that it opens again by `/proc/self/fd/N`.
    pub reopened: Vec<u32>,
    /// Directory to mount the private root upon.
    pub mount_point: PathBuf,
    /// User and group to become; only root can.
    pub user: Option<(u32, u32)>,
    /// Supplementary groups to keep; applied only with a user of its own.
    pub groups: Vec<u32>,
    /// Resource limits.
    pub limits: Limits,
}

/// Resource limits of a VMM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Address space.
    pub address_space_bytes: u64,
    /// Size of every file it writes.
    pub file_size_bytes: u64,
    /// Tasks of its user; applied only with a user of its own.
    pub tasks: u64,
}

/// What the launcher reports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Notice {
    /// The child lives; its pidfd comes with this.
    Started { pid: u32 },
    /// The child is confined and waits.
    Confined(Confinement),
    /// It failed and is gone.
    Failed { step: String, errno: i32 },
}

/// Sends one packet.
pub(super) fn send(
    socket: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if bytes.len() > MAX_PACKET_BYTES
        || !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
    {
        return Err(io::ErrorKind::ArgumentListTooLong.into());
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` at the end.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let message = serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
    Ok(Some((message, descriptors)))
}
