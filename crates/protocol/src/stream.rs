//! One end of a byte stream: what may be sent, what may arrive, and which directions are still open.

use std::collections::VecDeque;

use crate::{
    frame::MAX_PAYLOAD_BYTES,
    mux::{SEND_QUEUE_BYTES, WINDOW_BYTES},
};

/// Credit is returned in portions of this size, so that a consumer of single bytes does not cause a frame for each.
/// A peer that is out of credit is owed a whole window, so it always gets some.
const GRANT_BYTES: u32 = WINDOW_BYTES / 4;

/// This side's direction of a stream.
#[derive(Debug)]
enum Sending {
    Open,
    /// No more bytes are taken; the encoded close goes out behind those that are queued.
    Closing(Vec<u8>),
    Closed,
}

/// One end of a byte stream.
#[derive(Debug)]
pub(crate) struct Stream {
    sending: Sending,
    /// Bytes the peer will still take, less those in `queue`.
    send_credit: u32,
    queue: VecDeque<u8>,
    receiving: bool,
    /// Bytes the peer may still send.
    receive_credit: u32,
    /// Bytes consumed here of which the peer does not know yet.
    owed_credit: u32,
}

/// What [`Stream`] has to send next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Data(usize),
    Close(Vec<u8>),
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self {
            sending: Sending::Open,
            send_credit: WINDOW_BYTES,
            queue: VecDeque::new(),
            receiving: true,
            receive_credit: WINDOW_BYTES,
            owed_credit: 0,
        }
    }

    /// Whether neither side will send on it again.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.sending, Sending::Closed) && !self.receiving
    }

    pub(crate) fn is_sending(&self) -> bool {
        matches!(self.sending, Sending::Open)
    }

    pub(crate) fn sendable(&self) -> usize {
        if !self.is_sending() {
            return 0;
        }
        let credit = usize::try_from(self.send_credit).unwrap_or(usize::MAX);
        credit.min(SEND_QUEUE_BYTES.saturating_sub(self.queue.len()))
    }

    /// Queues as much of `bytes` as credit and queue allow.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = &bytes[..bytes.len().min(self.sendable())];
        self.queue.extend(taken);
        self.send_credit -= u32::try_from(taken.len()).unwrap_or(self.send_credit);
        taken.len()
    }

    /// Ends this side's direction with that encoded close.
    pub(crate) fn close(&mut self, close: Vec<u8>) {
        self.sending = Sending::Closing(close);
    }

    pub(crate) fn has_outgoing(&self) -> bool {
        !self.queue.is_empty() || matches!(self.sending, Sending::Closing(_))
    }

    /// Whether all that waits, up to one full frame, fits into a payload of `limit` bytes.
    pub(crate) fn fits(&self, limit: usize) -> bool {
        match &self.sending {
            Sending::Closing(close) if self.queue.is_empty() => close.len() <= limit,
            _ => self.queue.len().min(MAX_PAYLOAD_BYTES) <= limit,
        }
    }

    /// What goes out next, in a payload of at most `limit` bytes.
    pub(crate) fn outgoing(&mut self, limit: usize) -> Option<Outgoing> {
        if !self.queue.is_empty() {
            return Some(Outgoing::Data(self.queue.len().min(limit)));
        }
        match std::mem::replace(&mut self.sending, Sending::Closed) {
            Sending::Closing(close) => Some(Outgoing::Close(close)),
            other => {
                self.sending = other;
                None
            }
        }
    }

    /// Moves the first `count` queued bytes behind those in `out`.
    pub(crate) fn pop(&mut self, count: usize, out: &mut Vec<u8>) {
        let (front, back) = self.queue.as_slices();
        let from_front = count.min(front.len());
        out.extend_from_slice(&front[..from_front]);
        out.extend_from_slice(&back[..count - from_front]);
        self.queue.drain(..count);
    }

    /// The peer takes so many bytes more.
    pub(crate) fn credit(&mut self, bytes: u32) {
        self.send_credit = self.send_credit.saturating_add(bytes);
    }

    /// So many bytes arrived; whether the peer was allowed to send them.
    pub(crate) fn arrive(&mut self, bytes: usize) -> bool {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.receive_credit.checked_sub(bytes));
        self.receive_credit = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) fn is_receiving(&self) -> bool {
        self.receiving
    }

    pub(crate) fn stop_receiving(&mut self) {
        self.receiving = false;
    }

    /// So many received bytes were consumed; whether enough credit is owed now to be worth a frame.
    pub(crate) fn consume(&mut self, bytes: u32) -> bool {
        let unaccounted = WINDOW_BYTES - self.receive_credit - self.owed_credit;
        self.owed_credit += bytes.min(unaccounted);
        self.receiving && self.owed_credit >= GRANT_BYTES
    }

    /// The credit to return now.
    pub(crate) fn take_owed_credit(&mut self) -> u32 {
        let owed = std::mem::take(&mut self.owed_credit);
        self.receive_credit += owed;
        owed
    }
}
