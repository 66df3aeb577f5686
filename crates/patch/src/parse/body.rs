//! A hunk: its header and its lines.
//!
//! Where a hunk ends is decided by the counts in its header if the lines bear them out and what follows is no
//! further line of it. A removed line `-- text` is then never taken for the header of a file. Otherwise the counts
//! are wrong, and the hunk goes on until something that can only follow a hunk.

use super::{Reader, label, label::Label};
use crate::{
    Hunk, Line, LineKind, ParseFault,
    lines::{excerpt, without_cr},
};

/// How to read the lines of one file.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// Each line has a carriage return from the transport.
    pub(super) strip_cr: bool,
    /// The file has a `diff --git` line, so the next one should too.
    pub(super) after_git: bool,
    /// What a line without any sign stands for.
    pub(super) blank: LineKind,
}

type Fault = (usize, ParseFault);

/// Reads the hunk whose header is here.
pub(super) fn hunk<'a>(reader: &mut Reader<'a>, form: Form) -> Result<Hunk<'a>, Fault> {
    let header_at = reader.at;
    let header = reader.header_line().unwrap_or_default();
    if header.starts_with(b"@@@") {
        return Err((header_at, ParseFault::Combined));
    }
    let stated = Ranges::read(header)
        .ok_or_else(|| (header_at, ParseFault::HunkHeader { header: excerpt(header) }))?;
    let body = Body { reader, form, start: header_at + 1 };
    let (end, recounted) = match body.end_by_counts(stated) {
        Some(end) => (end, false),
        None => (body.end_by_structure()?, true),
    };
    let lines = body.lines(end)?;
    let mut hunk = Hunk {
        old_start: stated.old_start,
        new_start: stated.new_start,
        lines,
        recounted,
        line: header_at + 1,
    };
    if hunk.lines.is_empty() {
        return Err((header_at, ParseFault::EmptyHunk));
    }
    // A range without lines starts at the line before, one with lines at its first.
    hunk.old_start = restarted(stated.old_start, stated.old_count, hunk.old_count());
    hunk.new_start = restarted(stated.new_start, stated.new_count, hunk.new_count());
    reader.at = end;
    Ok(hunk)
}

fn restarted(start: usize, stated_count: usize, count: usize) -> usize {
    match (stated_count, count) {
        (0, 1..) => start.saturating_add(1),
        (1.., 0) => start.saturating_sub(1),
        _ => start,
    }
}

/// `-LINE,COUNT +LINE,COUNT`
#[derive(Clone, Copy)]
struct Ranges {
    old_start: usize,
    old_count: usize,
    new_start: usize,
    new_count: usize,
}

impl Ranges {
    fn read(header: &[u8]) -> Option<Self> {
        let text = header.strip_prefix(b"@@")?.trim_ascii_start().strip_prefix(b"-")?;
        let (old_start, old_count, text) = range(text)?;
        let text = text.trim_ascii_start().strip_prefix(b"+")?;
        let (new_start, new_count, text) = range(text)?;
        text.trim_ascii_start().starts_with(b"@@").then_some(Self {
            old_start,
            old_count,
            new_start,
            new_count,
        })
    }
}

fn range(text: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (start, text) = number(text)?;
    match text.strip_prefix(b",") {
        Some(text) => number(text).map(|(count, text)| (start, count, text)),
        None => Some((start, 1, text)),
    }
}

fn number(text: &[u8]) -> Option<(usize, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse::<u32>().ok()?;
    Some((usize::try_from(number).ok()?, &text[digits..]))
}

/// What a line within a hunk is by its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Of(LineKind),
    /// Nothing at all: the sign was lost.
    Blank,
    /// `\ No newline at end of file`
    Marker,
    Other,
}

/// The lines behind a header.
struct Body<'r, 'a> {
    reader: &'r Reader<'a>,
    form: Form,
    start: usize,
}

