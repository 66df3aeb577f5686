//! Sealed streams: every truncation, change and exchange of pieces is found.

use std::{
    io::{self, Read, Write},
    ops::Range,
};

use proptest::prelude::*;

use super::*;
use crate::seal_key::SealKey;

const CONTEXT: &[u8] = b"layer 7";
/// One chunk of the first kind cannot be compressed.
const SIZES: [usize; 9] =
    [0, 1, 100, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, 400_000];

fn key() -> SealKey {
    let home = tempfile::tempdir().unwrap();
    SealKey::of(&home.path().join("seal.key")).unwrap()
}

/// Bytes without any order, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        (state, _) = state.overflowing_mul(0x5851_f42d_4c95_7f2d);
        state ^= state >> 29;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn contents(length: usize) -> [Vec<u8>; 3] {
    let text = b"a word and another ".iter().copied().cycle().take(length).collect();
    [noise(length), vec![0; length], text]
}

fn seal(key: &SealKey, content: &[u8]) -> Vec<u8> {
    let mut writer = SealedWriter::begin(Vec::new(), key, CONTEXT).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

/// All that can be read, and how it ended.
fn unseal_as(key: &SealKey, context: &[u8], sealed: &[u8]) -> (Vec<u8>, Result<(), SealedError>) {
    let mut content = Vec::new();
    let mut reader = match SealedReader::begin(sealed, key, context) {
        Ok(reader) => reader,
        Err(error) => return (content, Err(error)),
    };
    match reader.read_to_end(&mut content) {
        Ok(_) => (content, Ok(())),
        Err(error) => {
            assert!(SealedError::within(&error).is_some());
            let again = reader.read(&mut [0; 9]).unwrap_err();
            assert!(matches!(SealedError::within(&again), Some(SealedError::Damaged { .. })), "{again:?}");
            (content, Err(error.downcast().unwrap()))
        }
    }
}

fn assert_whole(key: &SealKey, sealed: &[u8], content: &[u8]) {
    let (found, end) = unseal_as(key, CONTEXT, sealed);
    end.unwrap();
    assert!(found == content, "{} bytes came back as {} others", content.len(), found.len());
}

/// What is found damaged; what was given before that is right.
fn assert_damaged(key: &SealKey, sealed: &[u8], content: &[u8], how: &str) {
    let (found, end) = unseal_as(key, CONTEXT, sealed);
    assert!(matches!(end, Err(SealedError::Damaged { .. })), "{how}: {end:?}");
    assert!(content.starts_with(&found), "{how}: wrong bytes were given");
    assert!(found.len() < content.len() || content.is_empty() || how.contains("behind"), "{how}");
}

/// Where the chunks lie.
fn chunks(sealed: &[u8]) -> Vec<Range<usize>> {
    let (mut chunks, mut at) = (Vec::new(), HEADER_BYTES);
    while at < sealed.len() {
        let head = u32::from_le_bytes(sealed[at..at + HEAD_BYTES].try_into().unwrap());
        let length = usize::try_from(head & !(LAST | COMPRESSED)).unwrap();
        chunks.push(at..at + HEAD_BYTES + length + TAG_BYTES);
        at = chunks.last().unwrap().end;
    }
    chunks
}

#[test]
fn what_was_sealed_comes_back() {
    let key = key();
    for length in SIZES {
        for content in contents(length) {
            let sealed = seal(&key, &content);
            assert_whole(&key, &sealed, &content);
            assert_eq!(chunks(&sealed).len(), length.div_ceil(CHUNK_BYTES).max(1), "{length} bytes");
            let most = length + HEADER_BYTES + chunks(&sealed).len() * (HEAD_BYTES + TAG_BYTES);
            assert!(sealed.len() <= most, "{length} bytes grew to {}", sealed.len());
        }
    }
    assert!(seal(&key, &vec![0; 1 << 20]).len() < 2000, "nothing was compressed");
}

#[test]
fn nothing_of_the_content_is_in_the_file_and_no_two_files_are_alike() {
    let (key, content) = (key(), noise(1000));
    let (one, other) = (seal(&key, &content), seal(&key, &content));
    assert!(!one.windows(8).any(|window| content.windows(8).any(|secret| secret == window)));
    assert!(one[16..48] != other[16..48] && one[HEADER_BYTES..] != other[HEADER_BYTES..]);
}

#[test]
fn every_flipped_bit_is_found() {
    let key = key();
    // Three chunks that are small, and one that is not compressed.
    for content in [vec![0; 2 * CHUNK_BYTES + 100], noise(100)] {
        let sealed = seal(&key, &content);
        assert!(sealed.len() < 400);
        for place in 0..sealed.len() {
            for bit in 0..8 {
                let mut other = sealed.clone();
                other[place] ^= 1 << bit;
                let how = format!("bit {bit} of byte {place}");
                if place < HEADER_BYTES - SALT_BYTES {
                    let (found, end) = unseal_as(&key, CONTEXT, &other);
                    assert!(found.is_empty() && matches!(end, Err(SealedError::Foreign { .. })), "{how}");
                } else {
                    assert_damaged(&key, &other, &content, &how);
                }
            }
        }
    }
}

#[test]
fn every_end_that_is_missing_or_too_much_is_found() {
    let key = key();
    for content in [vec![0; 2 * CHUNK_BYTES], noise(100), Vec::new()] {
        let sealed = seal(&key, &content);
        for length in 0..sealed.len() {
            assert_damaged(&key, &sealed[..length], &content, &format!("the first {length} bytes"));
        }
        let last = chunks(&sealed).pop().unwrap();
        for more in [&b"\0"[..], &sealed[last], &sealed] {
            assert_damaged(&key, &[&sealed[..], more].concat(), &content, "something behind it");
        }
    }
}

#[test]
fn chunks_that_are_moved_left_out_or_doubled_are_found() {
    let (key, content) = (key(), noise(4 * CHUNK_BYTES + 9));
    let (sealed, other) = (seal(&key, &content), seal(&key, &content));
    let chunks = chunks(&sealed);
    assert_eq!(chunks.len(), 5);
    let arranged = |order: &[usize]| {
        let parts = order.iter().map(|chunk| &sealed[chunks[*chunk].clone()]);
        [&sealed[..HEADER_BYTES]].into_iter().chain(parts).collect::<Vec<_>>().concat()
    };
    assert_whole(&key, &arranged(&[0, 1, 2, 3, 4]), &content);
    for order in [
        &[1, 0, 2, 3, 4][..],
        &[0, 2, 1, 3, 4],
        &[0, 1, 2, 4, 3],
        &[0, 1, 2, 4],
        &[1, 2, 3, 4],
        &[0, 0, 1, 2, 3, 4],
        &[0, 1, 2, 3, 3, 4],
        &[4],
        &[0, 1, 2, 3],
        &[],
    ] {
        assert_damaged(&key, &arranged(order), &content, &format!("{order:?}"));
    }
    assert_damaged(&key, &arranged(&[0, 1, 2, 3, 4, 4]), &content, "the last one behind itself");
    let mixed = [&sealed[..chunks[2].start], &other[chunks[2].start..]].concat();
    assert_damaged(&key, &mixed, &content, "of two files");
    // The last one said not to be, and one that is not said to be.
    for (chunk, order) in [(4, &[0, 1, 2, 3, 4, 4][..]), (2, &[0, 1, 2])] {
        let mut forged = arranged(order);
        forged[chunks[chunk].start + 3] ^= 0x80;
        assert_damaged(&key, &forged, &content, &format!("forged {chunk}"));
    }
}

#[test]
fn another_key_and_another_context_give_nothing() {
    let (one, content) = (key(), noise(100));
    let sealed = seal(&one, &content);
    for (key, context) in [(&key(), CONTEXT), (&one, b"layer 8"), (&one, b"layer 7 "), (&one, b"")] {
        let (found, end) = unseal_as(key, context, &sealed);
        assert!(found.is_empty() && matches!(end, Err(SealedError::Damaged { .. })), "{end:?}");
    }
}

#[test]
fn a_chunk_that_claims_more_than_chunks_have_is_not_read() {
    let (key, mut sealed) = (key(), seal(&key(), b"x"));
    sealed.truncate(HEADER_BYTES);
    sealed.extend_from_slice(&u32::MAX.to_le_bytes());
    // It would fail if it were read.
    let source = (&sealed[..]).chain(Failing(io::ErrorKind::Other));
    let error = SealedReader::begin(source, &key, CONTEXT).unwrap().read(&mut [0]).unwrap_err();
    assert!(matches!(SealedError::within(&error), Some(SealedError::Damaged { .. })), "{error:?}");
}

#[test]
fn more_than_a_chunk_is_never_decompressed() {
    let key = key();
    let bomb = zstd::bulk::compress(&vec![0; CHUNK_BYTES + 1], 1).unwrap();
    let header = Header::new(&[5; SALT_BYTES]);
    let head = u32::try_from(bomb.len()).unwrap() | COMPRESSED | LAST;
    let mut ciphertext = bomb;
    let tag = ChunkCipher::new(&key, header, CONTEXT).unwrap().seal(head, &mut ciphertext).unwrap();
    let sealed = [&header.0[..], &head.to_le_bytes(), &ciphertext, tag.as_ref()].concat();
    let (found, end) = unseal_as(&key, CONTEXT, &sealed);
    assert!(found.is_empty() && matches!(end, Err(SealedError::Damaged { .. })), "{end:?}");
}

#[test]
fn what_the_system_says_stays_its_word() {
    let key = key();
    let error = SealedWriter::begin(Failing(io::ErrorKind::StorageFull), &key, CONTEXT).unwrap_err();
    assert!(matches!(&error, SealedError::Write(source) if source.kind() == io::ErrorKind::StorageFull));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);

    let sealed = seal(&key, &noise(100_000));
    for length in [0, 20, HEADER_BYTES, HEADER_BYTES + 2, 70_000] {
        let source = sealed[..length].chain(Failing(io::ErrorKind::TimedOut));
        let error = match SealedReader::begin(source, &key, CONTEXT) {
            Ok(mut reader) => reader.read_to_end(&mut Vec::new()).unwrap_err(),
            Err(error) => error.into(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{length}");
        assert!(matches!(SealedError::within(&error), Some(SealedError::Read(_))), "{length}: {error:?}");
    }
}

#[test]
fn neither_says_its_key() {
    let key = key();
    let writer = SealedWriter::begin(Vec::new(), &key, CONTEXT).unwrap();
    let text = format!("{writer:?}");
    assert_eq!(text, "SealedWriter { cipher: ChunkCipher { next: 0, .. }, .. }");
    let sealed = seal(&key, b"x");
    let reader = SealedReader::begin(&sealed[..], &key, CONTEXT).unwrap();
    assert_eq!(
        format!("{reader:?}"),
        "SealedReader { cipher: ChunkCipher { next: 0, .. }, state: Open, .. }"
    );
}

/// Fails whatever is asked.
struct Failing(io::ErrorKind);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn pieces_of_any_size_are_written_and_read(
        pieces in prop::collection::vec((0..90_000_usize, any::<bool>()), 0..6),
        read_bytes in 1..100_000_usize,
    ) {
        let (key, mut content) = (key(), Vec::new());
        let mut writer = SealedWriter::begin(Vec::new(), &key, CONTEXT).unwrap();
        for (length, noisy) in pieces {
            let piece = if noisy { noise(length) } else { vec![7; length] };
            writer.write_all(&piece).unwrap();
            writer.flush().unwrap();
            content.extend(piece);
        }
        let sealed = writer.finish().unwrap();
        let mut reader = SealedReader::begin(&sealed[..], &key, CONTEXT).unwrap();
        let (mut found, mut buffer) = (Vec::new(), vec![0; read_bytes]);
        loop {
            let count = reader.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            found.extend_from_slice(&buffer[..count]);
        }
        prop_assert!(found == content);
        prop_assert_eq!(reader.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), header: bool) {
        let begin = Header::new(&[1; SALT_BYTES]).0;
        let sealed = if header { [&begin[..], &bytes].concat() } else { bytes };
        let (found, end) = unseal_as(&key(), CONTEXT, &sealed);
        prop_assert!(found.is_empty() && end.is_err());
    }
}
