//! Brings the loopback interface up with one rtnetlink message.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: u32 = 1;
/// Header and `struct ifinfomsg`, 16 bytes each.
const MESSAGE_BYTES: u32 = 32;

/// Sets the interface flag `UP`; the kernel adds the addresses `127.0.0.1` and `::1` by itself.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn bring_up() -> io::Result<()> {
    // No protocol number is `NETLINK_ROUTE`.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    sendto(&socket, &set_up_message(), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0u8; 256];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    acknowledgement(answer.get(..length).unwrap_or_default())
}

fn set_up_message() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(MESSAGE_BYTES.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // sequence
    message.extend(0u32.to_ne_bytes()); // from: the kernel fills it in
    message.extend([0u8; 4]); // family, padding, device type
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // flags
    message.extend(IFF_UP.to_ne_bytes()); // which of them to change
    message
}

/// Reads an `NLMSG_ERROR` answer: a header, then the negated error number, 0 for success.
fn acknowledgement(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(negated)) => Err(io::Error::from_raw_os_error(negated.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
