//! All that one session is: its calls, its streams, and what waits to be sent, in which order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    frame::{END_MARK_BYTES, HEADER_BYTES, Kind, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, Nonce, Seal, StreamId},
    mux::{MAX_CALLS, MAX_STREAMS},
    stream::{Outgoing, Stream},
};

/// All that is forgotten when a session ends.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) nonce: Nonce,
    pub(crate) seal: Seal,
    /// Host: the next id to hand out.
    pub(crate) next_id: u32,
    pub(crate) calls: BTreeSet<StreamId>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    /// Whole frames.
    pub(crate) control: VecDeque<Vec<u8>>,
    pub(crate) control_bytes: usize,
    /// Streams that owe credit worth a frame, each once.
    pub(crate) owing: VecDeque<StreamId>,
    /// Streams that have data or a close to send, each once, in turn.
    pub(crate) ready: VecDeque<StreamId>,
}

impl Session {
    pub(crate) fn new(nonce: Nonce) -> Self {
        let [a, b, c, d, ..] = nonce.bytes();
        Self {
            nonce,
            seal: Seal::new(nonce),
            next_id: u32::from_le_bytes([a, b, c, d]) >> 2 | 1,
            calls: BTreeSet::new(),
            streams: BTreeMap::new(),
            control: VecDeque::new(),
            control_bytes: 0,
            owing: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Makes the call or stream of that id known; whether there was room and the id was new.
    pub(crate) fn enter(&mut self, kind: Kind, id: StreamId) -> bool {
        let known = self.calls.contains(&id) || self.streams.contains_key(&id);
        match kind {
            _ if known => false,
            Kind::Call => self.calls.len() < MAX_CALLS && self.calls.insert(id),
            _ => {
                let room = self.streams.len() < MAX_STREAMS;
                room && self.streams.insert(id, Stream::new()).is_none()
            }
        }
    }

    pub(crate) fn forget_if_over(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(Stream::is_over) {
            self.streams.remove(&stream);
        }
    }

    /// Appends the next frame to `out`, if one may follow what is there already; the stream that can send again.
    pub(crate) fn next_frame(&mut self, out: &mut Vec<u8>) -> Option<Option<StreamId>> {
        let room = |frame_bytes: usize| out.is_empty() || out.len() + frame_bytes <= MAX_FRAME_BYTES;
        if let Some(frame) = self.control.front() {
            let fits = room(frame.len());
            let frame = fits.then(|| self.control.pop_front()).flatten()?;
            self.control_bytes -= frame.len();
            out.extend_from_slice(&frame);
            return Some(None);
        }
        if let Some(id) = self.owing.front().copied() {
            if !room(HEADER_BYTES + 4 + END_MARK_BYTES) {
                return None;
            }
            self.owing.pop_front();
            if let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.is_receiving()) {
                let credit = stream.take_owed_credit().to_le_bytes();
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&credit);
                self.seal.append_frame(out, Kind::Credit, id, credit.len(), write);
            }
            return Some(None);
        }
        let id = self.ready.front().copied()?;
        let Some(stream) = self.streams.get_mut(&id) else {
            self.ready.pop_front();
            return Some(None);
        };
        if !out.is_empty() && !stream.fits(MAX_PAYLOAD_BYTES.saturating_sub(out.len())) {
            return None;
        }
        self.ready.pop_front();
        let was_full = stream.sendable() == 0;
        match stream.outgoing(MAX_PAYLOAD_BYTES) {
            Some(Outgoing::Data(count)) => {
                self.seal.append_frame(out, Kind::Data, id, count, |out| stream.pop(count, out));
            }
            Some(Outgoing::Close(close)) => {
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&close);
                self.seal.append_frame(out, Kind::Close, id, close.len(), write);
            }
            None => {}
        }
        let roused = was_full && stream.sendable() > 0;
        if stream.has_outgoing() {
            self.ready.push_back(id);
        }
        self.forget_if_over(id);
        Some(roused.then_some(id))
    }
}
