//! Files of the host as a tar stream.

use std::{
    fs::File,
    io::{self, BufWriter, ErrorKind, Write},
    path::Path,
};

use pyro_tree::{
    Notes, RelativePath, Root,
    archive::Writer,
    compressed::decompressed,
    pack::Packer,
    seed::{Git, IgnoreRules, pack_tracked, tracked},
};

use super::error::FileError;

/// Small members are gathered before they are handed on.
const BUFFER_BYTES: usize = 64 << 10;

/// Notes that are kept of one transfer.
const MOST_NOTES: usize = 100;

/// Packs a directory with all it holds but what patterns and `.pyroignore` files leave out; with `git` only what that
/// tracks. What was left out for another reason is returned. Blocks.
pub(super) fn pack_directory(
    path: &Path,
    exclude: &[String],
    git: Option<&Git>,
    output: &mut dyn Write,
) -> Result<Notes, FileError> {
    let host = |source| FileError::Host { operation: "read", path: path.to_owned(), source };
    let root = Root::open(path).map_err(host)?;
    let mut rules = IgnoreRules::new(exclude).map_err(|error| source(path, error))?;
    let listed = git.map(|git| tracked(git, path)).transpose().map_err(|error| source(path, error))?;
    let mut writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, output));
    let mut pack = |writer: &mut Writer<_>| -> io::Result<Notes> {
        let mut packer = Packer::new(&root, writer)?;
        match &listed {
            Some(listed) => pack_tracked(&mut packer, listed, &mut rules)?,
            None => packer.append_tree(&RelativePath::root(), &mut rules)?,
        }
        Ok(packer.finish().notes)
    };
    let notes = pack(&mut writer).map_err(host)?;
    writer.finish().and_then(|mut output| output.flush()).map_err(host)?;
    Ok(notes)
}

/// Hands an archive on as it is, decompressed; the guest, which unpacks it, is who looks at it. Blocks.
pub(super) fn copy_archive(path: &Path, output: &mut dyn Write) -> Result<(), FileError> {
    let failed = |error: io::Error| match error.kind() {
        // Said by the decompressor: the file can be read, and is torn. One that is not compressed is for the guest to refuse.
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
            FileError::Archive { path: path.to_owned(), source: error }
        }
        ErrorKind::Unsupported => source(path, error),
        _ => FileError::Host { operation: "read", path: path.to_owned(), source: error },
    };
    let mut input = File::open(path).and_then(decompressed).map_err(failed)?;
    io::copy(&mut input, output).map_err(failed)?;
    Ok(())
}

/// Notes as lines, not too many of them.
pub(super) fn told(notes: &Notes) -> Vec<String> {
    let mut told: Vec<_> = notes.list.iter().take(MOST_NOTES).map(ToString::to_string).collect();
    let untold = (notes.list.len() - told.len()) as u64 + notes.left_out;
    if untold > 0 {
        told.push(format!("and {untold} more of this kind"));
    }
    told
}

fn source(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> FileError {
    FileError::Source { path: path.to_owned(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_is_torn_is_told_from_one_that_cannot_be_read() {
        let place = tempfile::tempdir().unwrap();
        let copied = |name: &str, bytes: &[u8]| {
            let path = place.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            copy_archive(&path, &mut Vec::new()).unwrap_err()
        };
        let torn =
            [("zstd", b"\x28\xb5\x2f\xfd\x20\x05".as_slice()), ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03")];
        for (name, bytes) in torn {
            let error = copied(name, bytes);
            assert!(matches!(error, FileError::Archive { .. }), "{name}: {error}");
        }
        let unknown = copied("xz", b"\xfd7zXZ\0");
        assert!(matches!(unknown, FileError::Source { .. }), "{unknown}");
        let missing = copy_archive(&place.path().join("missing"), &mut Vec::new()).unwrap_err();
        assert!(matches!(missing, FileError::Host { .. }), "{missing}");
    }
}
