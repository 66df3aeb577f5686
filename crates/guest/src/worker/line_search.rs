//! [`LineSearch`]: the lines of one file after the other that match, with those beside them.
//!
//! A file is looked at in a window that ends with a line and keeps the lines before that may be shown, so memory does not
//! grow with files. Up to [`WINDOW_BYTES`] a file is in the window as a whole.

use std::fs::File;
use std::io;

use memchr::{memchr, memchr_iter, memrchr};
use pyro_protocol::work::Match;

use super::line_pattern::LinePattern;
use super::read::read_at;

/// Most bytes of a file that are in memory, and the longest line.
const WINDOW_BYTES: usize = 8 << 20;
/// Bytes that the window begins with.
const FIRST_WINDOW_BYTES: usize = 64 << 10;
/// Most lines before and after.
pub(crate) const MAX_CONTEXT: u32 = 1_000;

/// How a search of a file ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Searched {
    /// All of it was searched.
    Whole,
    /// It is binary: it has a zero byte. Lines before may have been found.
    Binary,
    /// It has a line that does not fit into memory, before which the search ended.
    LongLine,
    /// Whoever takes the lines wants no more.
    Stopped,
}

/// A search; see the [module](self).
pub(crate) struct LineSearch<'a> {
    pattern: &'a LinePattern,
    context: usize,
    max_line_bytes: usize,
    window: Vec<u8>,
}

/// Where a search is in the window.
struct At {
    /// Bytes in the window.
    filled: usize,
    /// The line at this place is the first that was not searched.
    searched: usize,
    /// The first line that was not shown begins here.
    unshown: usize,
    /// The number of the line at `counted`.
    line: u64,
    counted: usize,
    /// How many of the next lines stand beside a match.
    context_left: usize,
}

impl<'a> LineSearch<'a> {
    /// `context`: lines shown before and after. A line of more than `max_line_bytes` is cut around what matches.
    pub(crate) fn new(pattern: &'a LinePattern, context: u32, max_line_bytes: usize) -> Self {
        let context = usize::try_from(context.min(MAX_CONTEXT)).unwrap_or(0);
        Self { pattern, context, max_line_bytes, window: vec![0; FIRST_WINDOW_BYTES] }
    }

    /// Gives each line to `take` until that says false. The path of a line is `path`.
    pub(crate) fn search(
        &mut self,
        file: &File,
        size_bytes: u64,
        path: &[u8],
        mut take: impl FnMut(Match) -> io::Result<bool>,
    ) -> io::Result<Searched> {
        let mut at = At { filled: 0, searched: 0, unshown: 0, line: 1, counted: 0, context_left: 0 };
        let mut offset = 0;
        loop {
            let is_last = !self.fill(file, size_bytes, &mut offset, &mut at)?;
            let unsearched = &self.window[at.searched..at.filled];
            if memchr(0, unsearched).is_some() {
                return Ok(Searched::Binary);
            }
            let complete = match memrchr(b'\n', unsearched) {
                _ if is_last => at.filled,
                Some(end) => at.searched + end + 1,
                None => at.searched,
            };
            if !self.search_window(complete, &mut at, path, &mut take)? {
                return Ok(Searched::Stopped);
            }
            if is_last {
                return Ok(Searched::Whole);
            }
            if !self.slide(complete, &mut at) {
                return Ok(Searched::LongLine);
            }
        }
    }

    /// Fills the window; false if the file's end is in it.
    fn fill(&mut self, file: &File, size_bytes: u64, offset: &mut u64, at: &mut At) -> io::Result<bool> {
        let left = usize::try_from(size_bytes.saturating_sub(*offset)).unwrap_or(usize::MAX);
        let wanted = at.filled.saturating_add(left).min(WINDOW_BYTES);
        if wanted > self.window.len() {
            self.window.resize(wanted.next_multiple_of(FIRST_WINDOW_BYTES), 0);
        }
        while at.filled < wanted {
            let count = read_at(file, &mut self.window[at.filled..wanted], *offset)?;
            if count == 0 {
                return Ok(false);
            }
            at.filled += count;
            *offset += count as u64;
        }
        Ok(*offset < size_bytes)
    }

