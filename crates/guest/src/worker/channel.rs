//! The worker's two pipes as what they carry: [`Input`] gives requests, and the data of the request at hand as a
//! stream of bytes; [`Output`] takes replies, and bytes written to it become pieces of data.
//!
//! Both keep one buffer for the life of the worker. A small request costs one `read` and one `write`, a large file
//! two `read`s and one `write` for each [`DATA_BYTES`].

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::ops::Range;

use prost::Message as _;
use prost::encoding::decode_varint;
use pyro_protocol::work::{DATA_BYTES, MAX_WORK_BYTES, WorkReply, WorkRequest, work_reply, work_request};

/// Bytes of a message's length.
const LENGTH_BYTES: usize = 4;
/// What one `read` asks for while no longer message is known to come.
const SMALL_READ_BYTES: usize = 64 << 10;
/// From so many bytes on the output does not wait for more.
const SEND_BYTES: usize = 64 << 10;
/// Tag and type of the field `Data`, the same in both directions.
const DATA_TAG: u8 = 1 << 3 | 2;
/// Before a piece of data: length of the message, tag, length of the data as three bytes.
const PIECE_HEADER_BYTES: usize = LENGTH_BYTES + 1 + 3;

/// A request as it came.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Something to do.
    Request(work_request::Body),
    /// A message of a newer host, or nonsense.
    Unknown,
}

/// What the host sends: requests, and between them the data of the request before.
pub(crate) struct Input<'a> {
    source: &'a mut dyn Read,
    /// Of which `filled` came and is not used up.
    buffer: Vec<u8>,
    filled: Range<usize>,
    /// Bytes at the beginning of `filled` that are data.
    piece_bytes: usize,
    state: InputState,
}

enum InputState {
    /// The data of the request at hand has come to its end, or there is no request.
    AtEnd,
    /// More may come.
    Open,
    /// The host gave it up and says why.
    Abandoned(String),
    /// Nothing comes any more.
    Broken,
}

enum Content {
    Data,
    Message(WorkRequest),
    Nonsense,
}

impl<'a> Input<'a> {
    pub(crate) fn new(source: &'a mut dyn Read) -> Self {
        let buffer = vec![0; SMALL_READ_BYTES];
        Self { source, buffer, filled: 0..0, piece_bytes: 0, state: InputState::AtEnd }
    }

    /// The next request; what is left of the data of the one before is thrown away. None: the host is gone.
    pub(crate) fn next_request(&mut self) -> io::Result<Option<Incoming>> {
        if matches!(self.state, InputState::Broken) {
            return Ok(None);
        }
        loop {
            self.consume_piece(self.piece_bytes);
            let incoming = match self.next_content()? {
                None => return Ok(None),
                Some(
                    Content::Data | Content::Message(WorkRequest { body: Some(work_request::Body::End(_)) }),
                ) => {
                    continue;
                }
                Some(Content::Message(WorkRequest { body: Some(body) })) => Incoming::Request(body),
                Some(Content::Message(WorkRequest { body: None }) | Content::Nonsense) => Incoming::Unknown,
            };
            self.state = InputState::Open;
            return Ok(Some(incoming));
        }
    }

