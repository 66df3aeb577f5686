//! Parts of an output, so that nobody has to read all of a large one.
//!
//! Lines are counted in what is kept: where bytes were dropped, a line ends, and the next one is the next number. A line of
//! more than [`LINE_BYTES`] is searched and shown by its beginning.

use std::{ops::ControlFlow, sync::Arc};

use regex::bytes::{Regex, RegexBuilder};

use super::spool::{Piece, Spool};
use crate::{error::Error, task};

/// So much of a line is looked at.
const LINE_BYTES: usize = 64 << 10;
/// Bytes read at once.
const READ_BYTES: u64 = 256 << 10;
/// Size of a compiled pattern, bytes.
const PATTERN_BYTES: usize = 1 << 20;

/// Which part of an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Excerption {
    /// From that byte on.
    From(u64),
    /// As much of the end as may be given.
    End,
    /// So many lines from that one on; the first line is 1.
    Lines {
        /// The first line.
        first: u64,
        /// How many; none: all.
        count: Option<u64>,
    },
    /// The last lines.
    LastLines(u64),
    /// Lines in which a regular expression is found.
    Matching {
        /// The expression.
        pattern: String,
        /// Whether case does not matter.
        ignore_case: bool,
        /// The first line that is searched; 1 is the first there is.
        first: u64,
        /// Which of those that are found.
        share: Share,
    },
}

/// Which of the lines that match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// All.
    All,
    /// So many from the beginning.
    First(u64),
    /// So many at the end.
    Last(u64),
}

/// A part of an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt {
    /// In order; bytes between two passages of bytes or of lines that follow each other were dropped.
    pub passages: Vec<Passage>,
    /// Bytes that the command has written so far.
    pub total_bytes: u64,
    /// Bytes of them that are kept.
    pub kept_bytes: u64,
    /// Whether nothing comes any more.
    pub ended: bool,
    /// Where the rest begins, if there is one: a byte or a line, as was asked for.
    pub next: Option<u64>,
}

/// Bytes that follow each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passage {
    /// Where they stand among all bytes that the command wrote.
    pub offset: u64,
    /// The line that they begin, when lines were asked for.
    pub line: Option<u64>,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The line goes on, and is not shown to its end.
    pub cut: bool,
}

/// Takes an excerpt of at most `most_bytes`.
pub(super) async fn take(
    spool: Arc<Spool>,
    which: Excerption,
    most_bytes: u64,
    ended: bool,
) -> Result<Excerpt, Error> {
    let pattern = match &which {
        Excerption::Matching { pattern, ignore_case, .. } => Some(compile(pattern, *ignore_case)?),
        _ => None,
    };
    task::blocking(move || {
        let (total_bytes, kept_bytes) = (spool.next(), spool.record().kept_bytes);
        let mut collected = Collected { passages: Vec::new(), left: most_bytes, next: None };
        let read = match which {
            Excerption::From(offset) => collected.bytes(&spool, offset, total_bytes),
            Excerption::End => collected.bytes(&spool, total_bytes.saturating_sub(most_bytes), total_bytes),
            Excerption::Lines { first, count } => {
                let behind = count.map_or(u64::MAX, |count| first.saturating_add(count));
                collected.lines(&spool, total_bytes, &Selection { lines: first..behind, ..Selection::all() })
            }
            Excerption::LastLines(count) => {
                collected.last_lines(&spool, total_bytes, Selection::all(), count)
            }
            Excerption::Matching { first, share, .. } => {
                let pattern = pattern.as_ref();
                let selection = Selection { lines: first..u64::MAX, pattern, ..Selection::all() };
                match share {
                    Share::All => collected.lines(&spool, total_bytes, &selection),
                    Share::First(most) => {
                        collected.lines(&spool, total_bytes, &Selection { most, ..selection })
                    }
                    Share::Last(count) => collected.last_lines(&spool, total_bytes, selection, count),
                }
            }
        };
        read.map_err(|source| Error::Store {
            operation: "read an output in",
            path: spool.path().to_owned(),
            source,
        })?;
        let Collected { passages, next, .. } = collected;
        Ok(Excerpt { passages, total_bytes, kept_bytes, ended, next })
    })
    .await
}

fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, Error> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| Error::Invalid { field: "pattern", reason: error.to_string() })
}

/// Which lines are wanted.
struct Selection<'a> {
    /// Of these numbers.
    lines: std::ops::Range<u64>,
    /// In which this is found.
    pattern: Option<&'a Regex>,
    /// Without so many of them at the beginning.
    without: u64,
    /// At most so many of the rest.
    most: u64,
}

impl Selection<'_> {
    fn all() -> Self {
        Self { lines: 1..u64::MAX, pattern: None, without: 0, most: u64::MAX }
    }

    fn has(&self, line: &Line<'_>) -> bool {
        self.lines.contains(&line.number) && self.pattern.is_none_or(|pattern| pattern.is_match(line.text()))
    }
}

