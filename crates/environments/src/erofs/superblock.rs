//! The superblock: 128 bytes at offset 1024, and a checksum over the rest of its block.

use super::{BLOCK_BYTES, layout::Layout};
use crate::{digest::Digest, rootfs::tree::ROOT};

const OFFSET: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
const CHECKSUM_AND_MTIME: u32 = 3;
/// Inodes are numbered from the start of the image.
const INODES_COUNT_FROM_BLOCK: u32 = 0;

/// Block 0 of the image.
pub(super) fn block(layout: &Layout, seed: &Digest) -> Vec<u8> {
    let mut fields = Vec::with_capacity(128);
    fields.extend_from_slice(&MAGIC.to_le_bytes());
    fields.extend_from_slice(&0_u32.to_le_bytes());
    fields.extend_from_slice(&CHECKSUM_AND_MTIME.to_le_bytes());
    fields.extend_from_slice(&[12, 0]);
    // The root comes first in the metadata area, so its number always fits.
    fields.extend_from_slice(&u16::try_from(layout.place(ROOT).number()).unwrap_or(0).to_le_bytes());
    fields.extend_from_slice(&layout.inodes().to_le_bytes());
    fields.extend_from_slice(&[0; 12]);
    fields.extend_from_slice(&u32::try_from(layout.total_blocks()).unwrap_or(u32::MAX).to_le_bytes());
    fields.extend_from_slice(&INODES_COUNT_FROM_BLOCK.to_le_bytes());
    fields.extend_from_slice(&0_u32.to_le_bytes());
    fields.extend_from_slice(&seed.as_str().as_bytes()[..16]);
    fields.extend_from_slice(b"pyro-root\0\0\0\0\0\0\0");
    fields.resize(128, 0);

    let mut block = vec![0; BLOCK_BYTES as usize];
    block[OFFSET..OFFSET + fields.len()].copy_from_slice(&fields);
    let checksum = crc32c_without_final_inversion(&block[OFFSET..]);
    block[OFFSET + 4..OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
    block
}

/// CRC-32C as the kernel's `crc32c(~0, …)` gives it.
fn crc32c_without_final_inversion(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_known_one() {
        assert_eq!(!crc32c_without_final_inversion(b"123456789"), 0xe306_9283);
    }
}
