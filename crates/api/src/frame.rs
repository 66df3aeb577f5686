//! Frames: how a streaming operation is laid out in the bodies of one HTTP exchange, in both directions.
//!
//! A frame is one byte of [`Kind`], the payload's length as 32 bits little-endian, and the payload, at most
//! [`MAX_PAYLOAD_BYTES`]. JSON may be longer, up to [`MAX_JSON_BYTES`]: a full frame of JSON goes on in the next
//! frame of its kind, and the first frame that is not full (it may be empty) ends it. Client to daemon: one `Request`, then any `Stdin` and one `StdinEof`, at any time one
//! `Cancel`. So that a `Cancel` is never stuck behind input that nobody reads, a client sends at most
//! [`STDIN_WINDOW_BYTES`] of `Stdin` beyond what `StdinCredit` frames have given back. Daemon to client: any `Stdout`, `Stderr`, `Event` and `StdinCredit`, then exactly one `Result` or `Error`, which
//! ends the body. A body that ends without one means that the peer died.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;

/// Largest payload of one frame.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// Longest JSON of one [`Frame`].
pub const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

/// Standard input that a client may send before the daemon has given credit.
pub const STDIN_WINDOW_BYTES: usize = 4 * MAX_PAYLOAD_BYTES;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The operation's request as JSON; the first frame of a client.
    Request = 0,
    /// Bytes for the command's standard input.
    Stdin = 1,
    /// The end of standard input; empty.
    StdinEof = 2,
    /// Bytes of the command's standard output.
    Stdout = 3,
    /// Bytes of the command's standard error.
    Stderr = 4,
    /// A phase or progress as JSON.
    Event = 5,
    /// The operation's result as JSON; the last frame of a success.
    Result = 6,
    /// An [`ErrorBody`](crate::ErrorBody) as JSON; the last frame of a failure.
    Error = 7,
    /// Stop the work, clean up and answer; empty.
    Cancel = 8,
    /// How many bytes of standard input were passed on to the guest, 32 bits little-endian.
    StdinCredit = 9,
}

impl Kind {
    pub(crate) const ALL: [Kind; 10] = [
        Kind::Request,
        Kind::Stdin,
        Kind::StdinEof,
        Kind::Stdout,
        Kind::Stderr,
        Kind::Event,
        Kind::Result,
        Kind::Error,
        Kind::Cancel,
        Kind::StdinCredit,
    ];

    /// Whether the payload is JSON, which may go on in the next frame.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Kind::Request | Kind::Event | Kind::Result | Kind::Error)
    }

    /// Longest payload of a [`Frame`] of this kind.
    fn most_bytes(self) -> usize {
        if self.is_json() { MAX_JSON_BYTES } else { MAX_PAYLOAD_BYTES }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte)).copied()
    }
}

/// One unit of a streaming body; long JSON is several frames on the wire but one here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// At most [`MAX_PAYLOAD_BYTES`], or [`MAX_JSON_BYTES`] of JSON.
    pub payload: Bytes,
}

/// Why bytes are not frames, or a frame cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// A kind that this release does not know.
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A payload over the limit.
    #[error("frame of {0} bytes, more than allowed")]
    TooLong(usize),
    /// Long JSON was broken off by a frame of another kind.
    #[error("a frame of another kind inside of long JSON")]
    Interrupted,
    /// The bytes ended inside a frame.
    #[error("body ended inside a frame")]
    Truncated,
    /// A value that cannot be JSON.
    #[error("value that cannot be written as JSON: {0}")]
    NotJson(String),
}

impl Frame {
    /// A frame without payload.
    pub fn empty(kind: Kind) -> Self {
        Self { kind, payload: Bytes::new() }
    }

    /// A frame of JSON.
    pub fn json(kind: Kind, value: &impl Serialize) -> Result<Self, FrameError> {
        let payload = serde_json::to_vec(value).map_err(|error| FrameError::NotJson(error.to_string()))?;
        if payload.len() > MAX_JSON_BYTES {
            return Err(FrameError::TooLong(payload.len()));
        }
        Ok(Self { kind, payload: payload.into() })
    }

    /// As many frames as the bytes need; none for no bytes.
    pub fn chunks(kind: Kind, mut bytes: Bytes) -> impl Iterator<Item = Frame> {
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            let payload = bytes.split_to(bytes.len().min(MAX_PAYLOAD_BYTES));
            Some(Frame { kind, payload })
        })
    }

    /// Gives credit for standard input.
    pub fn stdin_credit(bytes: u32) -> Self {
        Self { kind: Kind::StdinCredit, payload: Bytes::copy_from_slice(&bytes.to_le_bytes()) }
    }

    /// The credit that a `StdinCredit` frame gives; nothing if its payload is not one.
    pub fn credit(&self) -> Option<u32> {
        self.payload.as_ref().try_into().ok().map(u32::from_le_bytes)
    }

    /// The frame as bytes.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        if self.payload.len() > self.kind.most_bytes() {
            return Err(FrameError::TooLong(self.payload.len()));
        }
        let mut bytes = BytesMut::with_capacity(2 * HEADER_BYTES + self.payload.len());
        let mut rest = &self.payload[..];
        loop {
            let (piece, after) = rest.split_at(rest.len().min(MAX_PAYLOAD_BYTES));
            bytes.put_u8(self.kind as u8);
            bytes.put_u32_le(u32::try_from(piece.len()).unwrap_or(u32::MAX));
            bytes.put_slice(piece);
            rest = after;
            if !self.kind.goes_on_after(piece.len()) {
                return Ok(bytes.freeze());
            }
        }
    }
}

