//! The text behind `@@`: in what function, section or the like a hunk lies.

/// Most bytes of it.
const MAX_BYTES: usize = 80;

/// Finds the headings of a file's hunks, one after the other.
pub(crate) struct Headings<'f> {
    lines: &'f [&'f [u8]],
    /// Lines before this one were looked at.
    seen: usize,
    last: &'f [u8],
}

impl<'f> Headings<'f> {
    pub(crate) fn new(lines: &'f [&'f [u8]]) -> Self {
        Self { lines, seen: 0, last: b"" }
    }

    /// The heading of a hunk that starts at an index: the nearest line before it that begins with a letter, `_`
    /// or `$`, as git finds it for files of no known language.
    pub(crate) fn before(&mut self, start: usize) -> &'f [u8] {
        let found = self.lines[self.seen.min(start)..start].iter().rev().find_map(|line| heading(line));
        self.seen = start;
        self.last = found.unwrap_or(self.last);
        self.last
    }
}

fn heading<'f>(line: &&'f [u8]) -> Option<&'f [u8]> {
    let first = line.first()?;
    if !(first.is_ascii_alphabetic() || *first == b'_' || *first == b'$') {
        return None;
    }
    let mut text = &line[..line.len().min(MAX_BYTES)];
    while let [head @ .., b' ' | b'\t' | b'\n' | b'\r'] = text {
        text = head;
    }
    Some(text)
}