    /// Searches the whole lines up to `complete`; false if no more are wanted.
    fn search_window(
        &self,
        complete: usize,
        at: &mut At,
        path: &[u8],
        take: &mut impl FnMut(Match) -> io::Result<bool>,
    ) -> io::Result<bool> {
        let text = &self.window[..complete];
        while at.searched < complete {
            let found = self.pattern.find_line(text, at.searched);
            // Behind the last line feed there is no line.
            let found = found.filter(|found| *found < complete || text.last() != Some(&b'\n'));
            let line_start = found.map_or(complete, |found| {
                at.searched + memrchr(b'\n', &text[at.searched..found]).map_or(0, |end| end + 1)
            });
            if !self.show_until(line_start, at, found.is_some(), text, path, take)? {
                return Ok(false);
            }
            let Some(found) = found else {
                at.searched = complete;
                break;
            };
            let line_end = memchr(b'\n', &text[found..]).map_or(complete, |end| found + end + 1);
            if !take(self.shown(at, text, line_start..line_end, path, false))? {
                return Ok(false);
            }
            at.context_left = self.context;
            (at.unshown, at.searched) = (line_end, line_end);
        }
        Ok(true)
    }

    /// Shows what stands beside matches in the lines up to `end`: those after the last, and if a match comes at `end`
    /// those before it.
    fn show_until(
        &self,
        end: usize,
        at: &mut At,
        comes_match: bool,
        text: &[u8],
        path: &[u8],
        take: &mut impl FnMut(Match) -> io::Result<bool>,
    ) -> io::Result<bool> {
        while at.context_left > 0 && at.unshown < end {
            let line_end = memchr(b'\n', &text[at.unshown..end]).map_or(end, |found| at.unshown + found + 1);
            if !take(self.shown(at, text, at.unshown..line_end, path, true))? {
                return Ok(false);
            }
            at.context_left -= 1;
            at.unshown = line_end;
        }
        if comes_match {
            let mut start = lines_before(text, at.unshown, end, self.context);
            while start < end {
                let line_end = memchr(b'\n', &text[start..end]).map_or(end, |found| start + found + 1);
                if !take(self.shown(at, text, start..line_end, path, true))? {
                    return Ok(false);
                }
                start = line_end;
            }
            at.unshown = end;
        }
        Ok(true)
    }

    fn shown(
        &self,
        at: &mut At,
        text: &[u8],
        line: std::ops::Range<usize>,
        path: &[u8],
        is_context: bool,
    ) -> Match {
        at.line += memchr_iter(b'\n', &text[at.counted..line.start]).count() as u64;
        at.counted = line.start;
        let content = &text[line];
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let text = self.cut(content, is_context).to_vec();
        Match { path: path.to_vec(), line: at.line, text, is_context }
    }

    /// A line, or what is around the match in it, cut between characters.
    fn cut<'t>(&self, line: &'t [u8], is_context: bool) -> &'t [u8] {
        if line.len() <= self.max_line_bytes {
            return line;
        }
        let found = if is_context { None } else { self.pattern.find(line) };
        let (start, end) = found.map_or((0, 0), |found| (found.start, found.end));
        let beside = self.max_line_bytes.saturating_sub(end - start) / 2;
        let start = start.saturating_sub(beside).min(line.len() - self.max_line_bytes);
        let end = start + self.max_line_bytes;
        let is_inside = |at: usize| line.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        // A character has at most three bytes behind its first; more are none of one.
        let start = (start..end).take(4).find(|at| !is_inside(*at)).unwrap_or(start);
        let end = (start..=end).rev().take(4).find(|at| !is_inside(*at)).unwrap_or(end);
        &line[start..end]
    }

    /// Lets go of what is searched but for lines that may be shown; false if that makes no room.
    fn slide(&mut self, complete: usize, at: &mut At) -> bool {
        let keep = lines_before(&self.window, at.unshown, complete, self.context);
        // Where lines to be shown leave less than half of the window, they are not.
        let keep = if at.filled - keep > WINDOW_BYTES / 2 { complete } else { keep };
        if keep == 0 {
            return false;
        }
        if at.counted < keep {
            at.line += memchr_iter(b'\n', &self.window[at.counted..keep]).count() as u64;
            at.counted = keep;
        }
        self.window.copy_within(keep..at.filled, 0);
        at.filled -= keep;
        at.counted -= keep;
        at.searched = complete - keep;
        at.unshown = at.unshown.max(keep) - keep;
        true
    }
}

/// Where the last `count` lines begin before `end`, which is the beginning of a line, not before `start`.
fn lines_before(text: &[u8], start: usize, end: usize, count: usize) -> usize {
    let mut at = end;
    for _ in 0..count {
        if at <= start {
            return start.min(end);
        }
        at = memrchr(b'\n', &text[start..at - 1]).map_or(start, |before| start + before + 1);
    }
    at.max(start)
}
