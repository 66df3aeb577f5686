//! What of a file's content goes to a chat.

use pyro_api::workspace::command::Encoding;

use crate::mcp::excerpt::{MAX_CHARS, excerpt};

/// Content within a budget.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) content: String,
    /// Whether something of it was left out.
    pub(super) is_cut: bool,
    /// Why there is nothing to be seen of it.
    pub(super) hint: Option<String>,
}

impl Shown {
    /// Text keeps head and tail, with a mark between them that says `rest`. Bytes are given only where they are wanted, and from the
    /// beginning: a part of base64 with a mark in it is nothing that could be decoded.
    pub(super) fn of(
        content: &str,
        encoding: Encoding,
        max_chars: usize,
        wants_bytes: bool,
        rest: &str,
    ) -> Self {
        match (encoding, wants_bytes) {
            (Encoding::Base64, false) => Self {
                content: String::new(),
                is_cut: true,
                hint: Some("the file is no text; base64 gives its bytes".to_owned()),
            },
            (Encoding::Base64, true) => {
                let most = max_chars.clamp(*MAX_CHARS.start(), *MAX_CHARS.end()) / 4 * 4;
                Self {
                    content: content.chars().take(most).collect(),
                    is_cut: content.len() > most,
                    hint: None,
                }
            }
            (Encoding::Utf8, _) => {
                let cut = excerpt(content, max_chars, |_| rest.to_owned());
                Self { content: cut.text, is_cut: cut.truncated, hint: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_only_where_they_are_wanted() {
        let unwanted = Shown::of("AAAA", Encoding::Base64, 1000, false, "");
        assert!(unwanted.content.is_empty() && unwanted.is_cut && unwanted.hint.is_some());
        let most = *MAX_CHARS.start();
        let wanted = Shown::of(&"A".repeat(most + 8), Encoding::Base64, most, true, "");
        assert!(wanted.is_cut && wanted.content.len() == most / 4 * 4 && wanted.hint.is_none());
    }

    #[test]
    fn a_long_text_keeps_its_ends() {
        let most = *MAX_CHARS.start();
        let shown = Shown::of(&format!("a{}z", "-".repeat(2 * most)), Encoding::Utf8, most, false, "read on");
        assert!(shown.is_cut && shown.content.starts_with('a') && shown.content.ends_with('z'));
        assert!(shown.content.contains("read on"));
        let whole = Shown::of("short", Encoding::Utf8, most, false, "");
        assert!(!whole.is_cut && whole.content == "short");
    }
}
