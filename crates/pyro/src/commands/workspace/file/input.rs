//! Content that a caller gives: a file of this host, or standard input.

use std::{fs::File, io::Read, path::Path};

use pyro_api::{ErrorBody, ErrorCode};

use crate::commands::workspace::host_path;

/// All of a file, but one byte more than `most_bytes` at most: whoever takes it refuses that.
pub(in crate::commands::workspace) fn of_file(path: &Path, most_bytes: usize) -> Result<Vec<u8>, ErrorBody> {
    let file = File::open(path).map_err(|error| host_path::unreadable(path, &error))?;
    beginning(file, most_bytes).map_err(|error| host_path::unreadable(path, &error))
}

/// All of standard input, with the same bound.
pub(in crate::commands::workspace) fn of_stdin(most_bytes: usize) -> Result<Vec<u8>, ErrorBody> {
    beginning(std::io::stdin().lock(), most_bytes).map_err(|error| {
        ErrorBody::new(ErrorCode::FileFailed, format!("cannot read standard input: {error}"))
    })
}

/// All of a source, with the same bound.
pub(super) fn beginning(source: impl Read, most_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    source.take(most_bytes as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_can_be_taken() {
        assert_eq!(beginning(std::io::repeat(b'x'), 10).unwrap().len(), 11);
        assert_eq!(beginning(&b"abc"[..], 10).unwrap(), b"abc");
        assert_eq!(of_file(Path::new("/"), 10).unwrap_err().code, ErrorCode::FileFailed);
    }
}
