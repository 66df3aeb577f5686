//! [`LinePattern`]: a regular expression that matches within lines, whatever it is given to search in.
//!
//! Syntax and meaning are those of Rust's `regex` with `^` and `$` at the ends of lines (before a carriage return that
//! belongs to the end of line, too). No part of it matches a line feed: where a class has one it is taken out, and where
//! one is demanded the pattern is refused. So a match found anywhere in many lines is a match in one of them. Searching
//! takes time linear in the text; the size of the machine made from the pattern is bounded.

use pyro_protocol::work::WorkFailureCode;
use regex_automata::meta::Regex;
use regex_automata::{Input, Span};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look,
};

use super::error::{Result, WorkError};

/// Bound of the compiled pattern.
const MAX_COMPILED_BYTES: usize = 10 << 20;
/// Longest pattern.
const MAX_PATTERN_BYTES: usize = 64 << 10;
/// Deepest nesting of groups.
const MAX_NESTING: u32 = 100;

/// A compiled pattern; see the [module](self).
pub(crate) struct LinePattern(Regex);

impl LinePattern {
    /// Compiles a pattern; with `fixed` a plain text.
    pub(crate) fn new(pattern: &str, fixed: bool, ignore_case: bool) -> Result<Self> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(bad(format_args!("it has more than {} KiB", MAX_PATTERN_BYTES >> 10)));
        }
        let escaped;
        let pattern = if fixed {
            escaped = regex_syntax::escape(pattern);
            &escaped
        } else {
            pattern
        };
        let mut parser = ParserBuilder::new()
            .utf8(false)
            .multi_line(true)
            .crlf(true)
            .case_insensitive(ignore_case)
            .nest_limit(MAX_NESTING)
            .build();
        let parsed = parser.parse(pattern).map_err(|error| bad(one_line(&error.to_string())))?;
        let within_lines =
            within_lines(parsed).ok_or_else(|| bad("it demands a line feed, and lines have none"))?;
        let config = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(MAX_COMPILED_BYTES))
            .onepass_size_limit(Some(MAX_COMPILED_BYTES / 10));
        let built = Regex::builder().configure(config).build_from_hir(&within_lines);
        built.map(Self).map_err(|error| match error.size_limit() {
            Some(_) => bad(format_args!(
                "it is too large: compiled it has more than {} MiB",
                MAX_COMPILED_BYTES >> 20
            )),
            None => bad(one_line(&error.to_string())),
        })
    }

    /// A place within the first line from `start` on that matches; the earliest that is sure, not a match's beginning.
    pub(crate) fn find_line(&self, text: &[u8], start: usize) -> Option<usize> {
        let input = Input::new(text).range(start..).earliest(true);
        self.0.search_half(&input).map(|found| found.offset())
    }

    /// The first match in a line.
    pub(crate) fn find(&self, line: &[u8]) -> Option<Span> {
        self.0.find(line).map(|found| found.span())
    }
}

fn bad(cause: impl std::fmt::Display) -> WorkError {
    WorkError::new(WorkFailureCode::BadPattern, format!("understand the pattern: {cause}"))
}

/// The last line of a message that draws its pattern says what is wrong.
fn one_line(message: &str) -> String {
    let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(message);
    last.trim().trim_start_matches("error: ").to_owned()
}

/// The same without line feeds; none if one is demanded. Nested no deeper than [`MAX_NESTING`] and what the parser adds.
fn within_lines(pattern: Hir) -> Option<Hir> {
    Some(match pattern.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => return None,
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(mut class)) => {
            let was_empty = class.ranges().is_empty();
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            if class.ranges().is_empty() && !was_empty {
                return None;
            }
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            let was_empty = class.ranges().is_empty();
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            if class.ranges().is_empty() && !was_empty {
                return None;
            }
            Hir::class(Class::Bytes(class))
        }
        // Beginning and end of the text are those of a line.
        HirKind::Look(Look::Start | Look::StartLF) => Hir::look(Look::StartCRLF),
        HirKind::Look(Look::End | Look::EndLF) => Hir::look(Look::EndCRLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(mut repetition) => {
            *repetition.sub = within_lines(*repetition.sub)?;
            Hir::repetition(repetition)
        }
        HirKind::Capture(mut capture) => {
            *capture.sub = within_lines(*capture.sub)?;
            Hir::capture(capture)
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(within_lines).collect::<Option<_>>()?),
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.into_iter().map(within_lines).collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pattern: &str, text: &str) -> Vec<usize> {
        let pattern = LinePattern::new(pattern, false, false).unwrap();
        let (mut found, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let Some(offset) = pattern.find_line(text.as_bytes(), at) else { break };
            found.push(text[..offset].matches('\n').count() + 1);
            at = text[offset..].find('\n').map_or(text.len(), |end| offset + end + 1);
        }
        found
    }

    #[test]
    fn matches_do_not_cross_lines() {
        assert_eq!(lines(r"a\s*b", "a\nb\nab\na b"), [3, 4]);
        assert_eq!(lines(r"[^x]+", "x\ny\nx"), [2]);
        assert_eq!(lines(r"(?s)a.*b", "a\nb\na-b"), [3]);
        assert_eq!(lines(r"(?s-u)a.*b", "a\nb\na-b"), [3]);
    }

    #[test]
    fn ends_of_text_are_ends_of_lines() {
        assert_eq!(lines(r"^b$", "a\nb\r\nb\nbb"), [2, 3]);
        assert_eq!(lines(r"\Ab\z", "a\nb\nbb"), [2]);
        assert_eq!(lines(r"^$", "a\n\nb"), [2]);
    }

    #[test]
    fn what_cannot_match_a_line_is_refused() {
        for pattern in ["a\nb", r"a\nb", r"[\n]", "(", "a{1000}{1000}{1000}", r"\w{1000}{1000}"] {
            let refused = LinePattern::new(pattern, false, false).err().map(|error| error.code);
            assert_eq!(refused, Some(WorkFailureCode::BadPattern), "{pattern}");
        }
        let nested = "(".repeat(5000) + &")".repeat(5000);
        assert!(LinePattern::new(&nested, false, false).is_err());
        assert!(LinePattern::new(&"x".repeat(1 << 20), true, false).is_err());
    }

    #[test]
    fn a_plain_text_has_no_syntax() {
        let pattern = LinePattern::new("a.(b", true, true).unwrap();
        assert_eq!(pattern.find(b"xA.(B"), Some(Span { start: 1, end: 5 }));
        assert_eq!(pattern.find(b"xAx(B"), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over() {
        let pattern = LinePattern::new("é.b", false, true).unwrap();
        assert!(pattern.find(b"\xff\xc3\x89xb\xff").is_some());
    }
}
