//! A session over one byte stream, without any I/O: bytes that were read go in by [`Mux::receive`], what they mean
//! comes out of [`Mux::next_event`], and what is to be written out of [`Mux::transmit`].
//!
//! # States
//!
//! *Seeking*: no session yet, or none any more; see [`crate::sync`]. The host writes nothing but its preamble, the
//! guest nothing at all. *Established*: frames flow. A host's session that breaks stays broken; a guest forgets it
//! ([`Event::Reset`]) and seeks the next.
//!
//! # Calls and streams
//!
//! The host gives each call and each byte stream a new id ([`Mux::allocate`]). A call ends with its one reply. A
//! byte stream, opened by [`Kind::Open`], has two directions, each with [`WINDOW_BYTES`] of credit at first, which the
//! receiver returns as it consumes ([`Mux::grant`]). [`Kind::Close`] ends the sender's direction, behind all the data
//! it queued; the stream is forgotten when both have sent theirs, so whoever receives a close on a stream that it does
//! not use any more answers with its own.
//!
//! # Promises
//!
//! - Everything but data goes ahead of data (a close, of course, not ahead of its own stream's data), and
//!   streams take turns frame by frame. A frame begun is finished.
//! - What a peer can make this side keep is bounded: one unfinished frame, its credit for each of [`MAX_STREAMS`]
//!   streams, and [`MAX_CALLS`] calls. Drain the events after each [`Mux::receive`]: they are bounded by what it was given.
//! - Ids begin at a number drawn from the nonce, so that an answer meant for an earlier session finds no call here.
//! - A frame that lost its end with its host is never delivered; the guest takes it for the end of the session.
//! - A frame of an unknown kind is skipped, on both sides: a later version may send kinds that an earlier one
//!   may ignore; what it may not ignore is gated by the negotiated version. A known kind that is out of place breaks
//!   the session.
//!
//! Hellos are not sent here: the layer above sends one as [`Kind::Control`] on [`StreamId::CONTROL`] when it sees
//! [`Event::Established`], since only it knows its release and features.

use std::collections::VecDeque;

use prost::Message;

use crate::{
    error::{ProtocolError, SendError},
    frame::{END_MARK_BYTES, HEADER_BYTES, Header, Kind, MAX_PAYLOAD_BYTES, Nonce, StreamId},
    message::Close,
    session::Session,
    stream::Stream,
    sync::{BURST_BYTES, Magic, OPENING_BYTES, PREAMBLE_BYTES, Seeker, fill},
};

/// Credit of each direction of a new stream, in bytes.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// Most bytes of one stream that wait to be transmitted.
pub const SEND_QUEUE_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;
/// Most bytes of calls, replies and opens that wait to be transmitted.
pub const CONTROL_QUEUE_BYTES: usize = 1024 * 1024;
/// Most byte streams open at once.
pub const MAX_STREAMS: usize = 256;
/// Most calls without a reply.
pub const MAX_CALLS: usize = 1024;

/// What received bytes meant.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A session begins. Now each side sends its hello.
    Established {
        /// Its nonce.
        nonce: Nonce,
    },
    /// Guest only: the session is over, the host is gone or began anew. Forget all calls and streams; processes live on.
    Reset,
    /// A message of kind control, call, reply or open; the body is not decoded yet. After an open the stream is there.
    Message {
        /// Its kind.
        kind: Kind,
        /// The call or stream.
        stream: StreamId,
        /// The encoded message, at most [`MAX_PAYLOAD_BYTES`].
        body: Vec<u8>,
    },
    /// Bytes of a stream, never none. [`Mux::grant`] as many when they are consumed.
    Data {
        /// The stream.
        stream: StreamId,
        /// At most [`MAX_PAYLOAD_BYTES`].
        bytes: Vec<u8>,
    },
    /// The stream takes bytes again, after [`Mux::sendable`] had come down to 0. Comes after credit arrived, and
    /// after queued bytes were handed to [`Mux::transmit`].
    Credit {
        /// The stream.
        stream: StreamId,
    },
    /// The peer sends no more on this stream.
    Closed {
        /// The stream.
        stream: StreamId,
        /// Why.
        close: Close,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Host,
    Guest,
}