/// What an excerpt has so far.
struct Collected {
    passages: Vec<Passage>,
    /// Bytes that it may still take.
    left: u64,
    next: Option<u64>,
}

impl Collected {
    fn bytes(&mut self, spool: &Spool, from: u64, total: u64) -> std::io::Result<()> {
        let mut offset = from;
        while offset < total {
            if self.left == 0 {
                self.next = Some(offset);
                return Ok(());
            }
            match spool.read(offset, self.left.min(total - offset))? {
                Piece::Kept(bytes) => {
                    self.left -= bytes.len() as u64;
                    self.add(offset, None, &bytes);
                    offset += bytes.len() as u64;
                }
                Piece::Dropped { until } => offset = until,
            }
        }
        Ok(())
    }

    /// The last so many lines of a selection; without holding any on the way, so that their number does not matter.
    fn last_lines(
        &mut self,
        spool: &Spool,
        total: u64,
        of: Selection<'_>,
        count: u64,
    ) -> std::io::Result<()> {
        let mut found: u64 = 0;
        each_line(spool, total, |line| {
            found += u64::from(of.has(&line));
            ControlFlow::Continue(())
        })?;
        self.lines(spool, total, &Selection { without: found.saturating_sub(count), ..of })
    }

    fn lines(&mut self, spool: &Spool, total: u64, wanted: &Selection<'_>) -> std::io::Result<()> {
        let mut found: u64 = 0;
        each_line(spool, total, |line| {
            if line.number >= wanted.lines.end {
                self.next = (wanted.lines.end != u64::MAX).then_some(line.number);
                return ControlFlow::Break(());
            }
            if !wanted.has(&line) {
                return ControlFlow::Continue(());
            }
            found += 1;
            if found <= wanted.without {
                return ControlFlow::Continue(());
            }
            if found - wanted.without > wanted.most {
                self.next = Some(line.number);
                return ControlFlow::Break(());
            }
            let fits = line.bytes.len() as u64 <= self.left;
            // A line that alone is too long is given in part: otherwise nobody would ever get past it.
            if !fits && !self.passages.is_empty() {
                self.next = Some(line.number);
                return ControlFlow::Break(());
            }
            let shown = line.bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= shown as u64;
            let apart = wanted.pattern.is_some();
            self.add_line(&line, shown, apart);
            ControlFlow::Continue(())
        })
    }

    fn add(&mut self, offset: u64, line: Option<u64>, bytes: &[u8]) {
        match self.passages.last_mut() {
            Some(last) if !last.cut && last.offset + last.bytes.len() as u64 == offset => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.passages.push(Passage { offset, line, bytes: bytes.to_vec(), cut: false }),
        }
    }

    fn add_line(&mut self, line: &Line<'_>, shown: usize, apart: bool) {
        let bytes = &line.bytes[..shown];
        if apart {
            let (offset, number) = (line.offset, Some(line.number));
            self.passages.push(Passage { offset, line: number, bytes: bytes.to_vec(), cut: false });
        } else {
            self.add(line.offset, Some(line.number), bytes);
        }
        if let Some(last) = self.passages.last_mut() {
            last.cut = line.cut || shown < line.bytes.len();
        }
    }
}

/// One line, its end included if it has one.
struct Line<'a> {
    number: u64,
    offset: u64,
    bytes: &'a [u8],
    /// It is longer than what is looked at.
    cut: bool,
}

impl Line<'_> {
    fn text(&self) -> &[u8] {
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes);
        text.strip_suffix(b"\r").unwrap_or(text)
    }
}

/// Shows each line that is kept, until told to stop.
fn each_line(
    spool: &Spool,
    total: u64,
    mut show: impl FnMut(Line<'_>) -> ControlFlow<()>,
) -> std::io::Result<()> {
    let (mut number, mut offset) = (1, 0);
    // The beginning of a line whose end has not been read.
    let mut begun: Vec<u8> = Vec::new();
    let (mut begun_at, mut cut) = (0, false);
    while offset < total {
        let piece = spool.read(offset, READ_BYTES.min(total - offset))?;
        let bytes = match piece {
            Piece::Kept(bytes) => bytes,
            Piece::Dropped { until } => {
                if !begun.is_empty() {
                    let line = Line { number, offset: begun_at, bytes: &begun, cut: true };
                    if show(line).is_break() {
                        return Ok(());
                    }
                    number += 1;
                    begun.clear();
                    cut = false;
                }
                offset = until;
                continue;
            }
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if begun.is_empty() {
                begun_at = offset;
            }
            offset += part.len() as u64;
            let room = LINE_BYTES - begun.len();
            cut |= part.len() > room;
            begun.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = Line { number, offset: begun_at, bytes: &begun, cut };
                if show(line).is_break() {
                    return Ok(());
                }
                number += 1;
                begun.clear();
                cut = false;
            }
        }
    }
    if !begun.is_empty() {
        let _over = show(Line { number, offset: begun_at, bytes: &begun, cut });
    }
    Ok(())
}