impl<'a> Body<'_, 'a> {
    fn line(&self, at: usize) -> Option<&'a [u8]> {
        let raw = self.reader.raw(at)?;
        Some(if self.form.strip_cr { without_cr(raw) } else { raw })
    }

    fn sign(&self, at: usize) -> Option<Sign> {
        Some(match self.line(at)? {
            [] | b"\r" => Sign::Blank,
            [b' ', ..] => Sign::Of(LineKind::Context),
            [b'-', ..] => Sign::Of(LineKind::Removed),
            [b'+', ..] => Sign::Of(LineKind::Added),
            [b'\\', ..] => Sign::Marker,
            _ => Sign::Other,
        })
    }

    /// The end, if the lines are as many as the header states and what follows is no more of them.
    fn end_by_counts(&self, stated: Ranges) -> Option<usize> {
        let (mut old, mut new) = (stated.old_count, stated.new_count);
        let mut at = self.start;
        while old > 0 || new > 0 {
            let kind = match self.sign(at)? {
                Sign::Of(kind) => Some(kind),
                Sign::Blank => Some(self.form.blank),
                Sign::Marker => None,
                Sign::Other => return None,
            };
            if matches!(kind, Some(LineKind::Context | LineKind::Removed)) {
                old = old.checked_sub(1)?;
            }
            if matches!(kind, Some(LineKind::Context | LineKind::Added)) {
                new = new.checked_sub(1)?;
            }
            at += 1;
        }
        while self.sign(at) == Some(Sign::Marker) {
            at += 1;
        }
        (self.ends_before(at) && !self.swallows_file(at)).then_some(at)
    }

    /// Whether what stands at an index goes with no hunk before it. Blank lines and text with a space before it may
    /// be anything; an edit behind them is an edit.
    fn ends_before(&self, mut at: usize) -> bool {
        loop {
            match self.sign(at) {
                Some(Sign::Blank | Sign::Of(LineKind::Context)) => at += 1,
                Some(Sign::Of(LineKind::Added)) => return false,
                Some(Sign::Of(LineKind::Removed)) => return self.is_end(at),
                Some(Sign::Marker | Sign::Other) | None => return true,
            }
        }
    }

    /// A line that begins with `-` and still ends a hunk: the header of the next file, or a mail's signature.
    fn is_end(&self, at: usize) -> bool {
        self.reader.file_at(at) || self.is_signature(at)
    }

    /// `-- `, by which `git format-patch` ends a mail, and a version below it.
    fn is_signature(&self, at: usize) -> bool {
        matches!(self.line(at), Some(b"-- " | b"--"))
            && matches!(self.sign(at + 1), None | Some(Sign::Blank | Sign::Other))
            && !self.reader.starts_hunk(at + 1)
    }

    /// Counts that are too large by one removed and one added line take in the next file's labels, if that has no
    /// `diff --git` line. Labels that agree, with a hunk behind them, are labels.
    fn swallows_file(&self, end: usize) -> bool {
        let Some(at) = end.checked_sub(2).filter(|at| *at > self.start && !self.form.after_git) else {
            return false;
        };
        let Some((old, new)) = self.reader.labels_at(at).filter(|_| self.reader.starts_hunk(end)) else {
            return false;
        };
        match (Label::read(old), Label::read(new)) {
            (Ok((Label::Name(old), _)), Ok((Label::Name(new), _))) => {
                label::common(&old, &new, false).is_some()
            }
            (Ok(_), Ok(_)) => true,
            _ => false,
        }
    }

    /// The end, by what lines look like. Blank lines at the end are left out: they may be of what follows, and a
    /// hunk applies without them.
    fn end_by_structure(&self) -> Result<usize, Fault> {
        let mut end = self.start;
        let mut at = self.start;
        loop {
            match self.sign(at) {
                Some(Sign::Blank) => {}
                Some(Sign::Of(LineKind::Removed)) if self.is_end(at) => return Ok(end),
                Some(Sign::Of(_) | Sign::Marker) => end = at + 1,
                Some(Sign::Other) => {
                    self.refuse_edits_behind(at)?;
                    return Ok(end);
                }
                None => return Ok(end),
            }
            at += 1;
        }
    }

    /// A line without a sign may be the end of the patch, or a slip in the middle of a hunk. If edits follow it before
    /// anything that starts anew, it is the latter.
    fn refuse_edits_behind(&self, garbage: usize) -> Result<(), Fault> {
        let begins =
            |line: &[u8]| line.starts_with(b"diff ") || line.starts_with(b"@@") || line.starts_with(b"```");
        for at in garbage.. {
            match (self.line(at), self.sign(at)) {
                (Some(line), _) if begins(line) => return Ok(()),
                (_, Some(Sign::Of(LineKind::Removed))) if self.is_end(at) => return Ok(()),
                (_, Some(Sign::Of(LineKind::Removed | LineKind::Added))) => {
                    let text = self.line(garbage).map(excerpt).unwrap_or_default();
                    return Err((garbage, ParseFault::HunkLine { text }));
                }
                (None, _) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The lines up to `end`, each with its kind and whether the file ends without a newline there.
    fn lines(&self, end: usize) -> Result<Vec<Line<'a>>, Fault> {
        let mut lines: Vec<Line<'a>> = Vec::with_capacity(end - self.start);
        // Whether the old and the new side have ended without a newline.
        let (mut old_ended, mut new_ended) = (false, false);
        for at in self.start..end {
            let Some((line, sign)) = self.line(at).zip(self.sign(at)) else { break };
            let (kind, text) = match sign {
                Sign::Of(kind) => (kind, &line[1..]),
                Sign::Blank => (self.form.blank, line),
                Sign::Other => return Err((at, ParseFault::HunkLine { text: excerpt(line) })),
                Sign::Marker => {
                    let last = lines.last_mut().filter(|last| last.terminated);
                    let last = last.ok_or((at, ParseFault::Marker))?;
                    last.terminated = false;
                    old_ended |= last.kind != LineKind::Added;
                    new_ended |= last.kind != LineKind::Removed;
                    continue;
                }
            };
            let goes_on = (old_ended && kind != LineKind::Added) || (new_ended && kind != LineKind::Removed);
            if goes_on {
                return Err((at, ParseFault::Marker));
            }
            lines.push(Line { kind, text, terminated: true });
        }
        Ok(lines)
    }
}
