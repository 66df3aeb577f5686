//! One frame: a header of 16 bytes, its payload, and behind a payload its end mark of 4 bytes.
//!
//! ```text
//! 0        4      5       6          8           12      16        16 + length
//! | length | kind | flags | reserved | stream id | check | payload … | end mark |
//! ```
//!
//! Numbers are little-endian. `length` counts the payload alone. Flags and the reserved half-word are 0 in every
//! version so far; a header where they are not is invalid. `check` is the CRC-32 of the session's nonce and the
//! first 12 bytes, so that neither a frame of an earlier session nor the middle of some data is taken for a header.
//!
//! The transport is a local, reliable one. It does not flip bits, so the payload has no checksum; what it does is
//! cut: a host dies in the middle of a frame, and the preambles of the next one fill up what is missing. That
//! frame must not be taken for what its sender meant. So a payload ends with a mark, the complement of its header's
//! check: it arrives in its place if and only if the payload before it is whole, since a preamble's bytes there were
//! drawn without knowledge of it. That costs a receiver four bytes to compare, whatever the length. A frame
//! without payload has none: it is whole with its header.

use std::fmt;

/// Length of a header.
pub const HEADER_BYTES: usize = 16;
/// Length of the mark behind a payload.
pub const END_MARK_BYTES: usize = 4;
/// Longest frame, header and end mark included.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Longest payload.
pub const MAX_PAYLOAD_BYTES: usize = MAX_FRAME_BYTES - HEADER_BYTES - END_MARK_BYTES;

/// Names one session; drawn at random by the host for each connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 8]);

impl Nonce {
    /// A nonce of these bytes, which the caller drew at random.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes as they travel.
    pub const fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({:016x})", u64::from_be_bytes(self.0))
    }
}

/// Names one call or byte stream within a session. Only the host hands them out, each once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(u32);

impl StreamId {
    /// The session itself: carries [`Kind::Control`] and nothing else.
    pub const CONTROL: Self = Self(0);

    /// The id of that number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What a frame carries. The numbers are frozen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Either way, on stream 0: [`Hello`](crate::message::Hello).
    Control = 1,
    /// Host to guest: a [`Request`](crate::message::Request) under a new stream id.
    Call = 2,
    /// Guest to host: the one [`Reply`](crate::message::Reply) to the call of that id.
    Reply = 3,
    /// Host to guest: [`Open`](crate::message::Open)s a byte stream under a new stream id.
    Open = 4,
    /// Either way: bytes of an open stream, covered by credit.
    Data = 5,
    /// Either way: a `u32`, so many bytes more may be sent on this stream.
    Credit = 6,
    /// Either way: [`Close`](crate::message::Close), the sender sends nothing more on this stream.
    Close = 7,
}

impl Kind {
    /// Every kind of version 1.
    pub const ALL: [Self; 7] =
        [Self::Control, Self::Call, Self::Reply, Self::Open, Self::Data, Self::Credit, Self::Close];

    /// The kind of that number, `None` for one that only a later version knows.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A valid header, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the payload is; `None` is a kind of a later version, whose payload is to be skipped.
    pub kind: Option<Kind>,
    /// Which call or stream it belongs to.
    pub stream: StreamId,
    /// Length of the payload, at most [`MAX_PAYLOAD_BYTES`].
    pub payload_bytes: usize,
    /// What stands behind the payload, if there is one.
    pub end_mark: [u8; END_MARK_BYTES],
}

impl Header {
    /// Length of all that follows the header: payload and end mark.
    pub const fn following_bytes(&self) -> usize {
        if self.payload_bytes == 0 { 0 } else { self.payload_bytes + END_MARK_BYTES }
    }
}

/// Binds headers to one session: writes them, and recognises those written under the same nonce.
#[derive(Clone, Debug)]
pub struct Seal {
    /// CRC-32 of the nonce, with which each header's own begins: 12 bytes per frame remain to be hashed.
    seed: u32,
}

