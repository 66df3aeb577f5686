//! What the host says to the guest: frames, messages, versions. Pure: bytes in, bytes out; no I/O, no clock,
//! no randomness, no threads. The guest agent and the host link this same crate.
//!
//! - [`frame`]: one frame, a fixed header of 16 bytes and at most 64 KiB in all.
//! - [`sync`]: how both ends find the start of a session in a stream that may hold the rest of an older one.
//! - [`mux`]: a session: calls, replies and credit-limited byte streams over one byte stream.
//! - [`message`]: bodies of frames.
//! - [`version`]: what each side speaks.
//! - [`work`]: what is said to a file worker inside the guest.
//!
//! The host reads what an untrusted guest writes, so everything here is bounded whatever arrives: a peer's
//! unread data by its credit, the number of streams and calls by [`mux::MAX_STREAMS`] and [`mux::MAX_CALLS`],
//! and nothing panics.

mod error;
pub mod frame;
pub mod message;
pub mod mux;
mod session;
mod stream;
pub mod sync;
pub mod version;
pub mod work;

pub use error::{ProtocolError, SendError};
pub use frame::{Kind, Nonce, StreamId};
pub use mux::{Event, Mux};
