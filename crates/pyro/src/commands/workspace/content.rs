//! A file's content, as it comes in an answer and goes to the terminal.

use pyro_api::{ErrorBody, workspace::command::Encoding};

use super::output::decoded;
use crate::output::{self, Failure};

/// The exact bytes, of which `content` may have only a likeness.
pub(super) fn exact(
    content: &str,
    encoding: Encoding,
    content_base64: Option<&str>,
) -> Result<Vec<u8>, ErrorBody> {
    match content_base64 {
        Some(exact) => decoded(exact, Encoding::Base64),
        None => decoded(content, encoding),
    }
}

/// Prints the bytes. With a summary, which goes to standard error, they end with a line's end.
pub(super) fn print(content: &[u8], summary: Option<String>) -> Result<(), Failure> {
    output::write(content)?;
    if let Some(summary) = summary {
        if !content.is_empty() && !content.ends_with(b"\n") {
            output::write(b"\n")?;
        }
        output::note(summary);
    }
    Ok(())
}