/// Where in the stream the next byte to arrive stands.
#[derive(Debug)]
enum Input {
    Seeking(Seeker),
    Header {
        held: [u8; HEADER_BYTES],
        held_bytes: usize,
    },
    /// Payload and end mark.
    Payload {
        kind: Kind,
        stream: StreamId,
        end_mark: [u8; END_MARK_BYTES],
        held_at_end: usize,
        held: Vec<u8>,
    },
    Skipping {
        left_bytes: usize,
    },
    Broken(ProtocolError),
}

impl Input {
    const NEXT_HEADER: Self = Self::Header { held: [0; HEADER_BYTES], held_bytes: 0 };
}

/// One end of a session; see the [module](self).
#[derive(Debug)]
pub struct Mux {
    role: Role,
    input: Input,
    session: Option<Session>,
    events: VecDeque<Event>,
    /// Whole frames, of which the first `written_bytes` are written.
    out: Vec<u8>,
    written_bytes: usize,
    /// Whether a frame has arrived in this session.
    heard: bool,
}

impl Mux {
    /// The host's end. Its opening is ready to be transmitted; messages may be queued and follow when the guest
    /// has acknowledged.
    pub fn host(nonce: Nonce) -> Self {
        let input = Input::Seeking(Seeker::for_acknowledgement(nonce));
        let mut mux = Self::new(Role::Host, input, Some(Session::new(nonce)));
        mux.out = Magic::Host.preamble(nonce).repeat(OPENING_BYTES / PREAMBLE_BYTES);
        mux
    }

    /// The guest's end. One serves all sessions, one after the other.
    pub fn guest() -> Self {
        Self::new(Role::Guest, Input::Seeking(Seeker::for_any_host()), None)
    }

    fn new(role: Role, input: Input, session: Option<Session>) -> Self {
        let (events, out) = (VecDeque::new(), Vec::new());
        Self { role, input, session, events, out, written_bytes: 0, heard: false }
    }

    /// Host: sends the burst, if all is written and the guest has not acknowledged: the opening was lost, since the
    /// guest was just reopening its port, or went into a half-received frame. Nothing happens otherwise.
    pub fn knock(&mut self) {
        let seeking = matches!(self.input, Input::Seeking(_));
        if let (Role::Host, true, true, Some(session)) =
            (self.role, seeking, self.transmit().is_empty(), &self.session)
        {
            self.out = Magic::Host.preamble(session.nonce).repeat(BURST_BYTES / PREAMBLE_BYTES);
            self.written_bytes = 0;
        }
    }

    /// Guest: the transport was closed and opened again. Whatever host is there now begins anew, even with a nonce
    /// that was seen before.
    pub fn disconnected(&mut self) {
        if self.role == Role::Guest {
            self.lose_session(Seeker::for_any_host());
        }
    }

