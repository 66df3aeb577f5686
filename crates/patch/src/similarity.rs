//! How much of a file is found again in another, measured as git does.

use std::fmt;

use crate::is_binary;

/// A share in percent, rounded down: 100 for equal content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Similarity(u8);

impl Similarity {
    /// Equal content.
    pub const EQUAL: Self = Self(100);
    /// What two files must have in common to be taken for one that moved.
    pub const OF_RENAMES: Self = Self(50);

    /// Share of `content` in the larger of the two.
    pub fn between(old: &[u8], new: &[u8]) -> Self {
        if old == new { Self::EQUAL } else { Fingerprint::of(old).score(&Fingerprint::of(new)).similarity() }
    }

    /// As a number of percent.
    pub const fn percent(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A similarity in finer steps: of 60000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Score(u64);

impl Score {
    const MAX: u64 = 60_000;
    /// The least that makes a rename.
    pub(crate) const OF_RENAMES: Self = Self(Self::MAX / 2);

    pub(crate) fn similarity(self) -> Similarity {
        Similarity(u8::try_from(self.0 * 100 / Self::MAX).unwrap_or(100).min(100))
    }

    /// Whether sizes alone leave a rename possible.
    pub(crate) fn possible(old_bytes: u64, new_bytes: u64) -> bool {
        let (less, more) = (old_bytes.min(new_bytes), old_bytes.max(new_bytes));
        // Twice the difference at most the larger, as half of it must be the same.
        (more - less) <= more / 2 && less > 0
    }
}

/// How many bytes of a file are in pieces of each kind. A piece is a line, or 64 bytes of a longer one.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint {
    size_bytes: u64,
    /// Hash of a piece and the bytes in all pieces that have it, in order of hashes.
    pieces: Vec<(u32, u32)>,
}

impl Fingerprint {
    const LONGEST_PIECE_BYTES: u32 = 64;
    const HASHES: u32 = 107_927;

    pub(crate) fn of(content: &[u8]) -> Self {
        let is_text = !is_binary(content);
        let mut pieces = Vec::new();
        let (mut high, mut low, mut length) = (0_u32, 0_u32, 0_u32);
        for (at, byte) in content.iter().enumerate() {
            if is_text && *byte == b'\r' && content.get(at + 1) == Some(&b'\n') {
                continue;
            }
            let before = high;
            high = (high << 7) ^ (low >> 25);
            low = (low << 7) ^ (before >> 25);
            high = high.wrapping_add(u32::from(*byte));
            length += 1;
            if length == Self::LONGEST_PIECE_BYTES || *byte == b'\n' {
                pieces.push((Self::hash(high, low), length));
                (high, low, length) = (0, 0, 0);
                // So that many short lines do not take more room than there are hashes.
                if pieces.len() >= 4 * Self::HASHES as usize {
                    Self::unite(&mut pieces);
                }
            }
        }
        if length > 0 {
            pieces.push((Self::hash(high, low), length));
        }
        Self::unite(&mut pieces);
        pieces.shrink_to_fit();
        Self { size_bytes: content.len() as u64, pieces }
    }

    fn unite(pieces: &mut Vec<(u32, u32)>) {
        pieces.sort_unstable();
        pieces.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 = kept.1.saturating_add(if same { next.1 } else { 0 });
            same
        });
    }

    fn hash(high: u32, low: u32) -> u32 {
        high.wrapping_add(low.wrapping_mul(0x61)) % Self::HASHES
    }

    /// How much of one is in the other.
    pub(crate) fn score(&self, other: &Self) -> Score {
        let larger = self.size_bytes.max(other.size_bytes);
        let (mut old, mut new) = (self.pieces.iter().peekable(), other.pieces.iter().peekable());
        let mut copied = 0;
        while let (Some((old_hash, old_bytes)), Some((new_hash, new_bytes))) = (old.peek(), new.peek()) {
            if old_hash <= new_hash {
                old.next();
            }
            if new_hash <= old_hash {
                new.next();
            }
            if old_hash == new_hash {
                copied += u64::from(*old_bytes.min(new_bytes));
            }
        }
        Score((copied * Score::MAX).checked_div(larger).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_larger_file() {
        let lines = |range: std::ops::Range<u32>| range.map(|n| format!("line {n:04}\n")).collect::<String>();
        let similarity = |old: &str, new: &str| Similarity::between(old.as_bytes(), new.as_bytes()).percent();
        assert_eq!(similarity("", ""), 100);
        assert_eq!(similarity("a\n", ""), 0);
        assert_eq!(similarity(&lines(0..100), &lines(0..100)), 100);
        assert_eq!(similarity(&lines(0..100), &lines(0..80)), 80);
        assert_eq!(similarity(&lines(0..100), &lines(50..150)), 50);
        assert_eq!(similarity(&lines(0..100), &lines(100..200)), 0);
        assert_eq!(similarity("a\nb\n", "a\r\nb\r\n"), 66, "carriage returns count for size only");
    }
}
