//! [`Step`]: a call that may have changed a workspace, as its timeline knows it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Longest text of a call, characters.
const CALL_CHARS: usize = 200;
/// Steps that are kept, each with the checkpoint before it. With all snapshots that a workspace may have they are fewer than the
/// layers that its disk may have.
pub(in super::super) const MOST_STEPS: usize = 24;

/// A call that may have changed a workspace, with a checkpoint before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Counts the steps of a workspace.
    pub number: u64,
    /// When it was called.
    pub at: SystemTime,
    /// What was called, one line for people.
    pub call: String,
}

impl Step {
    /// One that is called now.
    pub(in super::super) fn now(number: u64, call: &str) -> Self {
        Self { number, at: SystemTime::now(), call: one_line(call) }
    }
}

/// One printable line of at most so many characters.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CALL_CHARS) {
        Some(_) => line.chars().take(CALL_CHARS - 1).chain(['…']).collect(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_one_printable_line() {
        assert_eq!(Step::now(1, "exec sh -c 'a\n\tb'\u{1b}[31m").call, "exec sh -c 'a b' [31m");
        let long = Step::now(1, &"é".repeat(1000)).call;
        assert_eq!((long.chars().count(), long.chars().last()), (CALL_CHARS, Some('…')));
        assert_eq!(Step::now(1, &"é".repeat(CALL_CHARS)).call, "é".repeat(CALL_CHARS));
    }
}