    /// Takes what is left of the data, to the end. Comes before anything is made final.
    ///
    /// # Errors
    /// The host gave the data up, or is gone.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        while self.fill_piece()? {
            self.consume_piece(self.piece_bytes);
        }
        Ok(())
    }

    /// Why the host gave up the data of the request at hand, if it did.
    pub(crate) fn abandoned(&self) -> Option<&str> {
        match &self.state {
            InputState::Abandoned(why) => Some(why),
            InputState::AtEnd | InputState::Open | InputState::Broken => None,
        }
    }

    /// Whether the host is gone, or has sent something between a request's data that has no place there.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.state, InputState::Broken)
    }

    /// Whether there is data at hand; false at the end.
    fn fill_piece(&mut self) -> io::Result<bool> {
        while self.piece_bytes == 0 {
            match &self.state {
                InputState::AtEnd => return Ok(false),
                InputState::Abandoned(why) => return Err(io::Error::other(why.clone())),
                InputState::Broken => return Err(ErrorKind::UnexpectedEof.into()),
                InputState::Open => {}
            }
            self.state = match self.next_content() {
                Ok(Some(Content::Data)) => InputState::Open,
                Ok(Some(Content::Message(WorkRequest { body: Some(work_request::Body::End(end)) }))) => {
                    if end.abandoned.is_empty() {
                        InputState::AtEnd
                    } else {
                        InputState::Abandoned(end.abandoned)
                    }
                }
                Ok(Some(Content::Message(_) | Content::Nonsense) | None) | Err(_) => InputState::Broken,
            };
        }
        Ok(true)
    }

    fn consume_piece(&mut self, count: usize) {
        self.filled.start += count;
        self.piece_bytes -= count;
    }

    /// Takes one message; if it is data, that stays in the buffer and `piece_bytes` counts it.
    fn next_content(&mut self) -> io::Result<Option<Content>> {
        let Some(length) = self.message_length()? else { return Ok(None) };
        if !self.fill(LENGTH_BYTES + length)? {
            return Ok(None);
        }
        self.filled.start += LENGTH_BYTES;
        let message = &self.buffer[self.filled.start..self.filled.start + length];
        if let Some(data_bytes) = only_data(message) {
            self.filled.start += length - data_bytes;
            self.piece_bytes = data_bytes;
            return Ok(Some(Content::Data));
        }
        let decoded = WorkRequest::decode(message);
        self.filled.start += length;
        Ok(Some(match decoded {
            // Data in an unusual notation has lost its place in the buffer.
            Ok(WorkRequest { body: Some(work_request::Body::Data(_)) }) | Err(_) => Content::Nonsense,
            Ok(message) => Content::Message(message),
        }))
    }

    fn message_length(&mut self) -> io::Result<Option<usize>> {
        if !self.fill(LENGTH_BYTES)? {
            return Ok(None);
        }
        let Some(length) = self.buffer[self.filled.start..].first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        match usize::try_from(u32::from_le_bytes(*length)) {
            Ok(length) if length <= MAX_WORK_BYTES => Ok(Some(length)),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "a message is longer than any can be")),
        }
    }

    /// Reads until `wanted` bytes are at hand; false if they do not come.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
        if self.filled.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            if wanted > self.buffer.len() {
                self.buffer.resize(wanted.next_multiple_of(SMALL_READ_BYTES), 0);
            }
        }
        while self.filled.len() < wanted {
            // Of a long message no more than it has, so that the next begins at the beginning of the buffer.
            let until = if wanted > SMALL_READ_BYTES {
                self.filled.start + wanted
            } else {
                self.buffer.len().min(self.filled.start + SMALL_READ_BYTES)
            };
            match self.source.read(&mut self.buffer[self.filled.end..until]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.filled.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// How many bytes at the end of a message are data, if it is nothing but data.
fn only_data(message: &[u8]) -> Option<usize> {
    let (&DATA_TAG, mut rest) = message.split_first()? else { return None };
    let length = decode_varint(&mut rest).ok()?;
    (usize::try_from(length) == Ok(rest.len())).then_some(rest.len())
}

impl Read for Input<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if target.is_empty() || !self.fill_piece()? {
            return Ok(0);
        }
        let count = self.piece_bytes.min(target.len());
        target[..count].copy_from_slice(&self.buffer[self.filled.start..self.filled.start + count]);
        self.consume_piece(count);
        Ok(count)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill_piece()?;
        Ok(&self.buffer[self.filled.start..self.filled.start + self.piece_bytes])
    }

    fn consume(&mut self, count: usize) {
        self.consume_piece(count.min(self.piece_bytes));
    }
}

