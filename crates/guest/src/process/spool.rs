//! Output of one stream of a process, kept with byte offsets so that a host can read it, lose its connection,
//! and read on where it was.
//!
//! Offsets count all bytes ever written. The spool holds those from `first` to `next`. Of a spool that blocks, bytes
//! that the host has *taken* make room, and [`Spool::room`] bounds what may be read from the pipe; of one that drops,
//! the oldest do. A spool can also do the one or the other, depending on whether somebody reads. Bytes count as taken when the host's credit proves that its application has consumed them, so
//! a host that loses its connection finds everything it had not consumed.

use std::collections::VecDeque;

use pyro_protocol::message::{Overflow, SpoolRange};
use pyro_protocol::mux::WINDOW_BYTES;

/// Capacity when the host asks for none.
const DEFAULT_CAPACITY_BYTES: u64 = 1024 * 1024;
/// Bounds of what a host may ask for. Below two windows a spool that blocks could never tell a consumed byte.
const CAPACITY_BYTES: std::ops::RangeInclusive<u64> = 2 * WINDOW_BYTES as u64..=64 * 1024 * 1024;
/// How much a spool that blocks takes beyond its capacity once the process has ended: what a pipe can hold.
const FINAL_ALLOWANCE_BYTES: usize = 1024 * 1024;

/// Output of one stream; see the [module](self).
#[derive(Debug)]
pub struct Spool {
    bytes: VecDeque<u8>,
    first: u64,
    taken: u64,
    capacity_bytes: usize,
    overflow: Overflow,
    /// Some stream has read it.
    was_read: bool,
    ended: bool,
}

impl Spool {
    /// An empty spool. `capacity_bytes` 0 is the default of 1 MiB; others are brought between 512 KiB and 64 MiB.
    pub fn new(capacity_bytes: u64, overflow: Overflow) -> Self {
        let wanted = if capacity_bytes == 0 { DEFAULT_CAPACITY_BYTES } else { capacity_bytes };
        let within = wanted.clamp(*CAPACITY_BYTES.start(), *CAPACITY_BYTES.end());
        let capacity_bytes = usize::try_from(within).unwrap_or(usize::MAX);
        Self {
            bytes: VecDeque::new(),
            first: 0,
            taken: 0,
            capacity_bytes,
            overflow,
            was_read: false,
            ended: false,
        }
    }

    /// Nobody will read it: output that finds no room goes.
    pub fn abandon(&mut self) {
        self.overflow = Overflow::DropOldest;
    }

    /// A stream begins to read it.
    pub fn reader_came(&mut self) {
        self.was_read = true;
    }

    /// How many bytes [`Spool::push`] may be given now. `is_read` says whether a stream reads it.
    pub fn room(&self, is_read: impl FnOnce() -> bool) -> usize {
        let beside_untaken = self.capacity_bytes.saturating_sub(self.untaken());
        let drops = match self.overflow {
            Overflow::DropOldest => true,
            Overflow::Block => false,
            Overflow::BlockWhileRead => beside_untaken == 0 && self.was_read && !is_read(),
        };
        if drops { self.capacity_bytes } else { beside_untaken }
    }

