//! Lines: they end at a line feed and nowhere else.

/// Cuts content into lines that keep their line feed; only the last one may lack it.
pub(crate) fn split(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n')
}

/// Most lines of a file that is compared or patched.
pub const MAX_LINES: usize = 4_000_000;

/// Whether content has more lines than [`MAX_LINES`].
pub(crate) fn are_too_many(content: &[u8]) -> bool {
    content.len() > MAX_LINES && content.iter().filter(|byte| **byte == b'\n').count() > MAX_LINES
}

/// A line without its line feed, and whether it had one.
pub(crate) fn text(line: &[u8]) -> (&[u8], bool) {
    match line.strip_suffix(b"\n") {
        Some(text) => (text, true),
        None => (line, false),
    }
}

/// A line's text without the carriage return at its end.
pub(crate) fn without_cr(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Whether each line feed, of which there is at least one, has a carriage return before it.
pub(crate) fn all_crlf(lines: &[&[u8]]) -> bool {
    let mut ended = lines.iter().filter(|line| line.ends_with(b"\n")).peekable();
    ended.peek().is_some() && ended.all(|line| line.ends_with(b"\r\n"))
}

/// A short form for messages: the first 80 characters, controls escaped.
pub(crate) fn excerpt(text: &[u8]) -> String {
    const SHOWN_CHARS: usize = 80;
    // Four bytes a character at most: what lies behind need not be decoded.
    let head = &text[..text.len().min(4 * SHOWN_CHARS + 4)];
    let mut shown = String::new();
    for (count, c) in String::from_utf8_lossy(head).chars().enumerate() {
        if count == SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if c.is_control() && c != '\t' { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}