impl Seal {
    /// The seal of the session of that nonce.
    pub fn new(nonce: Nonce) -> Self {
        Self { seed: crc32fast::hash(&nonce.0) }
    }

    /// Header of a frame whose payload has `payload_bytes`, at most [`MAX_PAYLOAD_BYTES`].
    pub fn write(&self, kind: Kind, stream: StreamId, payload_bytes: usize) -> [u8; HEADER_BYTES] {
        debug_assert!(payload_bytes <= MAX_PAYLOAD_BYTES, "the caller splits payloads");
        let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4] = kind as u8;
        header[8..12].copy_from_slice(&stream.0.to_le_bytes());
        let check = self.check(&header);
        header[12..].copy_from_slice(&check.to_le_bytes());
        header
    }

    /// Appends a whole frame to `out`; `write_payload` appends exactly `payload_bytes`, at most [`MAX_PAYLOAD_BYTES`].
    pub fn append_frame(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        stream: StreamId,
        payload_bytes: usize,
        write_payload: impl FnOnce(&mut Vec<u8>),
    ) {
        let header = self.write(kind, stream, payload_bytes);
        out.reserve(HEADER_BYTES + payload_bytes + END_MARK_BYTES);
        out.extend_from_slice(&header);
        if payload_bytes > 0 {
            write_payload(out);
            out.extend_from_slice(&end_mark(&header));
        }
    }

    /// The header in those bytes, unless they are not one of this session.
    pub fn read(&self, bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let payload_bytes = usize::try_from(word(0)).ok()?;
        let plain = bytes[5..8] == [0; 3];
        if payload_bytes > MAX_PAYLOAD_BYTES || !plain || word(12) != self.check(bytes) {
            return None;
        }
        let (kind, stream) = (Kind::from_number(bytes[4]), StreamId(word(8)));
        Some(Header { kind, stream, payload_bytes, end_mark: end_mark(bytes) })
    }

    fn check(&self, header: &[u8; HEADER_BYTES]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed);
        hasher.update(&header[..12]);
        hasher.finalize()
    }
}

/// The mark behind the payload of that header.
fn end_mark(header: &[u8; HEADER_BYTES]) -> [u8; END_MARK_BYTES] {
    [!header[12], !header[13], !header[14], !header[15]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = Nonce::new(*b"\x01\x02\x03\x04\x05\x06\x07\x08");

    #[test]
    fn headers_come_back_as_written() {
        let seal = Seal::new(NONCE);
        for kind in Kind::ALL {
            for payload_bytes in [0, 1, MAX_PAYLOAD_BYTES] {
                let header = seal.write(kind, StreamId(77), payload_bytes);
                let end_mark = [12, 13, 14, 15].map(|at: usize| !header[at]);
                let expected = Header { kind: Some(kind), stream: StreamId(77), payload_bytes, end_mark };
                assert_eq!(seal.read(&header), Some(expected));
            }
        }
    }

    #[test]
    fn a_header_of_another_session_is_invalid() {
        let stale = Seal::new(Nonce::new([9; 8])).write(Kind::Data, StreamId(1), 10);
        assert_eq!(Seal::new(NONCE).read(&stale), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let seal = Seal::new(NONCE);
        let header = seal.write(Kind::Reply, StreamId(5), 300);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seal.read(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_correct_check_does_not_excuse_length_or_flags() {
        let seal = Seal::new(NONCE);
        let resealed = |change: fn(&mut [u8; HEADER_BYTES])| {
            let mut header = seal.write(Kind::Data, StreamId(5), 1);
            change(&mut header);
            let check = seal.check(&header);
            header[12..].copy_from_slice(&check.to_le_bytes());
            seal.read(&header)
        };
        assert_eq!(resealed(|h| h[..4].copy_from_slice(&0xffed_u32.to_le_bytes())), None);
        assert_eq!(resealed(|h| h[5] = 1), None);
        assert_eq!(resealed(|h| h[7] = 1), None);
        assert_eq!(resealed(|h| h[4] = 200).map(|header| header.kind), Some(None));
    }
}
