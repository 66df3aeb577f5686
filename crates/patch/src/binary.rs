//! What counts as binary.

use crate::lines;

/// How much of a file is looked at.
const LOOKED_AT_BYTES: usize = 8000;
/// Content longer than this is not compared line by line, as in git (`core.bigFileThreshold`).
const LARGEST_TEXT_BYTES: usize = 512 * 1024 * 1024;

/// Whether `Binary files differ` is all that is said: where git says so, for a NUL among the first 8000 bytes or for more
/// than 512 MiB of anything; and for more lines than are compared, since each costs memory however short it is.
pub fn is_binary(content: &[u8]) -> bool {
    content.len() > LARGEST_TEXT_BYTES
        || content.iter().take(LOOKED_AT_BYTES).any(|byte| *byte == 0)
        || lines::are_too_many(content)
}
