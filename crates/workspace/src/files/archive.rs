//! Files of the host as a tar stream.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
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
    let host = |source| FileError::Host { operation: "read", path: path.to_owned(), source };
    let mut input = File::open(path).and_then(decompressed).map_err(host)?;
    io::copy(&mut input, output).map_err(host)?;
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