    /// Takes bytes that were read.
    ///
    /// # Errors
    ///
    /// Host: the guest broke the protocol; the session is over and every further call says the same. A guest never
    /// errs: it drops the session and seeks the next one.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        while !bytes.is_empty() {
            if let Err(breach) = self.take(&mut bytes) {
                if self.role == Role::Host {
                    self.input = Input::Broken(breach);
                    self.session = None;
                    return Err(breach);
                }
                self.lose_session(Seeker::for_any_host());
            }
        }
        Ok(())
    }

    /// What happened, in order.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Host: a new id for a call or a stream.
    ///
    /// # Errors
    ///
    /// [`SendError::NoSession`], or [`SendError::TooMany`] when all ids are used up; a guest has none to give.
    pub fn allocate(&mut self) -> Result<StreamId, SendError> {
        let session = self.session.as_mut().ok_or(SendError::NoSession)?;
        if self.role == Role::Guest || session.next_id == u32::MAX {
            return Err(SendError::TooMany);
        }
        let id = StreamId::new(session.next_id);
        session.next_id += 1;
        Ok(id)
    }

    /// Queues a message: control, call, reply, open or close. A call or open makes its stream known, a reply ends its
    /// call, and a close goes out behind the data that is queued on its stream.
    ///
    /// # Errors
    ///
    /// Nothing was queued, see [`SendError`].
    pub fn send<M: Message>(&mut self, kind: Kind, stream: StreamId, body: &M) -> Result<(), SendError> {
        let session = self.session.as_mut().ok_or(SendError::NoSession)?;
        let bytes = body.encoded_len();
        if bytes > MAX_PAYLOAD_BYTES {
            return Err(SendError::TooLong { bytes });
        }
        // A close waits in its stream, of which there are few, and must not be lost: it ends the stream.
        let frame_bytes = HEADER_BYTES + bytes + END_MARK_BYTES;
        if kind != Kind::Close && session.control_bytes + frame_bytes > CONTROL_QUEUE_BYTES {
            return Err(SendError::QueueFull);
        }
        match (self.role, kind) {
            (_, Kind::Control) if stream == StreamId::CONTROL => {}
            (Role::Host, Kind::Call | Kind::Open) if stream != StreamId::CONTROL => {
                if !session.enter(kind, stream) {
                    return Err(SendError::TooMany);
                }
            }
            (Role::Guest, Kind::Reply) if session.calls.remove(&stream) => {}
            (Role::Guest, Kind::Reply) => return Err(SendError::UnknownStream),
            (_, Kind::Close) => {
                let open = session.streams.get_mut(&stream).filter(|open| open.is_sending());
                let open = open.ok_or(SendError::UnknownStream)?;
                if !open.has_outgoing() {
                    session.ready.push_back(stream);
                }
                open.close(body.encode_to_vec());
                return Ok(());
            }
            _ => return Err(SendError::Misplaced(kind)),
        }
        let mut frame = Vec::with_capacity(frame_bytes);
        let write = |out: &mut Vec<u8>| out.append(&mut body.encode_to_vec());
        session.seal.append_frame(&mut frame, kind, stream, bytes, write);
        session.control_bytes += frame.len();
        session.control.push_back(frame);
        Ok(())
    }

    /// How many bytes [`Mux::send_data`] would take now; 0 for a stream that is unknown or closed on this side.
    pub fn sendable(&self, stream: StreamId) -> usize {
        let session = self.session.as_ref();
        session.and_then(|session| session.streams.get(&stream)).map_or(0, Stream::sendable)
    }

    /// Queues the beginning of `bytes`, as much as credit and queue allow; how much that was.
    pub fn send_data(&mut self, stream: StreamId, bytes: &[u8]) -> usize {
        let Some(session) = self.session.as_mut() else { return 0 };
        let Some(open) = session.streams.get_mut(&stream) else { return 0 };
        let was_idle = !open.has_outgoing();
        let taken = open.push(bytes);
        if was_idle && taken > 0 {
            session.ready.push_back(stream);
        }
        taken
    }

    /// So many received bytes of the stream were consumed: the peer may send as many more. Told to the peer in
    /// portions, not for every call. Ignored for a stream that is gone, and for more than arrived.
    pub fn grant(&mut self, stream: StreamId, bytes: u32) {
        let Some(session) = self.session.as_mut() else { return };
        let Some(open) = session.streams.get_mut(&stream) else { return };
        if open.consume(bytes) && !session.owing.contains(&stream) {
            session.owing.push_back(stream);
        }
    }

    /// Bytes to write next, at most about [`MAX_FRAME_BYTES`](crate::frame::MAX_FRAME_BYTES); empty when there is nothing to write. They stay
    /// the same until [`Mux::transmitted`], [`Mux::receive`] or [`Mux::disconnected`]. May bring [`Event::Credit`].
    pub fn transmit(&mut self) -> &[u8] {
        if self.written_bytes == self.out.len() {
            self.out.clear();
            self.written_bytes = 0;
            self.refill();
        }
        &self.out[self.written_bytes..]
    }

    /// The first `bytes` of what [`Mux::transmit`] showed are written. To be called before the next
    /// [`Mux::receive`], which may replace what is to be written.
    pub fn transmitted(&mut self, bytes: usize) {
        self.written_bytes = (self.written_bytes + bytes).min(self.out.len());
    }

    fn refill(&mut self) {
        if matches!(self.input, Input::Seeking(_) | Input::Broken(_)) {
            return;
        }
        let Some(session) = self.session.as_mut() else { return };
        while let Some(roused) = session.next_frame(&mut self.out) {
            self.events.extend(roused.map(|stream| Event::Credit { stream }));
        }
    }

    /// Takes one step's worth of bytes off the front.
    fn take(&mut self, bytes: &mut &[u8]) -> Result<(), ProtocolError> {
        match &mut self.input {
            Input::Broken(breach) => return Err(*breach),
            Input::Seeking(seeker) => {
                if let Some(nonce) = seeker.seek(bytes) {
                    self.establish(nonce);
                }
            }
            Input::Header { held, held_bytes } => {
                if let (0, Role::Guest, false, Some(session)) =
                    (*held_bytes, self.role, self.heard, &self.session)
                {
                    pass_over(&Magic::Host.preamble(session.nonce), bytes);
                }
                if fill(held, held_bytes, bytes) {
                    let header = *held;
                    self.input = Input::NEXT_HEADER;
                    self.header(&header)?;
                }
            }
            Input::Payload { kind, stream, end_mark, held_at_end, held } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*held_at_end - held.len()));
                held.extend_from_slice(taken);
                *bytes = rest;
                if held.len() == *held_at_end {
                    let (kind, stream, end_mark, mut body) =
                        (*kind, *stream, *end_mark, std::mem::take(held));
                    self.input = Input::NEXT_HEADER;
                    if !body.ends_with(&end_mark) {
                        return Err(ProtocolError::Torn { kind, stream });
                    }
                    body.truncate(body.len() - END_MARK_BYTES);
                    self.frame(kind, stream, body)?;
                }
            }
            Input::Skipping { left_bytes } => {
                let skipped = bytes.len().min(*left_bytes);
                *bytes = &bytes[skipped..];
                *left_bytes -= skipped;
                if *left_bytes == 0 {
                    self.input = Input::NEXT_HEADER;
                }
            }
        }
        Ok(())
    }

    /// A preamble (guest) or its acknowledgement (host) was found.
    fn establish(&mut self, nonce: Nonce) {
        if self.role == Role::Guest {
            self.session = Some(Session::new(nonce));
            self.out = Magic::Guest.preamble(nonce).to_vec();
        } else {
            // What is left of the burst is of no use, but a preamble begun has to be finished.
            let torn = self.written_bytes % PREAMBLE_BYTES;
            let unfinished = if torn == 0 { 0 } else { PREAMBLE_BYTES - torn };
            self.out.truncate(self.written_bytes + unfinished);
            self.out.drain(..self.written_bytes);
        }
        self.written_bytes = 0;
        self.heard = false;
        self.input = Input::NEXT_HEADER;
        self.events.push_back(Event::Established { nonce });
    }

    fn lose_session(&mut self, seeker: Seeker) {
        if self.session.take().is_some() {
            self.events.clear();
            self.events.push_back(Event::Reset);
        }
        self.out.clear();
        self.written_bytes = 0;
        self.input = Input::Seeking(seeker);
    }

    fn header(&mut self, bytes: &[u8; HEADER_BYTES]) -> Result<(), ProtocolError> {
        let Some(session) = &self.session else { return Err(ProtocolError::InvalidHeader) };
        let Some(header) = session.seal.read(bytes) else {
            return self.preamble(session.nonce, *bytes);
        };
        self.heard = true;
        let Header { kind, stream, end_mark, .. } = header;
        match (kind, header.following_bytes()) {
            (Some(kind), 0) => return self.frame(kind, stream, Vec::new()),
            (Some(kind), held_at_end) => {
                let held = Vec::with_capacity(held_at_end);
                self.input = Input::Payload { kind, stream, end_mark, held_at_end, held };
            }
            (None, 0) => {}
            (None, left_bytes) => self.input = Input::Skipping { left_bytes },
        }
        Ok(())
    }

    /// Something that is not a header stands where one is due.
    fn preamble(&mut self, current: Nonce, bytes: [u8; HEADER_BYTES]) -> Result<(), ProtocolError> {
        match self.role {
            Role::Guest if Magic::Host.read(&bytes) == Some(current) => Ok(()),
            Role::Guest => {
                let mut seeker = Seeker::from_bytes(bytes);
                // They may be a whole preamble, and nothing may follow until it is acknowledged.
                let found = seeker.seek(&mut [].as_slice());
                self.lose_session(seeker);
                if let Some(nonce) = found {
                    self.establish(nonce);
                }
                Ok(())
            }
            // A guest whose port was reopened in the middle of the burst acknowledges twice; it lost nothing.
            Role::Host if Magic::Guest.read(&bytes) == Some(current) && !self.heard => Ok(()),
            Role::Host if Magic::Guest.read(&bytes).is_some() => Err(ProtocolError::GuestRestarted),
            Role::Host => Err(ProtocolError::InvalidHeader),
        }
    }

    fn frame(&mut self, kind: Kind, stream: StreamId, body: Vec<u8>) -> Result<(), ProtocolError> {
        let Some(session) = self.session.as_mut() else { return Ok(()) };
        let unknown = ProtocolError::UnknownStream { kind, stream };
        let malformed = ProtocolError::Malformed { kind, stream };
        if (kind == Kind::Control) != (stream == StreamId::CONTROL) {
            return Err(ProtocolError::Misplaced { kind, stream });
        }
        match (self.role, kind) {
            (_, Kind::Control) => {}
            (Role::Host, Kind::Reply) => {
                if !session.calls.remove(&stream) {
                    return Err(unknown);
                }
            }
            (Role::Guest, Kind::Call | Kind::Open) => {
                if !session.enter(kind, stream) {
                    return Err(ProtocolError::TooMany);
                }
            }
            (_, Kind::Data) => {
                let open = session.streams.get_mut(&stream).filter(|open| open.is_receiving());
                if !open.ok_or(unknown)?.arrive(body.len()) {
                    return Err(ProtocolError::CreditExceeded { stream });
                }
                if !body.is_empty() {
                    self.events.push_back(Event::Data { stream, bytes: body });
                }
                return Ok(());
            }
            (_, Kind::Credit) => {
                let bytes = body.as_slice().try_into().map(u32::from_le_bytes).map_err(|_| malformed)?;
                // Credit may cross with the close that made this side forget the stream.
                let Some(open) = session.streams.get_mut(&stream) else { return Ok(()) };
                let was_full = open.sendable() == 0;
                open.credit(bytes);
                if was_full && open.sendable() > 0 {
                    self.events.push_back(Event::Credit { stream });
                }
                return Ok(());
            }
            (_, Kind::Close) => {
                let open = session.streams.get_mut(&stream).filter(|open| open.is_receiving());
                open.ok_or(unknown)?.stop_receiving();
                session.forget_if_over(stream);
                let close = Close::decode(body.as_slice()).map_err(|_| malformed)?;
                self.events.push_back(Event::Closed { stream, close });
                return Ok(());
            }
            _ => return Err(ProtocolError::Misplaced { kind, stream }),
        }
        self.events.push_back(Event::Message { kind, stream, body });
        Ok(())
    }
}

/// Takes copies of the preamble off the front, without the ado of a header: a burst has four thousand.
fn pass_over(preamble: &[u8; PREAMBLE_BYTES], bytes: &mut &[u8]) {
    while let Some(rest) = bytes.strip_prefix(preamble) {
        *bytes = rest;
    }
}