/// What the host gets: replies, and as [`Write`] the data of the reply. Waits until there is something worth a
/// system call; [`Write::flush`] sends all.
pub(crate) struct Output<'a> {
    sink: &'a mut dyn Write,
    /// Of which the first `used` bytes are to be sent.
    buffer: Vec<u8>,
    used: usize,
    /// Where the piece of data begins that may still grow.
    open_piece: Option<usize>,
    is_broken: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(sink: &'a mut dyn Write) -> Self {
        Self { sink, buffer: Vec::new(), used: 0, open_piece: None, is_broken: false }
    }

    /// Adds a reply.
    ///
    /// # Errors
    /// The host is gone, or the reply is longer than any can be.
    pub(crate) fn send(&mut self, body: work_reply::Body) -> io::Result<()> {
        self.close_piece();
        let reply = WorkReply { body: Some(body) };
        let length = reply.encoded_len();
        let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= MAX_WORK_BYTES) else {
            return Err(io::Error::new(ErrorKind::InvalidData, "a reply is longer than any can be"));
        };
        self.make_room(LENGTH_BYTES + length)?;
        let (header, mut rest) = self.buffer[self.used..].split_at_mut(LENGTH_BYTES);
        header.copy_from_slice(&prefix.to_le_bytes());
        reply.encode(&mut rest).map_err(io::Error::other)?;
        self.used += LENGTH_BYTES + length;
        if self.used >= SEND_BYTES { self.send_all() } else { Ok(()) }
    }

    /// Adds a piece of data of at most `max_bytes` (and at most [`DATA_BYTES`]) that `fill` reads right to where it is
    /// sent from; says how long it is.
    ///
    /// # Errors
    /// Those of `fill`; the host is gone.
    pub(crate) fn data_from(
        &mut self,
        max_bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.close_piece();
        let max_bytes = max_bytes.min(DATA_BYTES);
        self.make_room(PIECE_HEADER_BYTES + max_bytes)?;
        let start = self.used + PIECE_HEADER_BYTES;
        let count = fill(&mut self.buffer[start..start + max_bytes])?.min(max_bytes);
        if count > 0 {
            self.open_piece = Some(self.used);
            self.used = start + count;
            self.close_piece();
        }
        Ok(count)
    }

    /// Whether the host is gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Room for `count` bytes behind what waits, by sending that first if it is much.
    fn make_room(&mut self, count: usize) -> io::Result<()> {
        if self.used > 0 && self.used + count > DATA_BYTES + SEND_BYTES {
            self.send_all()?;
        }
        let wanted = self.used + count;
        if wanted > self.buffer.len() {
            self.buffer.resize(wanted.next_multiple_of(16 << 10), 0);
        }
        Ok(())
    }

    fn close_piece(&mut self) {
        let Some(start) = self.open_piece.take() else { return };
        let data_bytes = self.used - start - PIECE_HEADER_BYTES;
        let message_bytes = u32::try_from(self.used - start - LENGTH_BYTES).unwrap_or(u32::MAX).to_le_bytes();
        // Always three bytes, as any number below 2^21 can be written, so that the header's length is known beforehand.
        let low_bits = |shift: u32| u8::try_from(data_bytes >> shift & 0x7f).unwrap_or(0);
        let header = [DATA_TAG, low_bits(0) | 0x80, low_bits(7) | 0x80, low_bits(14)].into_iter();
        for (place, byte) in self.buffer[start..].iter_mut().zip(message_bytes.into_iter().chain(header)) {
            *place = byte;
        }
    }

    fn send_all(&mut self) -> io::Result<()> {
        self.close_piece();
        let sent = self.sink.write_all(&self.buffer[..self.used]).and_then(|()| self.sink.flush());
        self.used = 0;
        self.is_broken |= sent.is_err();
        sent
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece_bytes = self.open_piece.map_or(0, |start| self.used - start - PIECE_HEADER_BYTES);
        if piece_bytes >= DATA_BYTES {
            self.send_all()?;
        }
        let count =
            bytes.len().min(if piece_bytes >= DATA_BYTES { DATA_BYTES } else { DATA_BYTES - piece_bytes });
        if count == 0 {
            return Ok(0);
        }
        if self.open_piece.is_none() {
            self.make_room(PIECE_HEADER_BYTES + count)?;
            self.open_piece = Some(self.used);
            self.used += PIECE_HEADER_BYTES;
        } else {
            let wanted = self.used + count;
            if wanted > self.buffer.len() {
                self.buffer.resize(wanted.next_multiple_of(64 << 10), 0);
            }
        }
        self.buffer[self.used..self.used + count].copy_from_slice(&bytes[..count]);
        self.used += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.used == 0 { Ok(()) } else { self.send_all() }
    }
}
