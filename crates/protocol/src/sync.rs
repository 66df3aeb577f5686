//! Finding the start of a session in the middle of a byte stream.
//!
//! A machine's serial port outlives its hosts: a guest that is restored, or whose host died, may wait for the rest
//! of a frame that never comes, and a new host may find the rest of an old answer in the stream. So:
//!
//! 1. The host draws a [`Nonce`] and sends its *preamble* (magic, nonce) twice. Nearly every guest waits for a header
//!    or a session and needs no more. While it hears nothing the host knocks: it sends [`BURST_BYTES`] of preambles,
//!    more than a whole frame, so that they fill up whatever the guest had half received. Such a frame lacks its end
//!    mark and is dropped, see [`crate::frame`].
//! 2. The guest, wherever a header is due, takes either the magic or anything that is not a valid header as the sign
//!    that a new session begins, and so a payload without its end mark: it forgets the old one and *seeks* the next preamble, starting with the very bytes
//!    it could not make sense of. It answers with the acknowledgement (the other magic, the same nonce) before anything
//!    else; further copies of the preamble are passed over.
//! 3. The host throws away all it reads up to that acknowledgement.
//!
//! A preamble is as long as a header and, read as one, never valid: its length is far too large.

use crate::frame::{HEADER_BYTES, MAX_FRAME_BYTES, Nonce};

/// Length of a preamble and of its acknowledgement.
pub const PREAMBLE_BYTES: usize = HEADER_BYTES;
/// Length of what a host says first: one whole preamble is in it whatever a half-received header takes away.
pub const OPENING_BYTES: usize = 2 * PREAMBLE_BYTES;
/// Length of the host's burst: fills any half-received frame, and still holds one whole preamble whatever
/// the alignment.
pub const BURST_BYTES: usize = MAX_FRAME_BYTES + 2 * PREAMBLE_BYTES;

const MAGIC_BYTES: usize = 8;

/// The first half of a preamble: says who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Magic {
    /// The host opens a session.
    Host,
    /// The guest acknowledges it.
    Guest,
}