impl Kind {
    /// Whether a frame on the wire of this kind and length is continued by the next.
    fn goes_on_after(self, piece_bytes: usize) -> bool {
        self.is_json() && piece_bytes == MAX_PAYLOAD_BYTES
    }
}

/// Turns bytes, cut anywhere, into frames. Holds at most one frame beyond what was pushed last.
/// After an error nothing more can be had: a broken body cannot be picked up in its middle.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// JSON that goes on.
    begun: Option<(Kind, BytesMut)>,
}

impl Decoder {
    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or nothing until more is pushed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        while let Some((kind, piece)) = self.next_piece()? {
            let goes_on = kind.goes_on_after(piece.len());
            let payload = match self.begun.take() {
                Some((begun, _)) if begun != kind => return Err(FrameError::Interrupted),
                Some((_, mut begun)) => {
                    begun.unsplit(piece);
                    begun
                }
                None => piece,
            };
            if payload.len() > kind.most_bytes() {
                return Err(FrameError::TooLong(payload.len()));
            }
            if goes_on {
                self.begun = Some((kind, payload));
            } else {
                return Ok(Some(Frame { kind, payload: payload.freeze() }));
            }
        }
        Ok(None)
    }

    /// Says whether the body may end here.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() && self.begun.is_none() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    /// The next frame of the wire.
    fn next_piece(&mut self) -> Result<Option<(Kind, BytesMut)>, FrameError> {
        let Some((&kind, rest)) = self.buffer.split_first() else {
            return Ok(None);
        };
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let Some(length) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_PAYLOAD_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        Ok(Some((kind, self.buffer.split_to(length))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame = (0..Kind::ALL.len(), proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(kind, payload)| Frame { kind: Kind::ALL[kind], payload: payload.into() });
        proptest::collection::vec(frame, 0..20)
    }

    fn decode(pieces: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame()? {
                frames.push(frame);
            }
        }
        decoder.finish()?;
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(frames in frames(), piece_bytes in 1_usize..50) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().unwrap()).collect();
            let pieces: Vec<&[u8]> = bytes.chunks(piece_bytes).collect();
            prop_assert_eq!(decode(&pieces).unwrap(), frames);
        }

        #[test]
        fn a_missing_tail_is_noticed(frames in frames(), cut in 1_usize..HEADER_BYTES) {
            prop_assume!(!frames.is_empty());
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().unwrap()).collect();
            prop_assert_eq!(decode(&[&bytes[..bytes.len() - cut]]), Err(FrameError::Truncated));
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(frames) = decode(&[&bytes]) {
                let again: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().unwrap()).collect();
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let frame = Frame { kind: Kind::Stdout, payload: Bytes::from_static(b"hi") };
        assert_eq!(&frame.encode().unwrap()[..], [3, 2, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn long_json_is_one_frame() {
        for bytes in [MAX_PAYLOAD_BYTES - 1, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1, 3 * MAX_PAYLOAD_BYTES]
        {
            let frame = Frame { kind: Kind::Request, payload: Bytes::from(vec![b' '; bytes]) };
            let encoded = frame.encode().unwrap();
            assert_eq!(encoded.len(), bytes + HEADER_BYTES * (1 + bytes / MAX_PAYLOAD_BYTES));
            assert_eq!(decode(&[&encoded]).unwrap(), [frame]);
        }
        let full = Frame { kind: Kind::Stdout, payload: Bytes::from(vec![b' '; MAX_PAYLOAD_BYTES]) };
        let encoded = full.encode().unwrap();
        assert_eq!(decode(&[&encoded]).unwrap(), [full]);
        let mut json = encoded.to_vec();
        json[0] = Kind::Event as u8;
        assert_eq!(decode(&[&json]), Err(FrameError::Truncated));
        assert_eq!(decode(&[&json, &encoded]), Err(FrameError::Interrupted));
        let endless: Vec<u8> = json.repeat(MAX_JSON_BYTES / MAX_PAYLOAD_BYTES + 1);
        assert!(matches!(decode(&[&endless]), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn limits_hold_in_both_directions() {
        let payload = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
        let long = Frame { kind: Kind::Stdout, payload: payload.clone() };
        assert_eq!(long.encode(), Err(FrameError::TooLong(MAX_PAYLOAD_BYTES + 1)));
        let cut: Vec<usize> = Frame::chunks(Kind::Stdout, payload).map(|frame| frame.payload.len()).collect();
        assert_eq!(cut, [MAX_PAYLOAD_BYTES, 1]);
        let mut decoder = Decoder::default();
        decoder.push(&[3, 1, 0, 1, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(MAX_PAYLOAD_BYTES + 1)));
        let mut decoder = Decoder::default();
        decoder.push(&[10]);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(10)));
    }
}