    /// Appends output, at most [`Spool::room`] bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let excess =
            (self.bytes.len() + bytes.len()).saturating_sub(self.capacity_bytes).min(self.bytes.len());
        self.bytes.drain(..excess);
        self.first += excess as u64;
        self.bytes.extend(bytes);
    }

    /// Bytes from `offset` on: where the first one really stands (later when the spool dropped some) and those that lie
    /// in one piece. There are no more where the piece is empty.
    pub fn piece(&self, offset: u64) -> (u64, &[u8]) {
        let start = offset.max(self.first);
        let skip = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        let (front, back) = self.bytes.as_slices();
        let piece = match skip.checked_sub(front.len()) {
            None => front.get(skip..),
            Some(skip) => back.get(skip..),
        };
        (start, piece.unwrap_or_default())
    }

    /// The host has consumed everything before `offset`.
    pub fn take_until(&mut self, offset: u64) {
        self.taken = self.taken.max(offset.min(self.range().next));
    }

    /// What the spool holds.
    pub fn range(&self) -> SpoolRange {
        SpoolRange { first: self.first, next: self.first + self.bytes.len() as u64 }
    }

    /// No more output comes.
    pub fn end(&mut self) {
        self.ended = true;
        self.bytes.shrink_to_fit();
    }

    /// Whether more output may come.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Lets what is left in the pipe of an ended process in, though nobody makes room.
    pub fn admit_last_output(&mut self) {
        self.capacity_bytes = self.capacity_bytes.saturating_add(FINAL_ALLOWANCE_BYTES);
    }

    /// Bytes kept that the host has not consumed.
    fn untaken(&self) -> usize {
        let from = self.taken.max(self.first);
        usize::try_from(self.range().next.saturating_sub(from)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(spool: &Spool, offset: u64) -> (u64, Vec<u8>) {
        let (start, first) = spool.piece(offset);
        let mut bytes = first.to_vec();
        loop {
            let (_, piece) = spool.piece(start + bytes.len() as u64);
            if piece.is_empty() {
                return (start, bytes);
            }
            bytes.extend(piece);
        }
    }

    #[test]
    fn a_blocking_spool_gives_room_only_for_what_was_taken() {
        let mut spool = Spool::new(512 * 1024, Overflow::Block);
        spool.push(&vec![b'a'; 512 * 1024]);
        assert_eq!(spool.room(|| true), 0);
        spool.take_until(100);
        assert_eq!(spool.room(|| true), 100);
        spool.push(&[b'b'; 100]);
        assert_eq!(spool.range(), SpoolRange { first: 100, next: 512 * 1024 + 100 });
        assert_eq!(read_all(&spool, 512 * 1024), (512 * 1024, vec![b'b'; 100]));
    }

    #[test]
    fn taken_bytes_stay_readable_until_their_room_is_needed() {
        let mut spool = Spool::new(0, Overflow::Block);
        spool.push(b"hello");
        spool.take_until(5);
        assert_eq!(read_all(&spool, 1), (1, b"ello".to_vec()));
    }

    #[test]
    fn a_dropping_spool_keeps_the_newest_and_says_what_is_gone() {
        let mut spool = Spool::new(512 * 1024, Overflow::DropOldest);
        spool.push(&vec![b'a'; 512 * 1024]);
        spool.push(b"new");
        let (start, bytes) = read_all(&spool, 0);
        assert_eq!(start, 3);
        assert!(bytes.ends_with(b"anew"));
    }

    #[test]
    fn a_spool_that_waits_for_readers_drops_only_after_the_last_one_left() {
        const FULL: usize = 512 * 1024;
        let mut spool = Spool::new(FULL as u64, Overflow::BlockWhileRead);
        spool.push(&vec![b'a'; FULL]);
        assert_eq!(spool.room(|| false), 0, "the first reader is yet to come");
        spool.reader_came();
        assert_eq!(spool.room(|| true), 0);
        spool.take_until(10);
        assert_eq!(spool.room(|| false), 10, "nothing is dropped before it has to be");
        spool.push(&[b'b'; 10]);
        assert_eq!(spool.room(|| false), FULL);
        spool.push(b"new");
        assert_eq!(spool.range(), SpoolRange { first: 13, next: FULL as u64 + 13 });
        spool.reader_came();
        assert_eq!(spool.room(|| true), 0, "the next reader is waited for again");
    }

    #[test]
    fn reading_beyond_the_end_gives_nothing() {
        let mut spool = Spool::new(0, Overflow::Block);
        spool.push(b"abc");
        assert_eq!(read_all(&spool, 99), (99, vec![]));
    }

    #[test]
    fn the_last_output_finds_room_in_a_full_spool() {
        let mut spool = Spool::new(0, Overflow::Block);
        spool.push(&vec![0; 1024 * 1024]);
        assert_eq!(spool.room(|| true), 0);
        spool.admit_last_output();
        assert_eq!(spool.room(|| true), 1024 * 1024);
    }
}
