//! What people and programs see: the only module that writes to standard output and standard error.
//!
//! A reader that has gone (`pyro … | head`) is no fault: writing reports [`Failure::StdoutClosed`] and the
//! program ends quietly. Nothing here panics on a broken pipe, as the macros of the standard library do.

use std::io::Write as _;

use pyro_api::{ErrorBody, ErrorCode};
use serde::Serialize;

/// Exit status of a command that did what it was asked; 0, or the guest command's own.
pub(crate) type Status = u8;

/// Exit status when the reader of standard output has gone, as if SIGPIPE had ended the program.
pub(crate) const STDOUT_CLOSED_STATUS: Status = 128 + 13;

/// Why a command ends without having done what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It failed, and says so.
    #[error(transparent)]
    Told(ErrorBody),
    /// A signal asked this program to end; what it had begun is ended too. The exit status says which.
    #[error("interrupted by a signal")]
    Interrupted(Status),
    /// Nobody reads standard output any more.
    #[error("standard output is closed")]
    StdoutClosed,
}

impl<E: Into<ErrorBody>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Told(error.into())
    }
}

/// How failures are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Lines for people on standard error.
    Human,
    /// One JSON object on standard output.
    Json,
}

impl Style {
    pub(crate) fn from_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Human }
    }
}

/// Writes bytes to standard output.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| stdout_failure(&error))
}

/// Writes one line to standard output.
pub(crate) fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    write(format!("{}\n", text.as_ref()).as_bytes())
}

/// Writes one JSON value to standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(to_json(value)?)
}

/// Writes one line to standard error. A lost remark is no failure.
pub(crate) fn note(text: impl AsRef<str>) {
    let _written = std::io::stderr().lock().write_all(format!("{}\n", text.as_ref()).as_bytes());
}

/// What a failure to write to standard output means.
pub(crate) fn stdout_failure(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Failure::StdoutClosed;
    }
    Failure::Told(ErrorBody::new(ErrorCode::FileFailed, format!("cannot write to standard output: {error}")))
}

/// Tells a failure and gives the exit status for it.
pub(crate) fn tell(failure: &Failure, style: Style) -> Status {
    let (error, status) = match failure {
        Failure::Told(error) => (error, error.code.exit_status()),
        Failure::StdoutClosed => return STDOUT_CLOSED_STATUS,
        // Whoever sent the signal knows; only programs that read JSON are told.
        Failure::Interrupted(status) if style == Style::Human => return *status,
        Failure::Interrupted(status) => (&ErrorBody::new(ErrorCode::Cancelled, failure.to_string()), *status),
    };
    match style {
        Style::Json => {
            if json(error).is_err() {
                return STDOUT_CLOSED_STATUS;
            }
        }
        Style::Human => {
            note(format!("[error] {}", printable(&error.error)));
            if let Some(hint) = &error.hint {
                note(format!("hint: {}", printable(hint)));
            }
        }
    }
    status
}

/// Text that may hold parts of a guest's or a file's words, without control characters that a terminal obeys.
pub(crate) fn printable(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// JSON as the contract has it: keys sorted, indented by two, everything beyond ASCII escaped.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, ErrorBody> {
    let internal =
        |error: serde_json::Error| ErrorBody::new(ErrorCode::Internal, format!("cannot write JSON: {error}"));
    let mut value = serde_json::to_value(value).map_err(internal)?;
    value.sort_all_objects();
    let pretty = serde_json::to_string_pretty(&value).map_err(internal)?;
    if pretty.is_ascii() {
        return Ok(pretty);
    }
    let mut ascii = String::with_capacity(pretty.len() + pretty.len() / 4);
    for c in pretty.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_sorted_indented_and_ascii() {
        let value = serde_json::json!({"b": [], "a": "é😀", "c": {"z": 1, "y": null}});
        let expected = "{\n  \"a\": \"\\u00e9\\ud83d\\ude00\",\n  \"b\": [],\n  \"c\": {\n    \"y\": null,\n    \"z\": 1\n  }\n}";
        let json = to_json(&value).unwrap();
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }

    #[test]
    fn a_terminal_gets_no_commands_from_messages() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\nc");
    }

    #[test]
    fn failures_have_the_exit_status_of_their_code() {
        let usage = Failure::Told(ErrorBody::new(ErrorCode::Usage, "x"));
        assert_eq!(tell(&usage, Style::Human), 2);
        assert_eq!(tell(&Failure::StdoutClosed, Style::Human), 141);
    }
}
