//! Long texts within a budget: the head and the tail, with a mark between them that says what was left out and how to get
//! it. Bytes that are no UTF-8 become replacement characters.

use std::{collections::VecDeque, ops::RangeInclusive};

/// Characters of a text when nothing is said.
pub(super) const DEFAULT_MAX_CHARS: usize = 16_000;
/// Characters of a text that can be asked for.
pub(super) const MAX_CHARS: RangeInclusive<usize> = 100..=200_000;

const LONGEST_CHAR_BYTES: usize = 4;

/// For serde.
pub(super) fn default_max_chars() -> usize {
    DEFAULT_MAX_CHARS
}

/// A text that fits its budget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Excerpt {
    pub(super) text: String,
    pub(super) truncated: bool,
}

/// Of a stream of any length, as much as an excerpt can show.
#[derive(Clone, Debug)]
pub(super) struct HeadAndTail {
    max_chars: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total_bytes: u64,
}

impl HeadAndTail {
    /// For an excerpt of so many characters.
    pub(super) fn new(max_chars: usize) -> Self {
        let max_chars = max_chars.clamp(*MAX_CHARS.start(), *MAX_CHARS.end());
        Self { max_chars, head: Vec::new(), tail: VecDeque::new(), total_bytes: 0 }
    }

    /// What comes next in the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        let room = head_chars(self.max_chars) * LONGEST_CHAR_BYTES - self.head.len();
        let (head, tail) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(head);
        self.tail.extend(tail);
        let most = tail_chars(self.max_chars) * LONGEST_CHAR_BYTES;
        let over = self.tail.len().saturating_sub(most);
        self.tail.drain(..over);
    }

    /// All bytes that came.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The excerpt; `rest` says how to get what was left out, from that byte on.
    pub(super) fn excerpt(&self, rest: impl Fn(u64) -> String) -> Excerpt {
        let (before, after) = self.tail.as_slices();
        let tail = [before, after].concat();
        let is_whole = (self.head.len() + tail.len()) as u64 == self.total_bytes;
        if is_whole {
            let whole = [self.head.as_slice(), &tail].concat();
            let text = String::from_utf8_lossy(&whole);
            if text.chars().count() <= self.max_chars {
                return Excerpt { text: text.into_owned(), truncated: false };
            }
            return self.cut(&whole, &whole, rest);
        }
        self.cut(&self.head, &tail, rest)
    }

    fn cut(&self, head: &[u8], tail: &[u8], rest: impl Fn(u64) -> String) -> Excerpt {
        let (head, head_bytes) = beginning(head, head_chars(self.max_chars));
        let (tail, tail_bytes) = end(tail, tail_chars(self.max_chars));
        let left_out = self.total_bytes.saturating_sub((head_bytes + tail_bytes) as u64);
        let text = format!("{head}\n[… {left_out} bytes left out; {} …]\n{tail}", rest(head_bytes as u64));
        Excerpt { text, truncated: true }
    }
}

/// A text that is there already.
pub(super) fn excerpt(text: &str, max_chars: usize, rest: impl Fn(u64) -> String) -> Excerpt {
    let mut kept = HeadAndTail::new(max_chars);
    kept.push(text.as_bytes());
    kept.excerpt(rest)
}

fn head_chars(max_chars: usize) -> usize {
    max_chars - tail_chars(max_chars)
}

fn tail_chars(max_chars: usize) -> usize {
    max_chars / 4
}

/// The first characters, and how many bytes they stand for.
fn beginning(bytes: &[u8], most_chars: usize) -> (String, usize) {
    let (mut text, mut taken, mut chars) = (String::new(), 0, 0);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars().take(most_chars - chars) {
            text.push(c);
            taken += c.len_utf8();
            chars += 1;
        }
        if chars == most_chars {
            break;
        }
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            taken += chunk.invalid().len();
            chars += 1;
        }
        if chars == most_chars {
            break;
        }
    }
    (text, taken)
}

/// The last characters, and how many bytes they stand for, an invalid byte counting one.
fn end(bytes: &[u8], most_chars: usize) -> (String, usize) {
    let text = String::from_utf8_lossy(bytes);
    let skipped = text.chars().count().saturating_sub(most_chars);
    let text: String = text.chars().skip(skipped).collect();
    let taken = text.chars().map(|c| if c == char::REPLACEMENT_CHARACTER { 1 } else { c.len_utf8() }).sum();
    (text, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(from: u64) -> String {
        format!("from {from}")
    }

    #[test]
    fn what_fits_is_whole() {
        let whole = excerpt(&"é".repeat(100), 100, rest);
        assert_eq!(whole, Excerpt { text: "é".repeat(100), truncated: false });
        assert_eq!(excerpt("", 100, rest).text, "");
    }

    #[test]
    fn what_does_not_fit_keeps_three_quarters_of_head_and_a_quarter_of_tail() {
        let long: String = ('a'..='z').cycle().take(1000).collect();
        let cut = excerpt(&long, 100, rest);
        assert!(cut.truncated);
        let (head, after) = cut.text.split_once("\n[… 900 bytes left out; from 75 …]\n").unwrap();
        assert_eq!((head, after), (&long[..75], &long[975..]));
    }

    #[test]
    fn a_stream_of_any_length_keeps_the_same() {
        let mut kept = HeadAndTail::new(100);
        for _ in 0..10_000 {
            kept.push("0123456789é".as_bytes());
        }
        assert_eq!(kept.total_bytes(), 120_000);
        let cut = kept.excerpt(rest);
        assert!(cut.text.starts_with("0123456789é0123"), "{}", cut.text);
        assert!(cut.text.ends_with("0123456789é"), "{}", cut.text);
        let left_out = 120_000 - (75 + 6) - (25 + 3);
        assert!(cut.text.contains(&format!("[… {left_out} bytes left out; from 81 …]")), "{}", cut.text);
    }

    #[test]
    fn invalid_bytes_are_replaced_and_counted() {
        let mut kept = HeadAndTail::new(100);
        kept.push(b"a\xff\xfeb");
        assert_eq!(kept.excerpt(rest).text, "a\u{fffd}\u{fffd}b");
        let mut kept = HeadAndTail::new(100);
        kept.push(&[0xff; 1000]);
        let cut = kept.excerpt(rest);
        assert!(cut.text.contains("[… 900 bytes left out; from 75 …]"), "{}", cut.text);
    }
}
