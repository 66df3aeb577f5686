//! CRC-32C as ext4 and its journal use it: started with a seed, and not inverted at the end.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// For each byte, what it does to the sum; in the tables behind the first, with as many zeros after it.
static TABLES: [[u32; 256]; STEP] = tables();
/// Bytes that are taken at once.
const STEP: usize = 8;

#[expect(
    clippy::cast_possible_truncation,
    reason = "a byte's number; a constant function knows no conversion"
)]
const fn tables() -> [[u32; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < STEP {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// Goes on from `seed` over `bytes`.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let (pieces, rest) = bytes.as_chunks::<STEP>();
    let crc = pieces.iter().fold(seed, |crc, piece| {
        let mut piece = *piece;
        piece.iter_mut().zip(crc.to_le_bytes()).for_each(|(byte, crc)| *byte ^= crc);
        piece.iter().zip(TABLES.iter().rev()).fold(0, |crc, (byte, table)| crc ^ table[usize::from(*byte)])
    });
    rest.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// The same over `bytes` with zeros in place of the `length` bytes at `at`, where the sum itself stands.
pub(crate) fn crc32c_without(seed: u32, bytes: &[u8], at: usize, length: usize) -> u32 {
    let (before, rest) = bytes.split_at(at.min(bytes.len()));
    let (sum, after) = rest.split_at(length.min(rest.len()));
    let crc = sum.iter().fold(crc32c(seed, before), |crc, _| crc32c(crc, &[0]));
    crc32c(crc, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_the_known_ones() {
        assert_eq!(!crc32c(u32::MAX, b"123456789"), 0xe306_9283);
        assert_eq!(crc32c_without(7, b"ab\x01\x02cd", 2, 2), crc32c(7, b"ab\0\0cd"));
    }
}