impl Magic {
    /// Its bytes; `\r\n` and `^Z` show up any terminal discipline that meddles with the stream. No byte occurs twice
    /// and as a little-endian length the first four are over a billion.
    pub const fn bytes(self) -> &'static [u8; MAGIC_BYTES] {
        match self {
            Self::Host => b"PYRO\x01\r\n\x1a",
            Self::Guest => b"pyro\x01\r\n\x1a",
        }
    }

    /// The preamble of that session.
    pub fn preamble(self, nonce: Nonce) -> [u8; PREAMBLE_BYTES] {
        let mut preamble = [0; PREAMBLE_BYTES];
        preamble[..MAGIC_BYTES].copy_from_slice(self.bytes());
        preamble[MAGIC_BYTES..].copy_from_slice(&nonce.bytes());
        preamble
    }

    /// The nonce, if those bytes are a preamble.
    pub fn read(self, bytes: &[u8; PREAMBLE_BYTES]) -> Option<Nonce> {
        let (magic, nonce) = bytes.split_first_chunk::<MAGIC_BYTES>()?;
        (magic == self.bytes()).then_some(Nonce::new(nonce.try_into().ok()?))
    }

    /// How far a search for the magic may advance, by the byte that stands where its last one is looked for.
    const fn strides(self) -> &'static [u8; 256] {
        const HOST: [u8; 256] = strides(Magic::Host.bytes());
        const GUEST: [u8; 256] = strides(Magic::Guest.bytes());
        match self {
            Self::Host => &HOST,
            Self::Guest => &GUEST,
        }
    }

    /// Where the magic begins. Looks at about one byte in eight: the guest searches under emulation.
    fn find(self, bytes: &[u8]) -> Option<usize> {
        let strides = self.strides();
        let mut last = MAGIC_BYTES - 1;
        while let Some(byte) = bytes.get(last) {
            let stride = usize::from(strides[usize::from(*byte)]);
            let start = last + 1 - MAGIC_BYTES;
            if stride == 0 {
                if bytes[start..=last] == *self.bytes() {
                    return Some(start);
                }
                last += 1;
            } else {
                last += stride;
            }
        }
        None
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 8")]
const fn strides(magic: &[u8; MAGIC_BYTES]) -> [u8; 256] {
    let mut strides = [MAGIC_BYTES as u8; 256];
    let mut at = 0;
    while at < MAGIC_BYTES {
        strides[magic[at] as usize] = (MAGIC_BYTES - 1 - at) as u8;
        at += 1;
    }
    strides
}

/// Searches a stream, however it is cut into pieces, for a preamble; remembers less than one preamble of it.
#[derive(Debug)]
pub struct Seeker {
    magic: Magic,
    expected: Option<Nonce>,
    /// Bytes that may be the beginning of a preamble.
    held: [u8; PREAMBLE_BYTES],
    held_bytes: usize,
}

impl Seeker {
    /// The guest's: takes the preamble of any session.
    pub fn for_any_host() -> Self {
        Self { magic: Magic::Host, expected: None, held: [0; PREAMBLE_BYTES], held_bytes: 0 }
    }

    /// The same, beginning with bytes that were read already and turned out not to be a header.
    pub fn from_bytes(bytes: [u8; PREAMBLE_BYTES]) -> Self {
        Self { held: bytes, held_bytes: PREAMBLE_BYTES, ..Self::for_any_host() }
    }

    /// The host's: takes the acknowledgement of this session alone.
    pub fn for_acknowledgement(nonce: Nonce) -> Self {
        Self { magic: Magic::Guest, expected: Some(nonce), ..Self::for_any_host() }
    }

    /// Takes bytes off the front of `input` up to and with the preamble; its nonce. `None` when `input` is used up.
    pub fn seek(&mut self, input: &mut &[u8]) -> Option<Nonce> {
        loop {
            if self.held_bytes == 0 {
                let start =
                    self.magic.find(input).unwrap_or_else(|| input.len().saturating_sub(MAGIC_BYTES - 1));
                *input = &input[start..];
            }
            if !fill(&mut self.held, &mut self.held_bytes, input) {
                return None;
            }
            match self.magic.read(&self.held) {
                Some(nonce) if self.expected.is_none_or(|expected| expected == nonce) => {
                    self.held_bytes = 0;
                    return Some(nonce);
                }
                _ => self.drop_front(),
            }
        }
    }

    /// Drops the first byte, and those after it up to where the magic could begin.
    fn drop_front(&mut self) {
        let magic = self.magic.bytes();
        let may_begin = |at: &usize| {
            let rest = &self.held[*at..];
            let compared = rest.len().min(MAGIC_BYTES);
            rest[..compared] == magic[..compared]
        };
        let start = (1..PREAMBLE_BYTES).find(may_begin).unwrap_or(PREAMBLE_BYTES);
        self.held.copy_within(start.., 0);
        self.held_bytes = PREAMBLE_BYTES - start;
    }
}

/// Moves bytes from the front of `input` behind the `filled` ones of `block`; whether it is full now.
pub(crate) fn fill<const N: usize>(block: &mut [u8; N], filled: &mut usize, input: &mut &[u8]) -> bool {
    let (taken, rest) = input.split_at(input.len().min(N - *filled));
    block[*filled..*filled + taken.len()].copy_from_slice(taken);
    *filled += taken.len();
    *input = rest;
    *filled == N
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{MAX_PAYLOAD_BYTES, Seal};

    const NONCE: Nonce = Nonce::new(*b"PYROabcd");

    #[test]
    fn a_preamble_is_never_a_header_even_under_its_own_seal() {
        for magic in [Magic::Host, Magic::Guest] {
            let length = magic.bytes().first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)).unwrap();
            assert!(usize::try_from(length).unwrap() > MAX_PAYLOAD_BYTES);
            assert_eq!(Seal::new(NONCE).read(&magic.preamble(NONCE)), None);
            let mut bytes = magic.bytes().to_vec();
            bytes.sort_unstable();
            bytes.dedup();
            assert_eq!(bytes.len(), MAGIC_BYTES, "strides need each byte to occur once");
        }
    }

    #[test]
    fn a_torn_acknowledgement_does_not_hide_the_whole_one_behind_it() {
        for torn in 0..PREAMBLE_BYTES {
            let whole = Magic::Guest.preamble(NONCE);
            let stream = [&whole[..torn], &whole, b"rest"].concat();
            let mut input = stream.as_slice();
            assert_eq!(Seeker::for_acknowledgement(NONCE).seek(&mut input), Some(NONCE), "torn after {torn}");
            assert_eq!(input, b"rest");
        }
    }

    proptest! {
        #[test]
        fn found_behind_any_junk_and_in_any_pieces(
            junk in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"PYRO\x01\r\n".as_slice())], 0..200),
            pieces in proptest::collection::vec(1..20_usize, 1..400),
        ) {
            let nonce = Nonce::new([0xee; 8]);
            prop_assume!(Magic::Host.find(&junk).is_none());
            let stream = [junk.as_slice(), &Magic::Host.preamble(nonce), b"rest"].concat();
            let mut seeker = Seeker::for_any_host();
            let (mut at, mut found) = (0, None);
            for piece in pieces.into_iter().cycle() {
                let end = (at + piece).min(stream.len());
                let mut input = &stream[at..end];
                found = seeker.seek(&mut input);
                at = end - input.len();
                if found.is_some() || at == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(found, Some(nonce));
            prop_assert_eq!(&stream[at..], b"rest");
        }
    }
}
