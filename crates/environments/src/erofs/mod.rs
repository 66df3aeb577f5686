//! Writes a read-only EROFS image from a rootfs archive: uncompressed, deterministic, without root.
//!
//! Layout: block 0 holds the superblock, then comes the metadata area (inodes, extended attributes and short
//! tails), then the data area in tree order. Everything is laid out before the first byte is written, so the
//! image is one sequential write and memory is bounded by the number of files, not by their sizes.
//! The subset used (extended inodes, plain and inline data, inline attributes) is read by Linux 5.4 and later.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets into a block, a chunk, or contents that are in memory; hosts have 64-bit addresses"
)]

mod directory;
mod inode;
mod layout;
mod superblock;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::{
    Cancellation, Error, Result,
    digest::Digest,
    rootfs::{archive::Archive, tree::Kind},
};
use layout::Layout;

/// Size of a block; the page size of every machine that we run.
const BLOCK_BYTES: u64 = 4096;
/// Granule by which inodes are numbered.
const SLOT_BYTES: u64 = 32;

/// Writes the image of `archive` to `output` and flushes it to the disk.
///
/// `seed` becomes the volume's UUID; `written` hears the share that is done, 0 to 1.
pub(crate) fn write_image(
    archive: &Archive,
    output: &Path,
    seed: &Digest,
    cancel: &Cancellation,
    mut written: impl FnMut(f64),
) -> Result<()> {
    let layout = Layout::plan(&archive.tree)
        .map_err(|reason| Error::BadRootfs { origin: output.to_owned(), reason: reason.to_string() })?;
    // A predecessor's image may be read-only already.
    crate::build::remove_if_there(output).map_err(Error::io("remove", output))?;
    let file = File::create(output).map_err(Error::io("create", output))?;
    let mut image = BufWriter::with_capacity(1 << 20, file);
    let write_error = || Error::io("write", output);

    image.write_all(&superblock::block(&layout, seed)).map_err(write_error())?;
    for block in 0..layout.metadata_blocks {
        image
            .write_all(&metadata_block(archive, &layout, block).map_err(write_error())?)
            .map_err(write_error())?;
    }
    let mut data_blocks = 0;
    for (id, _) in &layout.in_data_order {
        cancel.check()?;
        data_blocks += write_data(archive, &layout, *id, &mut image).map_err(write_error())?;
        written(data_blocks as f64 / layout.data_blocks.max(1) as f64);
    }
    let file = image.into_inner().map_err(|error| write_error()(error.into_error()))?;
    file.sync_all().map_err(Error::io("flush", output))
}

/// One block of the metadata area: every inode that was placed in it.
fn metadata_block(archive: &Archive, layout: &Layout, block: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; BLOCK_BYTES as usize];
    for id in layout.nodes_in_metadata_block(block) {
        let place = layout.place(*id);
        let start = (place.position % BLOCK_BYTES) as usize;
        let head = inode::encode(&archive.tree, layout, *id);
        bytes[start..start + head.len()].copy_from_slice(&head);
        if place.inline_bytes > 0 {
            let tail = start + head.len();
            let inline = &mut bytes[tail..tail + place.inline_bytes as usize];
            read_content(archive, layout, *id, place.size_bytes - place.inline_bytes, inline)?;
        }
    }
    Ok(bytes)
}

/// Writes the data blocks of one node; returns how many.
fn write_data(archive: &Archive, layout: &Layout, id: usize, image: &mut impl Write) -> io::Result<u64> {
    let place = layout.place(id);
    let stored = place.size_bytes - place.inline_bytes;
    let mut chunk = vec![0; stored.min(1 << 20) as usize];
    let mut offset = 0;
    while offset < stored {
        let length = (stored - offset).min(chunk.len() as u64) as usize;
        read_content(archive, layout, id, offset, &mut chunk[..length])?;
        image.write_all(&chunk[..length])?;
        offset += length as u64;
    }
    let padding = stored.next_multiple_of(BLOCK_BYTES) - stored;
    image.write_all(&[0; BLOCK_BYTES as usize][..padding as usize])?;
    Ok(stored.div_ceil(BLOCK_BYTES))
}

/// Fills `into` with the node's content from `offset` on: file data, a link's target, a directory's entries.
fn read_content(
    archive: &Archive,
    layout: &Layout,
    id: usize,
    offset: u64,
    into: &mut [u8],
) -> io::Result<()> {
    match &archive.tree.node(id).kind {
        Kind::File { offset: start, .. } => archive.file.read_exact_at(into, start + offset),
        Kind::Symlink(target) => {
            into.copy_from_slice(&target[offset as usize..][..into.len()]);
            Ok(())
        }
        Kind::Directory(_) => {
            let entries = directory::encode(&archive.tree, layout, id);
            into.copy_from_slice(&entries[offset as usize..][..into.len()]);
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
