//! The 512-byte block before every member.

use crate::attributes::Time;

pub(super) const BLOCK_BYTES: usize = 512;

/// Where a field lies in the block.
type Field = std::ops::Range<usize>;

const NAME: Field = 0..100;
const MODE: Field = 100..108;
const UID: Field = 108..116;
const GID: Field = 116..124;
const SIZE: Field = 124..136;
const MTIME: Field = 136..148;
const CHECKSUM: Field = 148..156;
const KIND: usize = 156;
const LINK_TARGET: Field = 157..257;
const MAGIC: Field = 257..265;
const PREFIX: Field = 345..500;

/// POSIX; GNU writes `ustar  \0` and uses the prefix field for other things.
const USTAR: &[u8; 8] = b"ustar\x0000";

/// Longest name, and longest target of a link, that fit.
pub(super) const MAX_NAME_BYTES: usize = 100;
/// Largest size, and latest time, of 11 octal digits.
pub(super) const MAX_SIZE: u64 = 0o77_777_777_777;
/// Largest id of 7 octal digits.
pub(super) const MAX_ID: u64 = 0o7_777_777;

#[derive(Clone)]
pub(super) struct Header([u8; BLOCK_BYTES]);

impl Header {
    pub(super) fn read(block: [u8; BLOCK_BYTES]) -> Self {
        Self(block)
    }

    /// A header for writing; what does not fit is left for a pax header to say.
    pub(super) fn new(kind: u8, name: &[u8]) -> Self {
        let mut header = Self([0; BLOCK_BYTES]);
        header.0[MAGIC].copy_from_slice(USTAR);
        header.0[KIND] = kind;
        header.text(NAME, name);
        header
    }

    pub(super) fn set_attributes(&mut self, mode: u32, uid: u64, gid: u64, mtime_seconds: i64) {
        self.number(MODE, u64::from(mode));
        self.number(UID, uid);
        self.number(GID, gid);
        self.number(MTIME, u64::try_from(mtime_seconds).unwrap_or(0));
    }

    pub(super) fn set_size(&mut self, size_bytes: u64) {
        self.number(SIZE, size_bytes);
    }

    pub(super) fn set_link_target(&mut self, target: &[u8]) {
        self.text(LINK_TARGET, target);
    }

    /// The finished block.
    pub(super) fn sealed(mut self) -> [u8; BLOCK_BYTES] {
        let digits = format!("{:06o}\0 ", self.sum());
        self.0[CHECKSUM].copy_from_slice(digits.as_bytes());
        self.0
    }

    fn text(&mut self, field: Field, text: &[u8]) {
        let length = text.len().min(field.len());
        self.0[field][..length].copy_from_slice(&text[..length]);
    }

    /// Octal with a final zero byte; 0 if it does not fit.
    fn number(&mut self, field: Field, number: u64) {
        let width = field.len() - 1;
        let most = (1 << (3 * width)) - 1;
        let number = if number > most { 0 } else { number };
        self.0[field][..width].copy_from_slice(format!("{number:0width$o}").as_bytes());
    }

    pub(super) fn is_end_mark(&self) -> bool {
        self.0 == [0; BLOCK_BYTES]
    }

    pub(super) fn checksum_matches(&self) -> bool {
        octal(&self.0[CHECKSUM]).is_some_and(|sum| sum == u64::from(self.sum()))
    }

    fn sum(&self) -> u32 {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        // The field itself counts as spaces.
        sum(&self.0[..CHECKSUM.start]) + sum(&self.0[CHECKSUM.end..]) + 8 * u32::from(b' ')
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[KIND]
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = up_to_zero(&self.0[NAME]);
        let prefix = if self.0[MAGIC].starts_with(b"ustar\0") { up_to_zero(&self.0[PREFIX]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link_target(&self) -> &[u8] {
        up_to_zero(&self.0[LINK_TARGET])
    }

    pub(super) fn size(&self) -> Option<u64> {
        u64::try_from(number(&self.0[SIZE])?).ok()
    }

    /// 12 bits.
    pub(super) fn mode(&self) -> Option<u32> {
        u32::try_from(number(&self.0[MODE])? & 0o7777).ok()
    }

    pub(super) fn uid(&self) -> Option<u32> {
        u32::try_from(number(&self.0[UID])?).ok()
    }

    pub(super) fn gid(&self) -> Option<u32> {
        u32::try_from(number(&self.0[GID])?).ok()
    }

    pub(super) fn mtime(&self) -> Option<Time> {
        Some(Time { seconds: number(&self.0[MTIME])?, nanoseconds: 0 })
    }
}

fn up_to_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, or GNU's big-endian two's complement when the top bit is set. An empty field is 0, as some writers mean.
fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            // The top bit is the mark, the next one the sign.
            let mut number: i64 =
                if first & 0x40 == 0 { i64::from(first & 0x7f) } else { i64::from(*first) - 0x100 };
            for byte in &field[1..] {
                number = number.checked_mul(256)?.checked_add(i64::from(*byte))?;
            }
            Some(number)
        }
        _ => i64::try_from(octal(field)?).ok(),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| !matches!(byte, 0 | b' '));
    let mut number = 0_u64;
    for digit in digits {
        let value = digit.checked_sub(b'0').filter(|value| *value < 8)?;
        number = number.checked_mul(8)?.checked_add(value.into())?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"0009\0"), None);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut header = Header::new(b'0', b"name");
        header.set_attributes(0o4755, 7, MAX_ID + 1, -5);
        header.set_size(MAX_SIZE);
        header.set_link_target(&[b'x'; 100]);
        let header = Header::read(header.sealed());
        assert!(header.checksum_matches() && !header.is_end_mark());
        assert_eq!((header.name(), header.link_target().len()), (b"name".to_vec(), 100));
        assert_eq!((header.mode(), header.uid(), header.gid()), (Some(0o4755), Some(7), Some(0)));
        assert_eq!((header.size(), header.mtime()), (Some(MAX_SIZE), Some(Time::default())));
    }
}
