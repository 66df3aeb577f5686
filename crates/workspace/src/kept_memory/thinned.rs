//! [`thin`]: a memory delta without what its parent says already.
//!
//! Deltas of a running machine are cumulative: each has every page that the machine ever changed since it was started. Kept one
//! after the other, each is thinned by the digests of all before it. Composed in their order over the base, the thinned ones
//! give what the last whole one would give over what its machine was started from.

use std::io::{self, Read, Write};

use pyro_engine::memory_delta::{
    MemoryDeltaError, MemoryDeltaReader, MemoryDeltaWriter, PAGE_BYTES, Piece, Written,
};

use super::page_digests::{Overlay, PageDigester, PageDigests};

/// Why a delta was not thinned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ThinError {
    /// It cannot be read, or is none of such a memory.
    #[error("read what was captured")]
    Delta(#[from] MemoryDeltaError),
    /// The thinned one cannot be written.
    #[error("write what is kept of the memory")]
    Write(#[from] io::Error),
}

/// Copies a delta of a memory of `memory_bytes` to `out`, without the pages that are as `parent` has them. What comes back are the
/// digests of parent and delta together, with what was written. A page that the delta does not have is as the parent has
/// it: that is so for a machine that was started from the parent, and does no harm to any other.
pub(crate) fn thin(
    delta: impl Read,
    memory_bytes: u64,
    digester: &PageDigester,
    parent: Option<&PageDigests>,
    out: impl Write,
) -> Result<(PageDigests, Written), ThinError> {
    let mut delta = MemoryDeltaReader::begin(delta, memory_bytes)?;
    let mut thinned = MemoryDeltaWriter::begin(out, memory_bytes)?;
    let mut overlay = Overlay::over(parent);
    while let Some(piece) = delta.next_piece()? {
        match piece {
            Piece::Data { first_page, bytes } => {
                let pages = (first_page..).zip(bytes.chunks_exact(PAGE_BYTES));
                let new: Vec<bool> =
                    pages.map(|(page, content)| overlay.add(page, digester.digest(content))).collect();
                let (mut page, mut rest) = (first_page, bytes);
                for stretch in new.chunk_by(|left, right| left == right) {
                    let (content, after) = rest.split_at(stretch.len() * PAGE_BYTES);
                    if stretch.first() == Some(&true) {
                        thinned.pages(page, content)?;
                    }
                    (page, rest) = (page + stretch.len() as u64, after);
                }
            }
            Piece::Zero { first_page, count } => {
                for page in first_page..first_page + count {
                    if overlay.add(page, digester.zero()) {
                        thinned.pages(page, &[0; PAGE_BYTES])?;
                    }
                }
            }
        }
    }
    let (_out, written) = thinned.end()?;
    Ok((overlay.end(), written))
}

#[cfg(test)]
mod tests;
