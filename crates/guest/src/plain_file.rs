//! Files of the guest's own root. What lies there is the image's: a named pipe in the place of a file must not hold
//! the agent up, nor a file that is missing, nor one that is longer than the machine's memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Most of a text that is read: the accounts of a large institution, or tens of thousands of mounts.
pub(crate) const MAX_TEXT_BYTES: usize = 4 << 20;

/// Opens a regular file for reading.
///
/// # Errors
/// The kernel's, and [`io::ErrorKind::InvalidInput`] for anything but a regular file.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    open_measured(path.as_ref()).map(|(file, _length)| file)
}

fn open_measured(path: &Path) -> io::Result<(File, usize)> {
    let mut options = File::options();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((file, usize::try_from(metadata.len()).map_err(io::Error::other)?))
}

/// The text of a regular file up to 4 MiB, empty where there is none. Bytes that are no text are replaced, so that one bad line
/// hides no others.
pub fn text(path: impl AsRef<Path>) -> String {
    let mut bytes = Vec::new();
    if let Ok((file, length)) = open_measured(path.as_ref()) {
        // Room for all and a little more, so that two reads do: every process that starts comes through here.
        let _unmeasured = bytes.try_reserve(length.min(MAX_TEXT_BYTES).saturating_add(64));
        // What was read before an error is what there is.
        let _partial = file.take(MAX_TEXT_BYTES as u64).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_holes_does_not_fill_the_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(text(&path).len(), MAX_TEXT_BYTES);
    }

    #[test]
    fn a_named_pipe_is_no_file_and_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("hosts");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(open(&pipe).is_err());
        assert_eq!(text(&pipe), "");
        assert_eq!(text(directory.path().join("missing")), "");
    }
}
