//! How a session fails: the peer broke the protocol, or this side cannot send what it wants to.

use crate::{
    frame::{Kind, MAX_PAYLOAD_BYTES, StreamId},
    mux::CONTROL_QUEUE_BYTES,
};

/// The peer broke the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// What stands where a header is due is none of this session.
    #[error("invalid frame header")]
    InvalidHeader,
    /// An acknowledgement in the middle of the session: the guest lost it and began anew.
    #[error("guest began the session anew")]
    GuestRestarted,
    /// A frame that this side alone sends, or one on the wrong stream.
    #[error("{kind:?} frame out of place on stream {}", stream.number())]
    Misplaced {
        /// Its kind.
        kind: Kind,
        /// Its stream.
        stream: StreamId,
    },
    /// A reply to no call, or data on no stream or after its close.
    #[error("{kind:?} frame on unknown stream {}", stream.number())]
    UnknownStream {
        /// Its kind.
        kind: Kind,
        /// Its stream.
        stream: StreamId,
    },
    /// A payload that does not decode.
    #[error("malformed {kind:?} frame on stream {}", stream.number())]
    Malformed {
        /// Its kind.
        kind: Kind,
        /// Its stream.
        stream: StreamId,
    },
    /// A payload without its end mark: a part of the frame is missing.
    #[error("torn {kind:?} frame on stream {}", stream.number())]
    Torn {
        /// Its kind.
        kind: Kind,
        /// Its stream.
        stream: StreamId,
    },
    /// More data than there was credit for.
    #[error("data beyond credit on stream {}", stream.number())]
    CreditExceeded {
        /// The stream.
        stream: StreamId,
    },
    /// More calls or streams than [`MAX_CALLS`](crate::mux::MAX_CALLS) or [`MAX_STREAMS`](crate::mux::MAX_STREAMS).
    #[error("too many calls or streams")]
    TooMany,
}

/// A message was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// No session is established, or the host's broke.
    #[error("no session with the peer")]
    NoSession,
    /// The message is longer than a frame.
    #[error("message of {bytes} bytes does not fit in a frame of {MAX_PAYLOAD_BYTES}")]
    TooLong {
        /// Its encoded length.
        bytes: usize,
    },
    /// The peer does not take what waits for it.
    #[error("more than {CONTROL_QUEUE_BYTES} bytes of messages wait to be sent")]
    QueueFull,
    /// [`MAX_CALLS`](crate::mux::MAX_CALLS) or [`MAX_STREAMS`](crate::mux::MAX_STREAMS) are open, or all ids of the session are used up.
    #[error("too many calls or streams open")]
    TooMany,
    /// No such call or stream, or this side closed it already.
    #[error("no call or stream of that id is open")]
    UnknownStream,
    /// A kind that this role does not send, or that other methods send (data, credit).
    #[error("{0:?} frames are not sent this way")]
    Misplaced(Kind),
}
