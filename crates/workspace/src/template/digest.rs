//! Digests of template files, sparse ones in the time their data takes.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};
use sha2::{Digest, Sha256};

const PAGE_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;

/// Digest of a file's length and of its pages that are not zero, each with its place. Two files of equal
/// bytes have equal digests, whatever holes they have.
pub(crate) fn sparse(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut digest = Sha256::new();
    digest.update(length.to_le_bytes());
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while let Some((start, end)) = next_data(&file, offset, length)? {
        // Whole pages from an aligned start, so that the pages' places do not depend on where the holes are.
        let mut place = start - start % PAGE_BYTES as u64;
        while place < end {
            let want = CHUNK_BYTES.min(usize::try_from(length - place).unwrap_or(CHUNK_BYTES));
            let read = read_full(&file, &mut buffer[..want], place)?;
            for (index, page) in buffer[..read].chunks(PAGE_BYTES).enumerate() {
                if page.iter().any(|byte| *byte != 0) {
                    digest.update((place + (index * PAGE_BYTES) as u64).to_le_bytes());
                    digest.update(page);
                }
            }
            place += read as u64;
            if read < want {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        offset = place;
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn next_data(file: &File, from: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if from >= length {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok(Some((start, end)))
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn holes_do_not_matter_and_every_byte_does() {
        let directory = tempfile::tempdir().unwrap();
        let [dense, sparse_file] = ["dense", "sparse"].map(|name| directory.path().join(name));
        let mut bytes = vec![0; 3 << 20];
        bytes[2_500_000] = 7;
        std::fs::write(&dense, &bytes).unwrap();
        let mut file = File::create(&sparse_file).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        file.seek(io::SeekFrom::Start(2_500_000)).unwrap();
        file.write_all(&[7]).unwrap();
        let whole = sparse(&dense).unwrap();
        assert_eq!(whole, sparse(&sparse_file).unwrap());

        file.write_all(&[1]).unwrap();
        assert_ne!(whole, sparse(&sparse_file).unwrap());
        std::fs::write(&dense, &bytes[..bytes.len() - 1]).unwrap();
        assert_ne!(whole, sparse(&dense).unwrap());
    }
}
