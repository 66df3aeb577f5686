//! What connects streams of a session with processes: a position in a spool for output, a claim on standard input.
//! Attachments die with their session; the processes do not notice.

use std::collections::BTreeMap;

use pyro_protocol::message::{Close, Failure, FailureCode, Open, StreamKind};
use pyro_protocol::mux::WINDOW_BYTES;
use pyro_protocol::{Kind, Mux, StreamId};

use crate::agent::is_output;
use crate::process::Process;
use crate::process::outlet::Outlet;
use crate::process::table::Table;
use crate::request::{failure, failure_of};

/// All attachments of a session, by stream.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    by_stream: BTreeMap<StreamId, Attachment>,
}

#[derive(Debug)]
struct Attachment {
    kind: StreamKind,
    process: String,
    /// Output: offset of the next byte to send.
    next: u64,
    /// Output: bytes sent on this stream.
    sent_bytes: u64,
    /// Output: bytes that the spool had dropped before they could be sent.
    skipped_bytes: u64,
}

impl Attachments {
    /// Attaches a stream to a process.
    ///
    /// # Errors
    /// A failure for the host when there is no such process, when it reads no stream, or when another stream of
    /// this session feeds it already.
    pub(crate) fn open(
        &mut self,
        stream: StreamId,
        kind: StreamKind,
        open: &Open,
        processes: &mut Table,
    ) -> Result<(), Failure> {
        let process = processes.find_mut(&open.process).map_err(|error| failure_of(&error))?;
        if kind == StreamKind::Stdin {
            let finished_or_stream = process.stdin.is_some() || process.exit().is_some();
            if !finished_or_stream {
                return Err(failure(FailureCode::Invalid, "feed a process that reads no stream"));
            }
            let mut others = self.by_stream.values();
            if others.any(|other| other.kind == kind && other.process == open.process) {
                return Err(failure(FailureCode::Invalid, "feed a process from two streams"));
            }
        } else {
            outlet_of(process, kind).spool.reader_came();
        }
        let attachment = Attachment {
            kind,
            process: open.process.clone(),
            next: open.offset,
            sent_bytes: 0,
            skipped_bytes: 0,
        };
        self.by_stream.insert(stream, attachment);
        Ok(())
    }

    /// Bytes came for a standard input.
    pub(crate) fn arrived(&mut self, stream: StreamId, bytes: &[u8], processes: &mut Table, mux: &mut Mux) {
        let inlet = self.by_stream.get(&stream).filter(|attachment| attachment.kind == StreamKind::Stdin);
        let inlet = inlet.and_then(|attachment| processes.find_mut(&attachment.process).ok());
        match inlet.and_then(|process| process.stdin.as_mut()) {
            Some(inlet) => inlet.push(bytes),
            // Nobody reads it any more: it is consumed by throwing it away.
            None => mux.grant(stream, u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        }
    }

    /// The host sends no more on a stream: the end of a standard input, or it detaches from output.
    pub(crate) fn closed(&mut self, stream: StreamId, processes: &mut Table, mux: &mut Mux) {
        let attachment = self.by_stream.remove(&stream);
        let attachment = attachment.filter(|attachment| attachment.kind == StreamKind::Stdin);
        let process = attachment.and_then(|attachment| processes.find_mut(&attachment.process).ok());
        if let Some(inlet) = process.and_then(|process| process.stdin.as_mut()) {
            inlet.end();
        }
        // Refused when this side closed first, as at the end of output.
        let _already = mux.send(Kind::Close, stream, &Close::default());
    }

    /// Whether nothing is left to be sent or taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_stream.is_empty()
    }

    /// Whether the host takes that output of that process.
    pub(crate) fn read(&self, id: &str, kind: StreamKind) -> bool {
        self.by_stream.values().any(|attachment| attachment.kind == kind && attachment.process == id)
    }

    /// A process was forgotten: its streams end.
    pub(crate) fn process_removed(&mut self, id: &str, mux: &mut Mux) {
        self.end(id, None, mux);
    }

    /// A process never began: its streams say why.
    pub(crate) fn process_failed(&mut self, id: &str, failure: &Failure, mux: &mut Mux) {
        self.end(id, Some(failure), mux);
    }

    fn end(&mut self, id: &str, failure: Option<&Failure>, mux: &mut Mux) {
        self.by_stream.retain(|stream, attachment| {
            let stays = attachment.process != id;
            if !stays {
                let close = Close { failure: failure.cloned(), skipped_bytes: attachment.skipped_bytes };
                let _already = mux.send(Kind::Close, *stream, &close);
            }
            stays
        });
    }

    /// Sends output as credit allows, credits consumed input, and closes what has ended. True if something moved.
    pub(crate) fn move_bytes(&mut self, processes: &mut Table, mux: &mut Mux) -> bool {
        let mut moved = false;
        self.by_stream.retain(|stream, attachment| {
            let Ok(process) = processes.find_mut(&attachment.process) else { return true };
            if !is_output(attachment.kind) {
                let Some(inlet) = &mut process.stdin else {
                    // It has finished; what still comes is thrown away.
                    let _gone = mux.send(Kind::Close, *stream, &Close::default());
                    moved = true;
                    return false;
                };
                let consumed = inlet.take_consumed();
                mux.grant(*stream, consumed);
                moved |= consumed > 0;
                return true;
            }
            let outlet = outlet_of(process, attachment.kind);
            moved |= attachment.send(*stream, outlet, mux);
            let at_end = outlet.spool.is_ended() && attachment.next >= outlet.spool.range().next;
            if at_end {
                let close = Close { failure: None, skipped_bytes: attachment.skipped_bytes };
                let _gone = mux.send(Kind::Close, *stream, &close);
                moved = true;
            }
            !at_end
        });
        moved
    }
}

impl Attachment {
    fn send(&mut self, stream: StreamId, outlet: &mut Outlet, mux: &mut Mux) -> bool {
        let mut moved = false;
        loop {
            let (start, piece) = outlet.spool.piece(self.next);
            let sent = if piece.is_empty() { 0 } else { mux.send_data(stream, piece) as u64 };
            if sent == 0 {
                return moved;
            }
            self.skipped_bytes += start - self.next;
            self.next = start + sent;
            self.sent_bytes += sent;
            // What the host has not consumed is at most a window, see `Spool`.
            let window = u64::from(WINDOW_BYTES).min(self.sent_bytes);
            outlet.spool.take_until(self.next - window);
            moved = true;
        }
    }
}

fn outlet_of(process: &mut Process, kind: StreamKind) -> &mut Outlet {
    if kind == StreamKind::Stderr { &mut process.stderr } else { &mut process.stdout }
}
