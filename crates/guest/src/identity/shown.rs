//! Files in memory that programs find in well-known places, such as `/etc/hostname`: a restored machine rewrites them
//! first thing, and writing to a disk takes an emulated processor ten times as long. They tell who this boot is, and
//! go with it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::OFlags;

use crate::plain_file::MAX_TEXT_BYTES;

/// A file in memory, open as long as it is shown.
#[derive(Debug)]
pub(super) struct Shown {
    file: File,
}

impl Shown {
    /// Makes the file `in_memory` and mounts it over `place`, which is made if it is missing. An image in which it
    /// cannot be made or mounted over, because there is a dangling link for example, does without.
    ///
    /// # Errors
    /// The kernel's, when there is no file in memory.
    pub(super) fn new(place: &str, in_memory: &str, mode: u32, text: &str) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).mode(mode).open(in_memory)?;
        file.write_all_at(text.as_bytes(), 0)?;
        if let Some((directory, _)) = place.rsplit_once('/') {
            let _absent = fs::create_dir_all(directory);
        }
        let mut mount_point = File::options();
        mount_point.append(true).create(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let _absent = mount_point.open(place);
        let _not_shown = rustix::mount::mount_bind(in_memory, place);
        Ok(Self { file })
    }

    /// What it says, with what programs changed in it, as far as other texts are read.
    pub(super) fn text(&self) -> io::Result<String> {
        let mut bytes = vec![0; self.len()?.min(MAX_TEXT_BYTES)];
        let mut count = 0;
        while let Some(rest) = bytes.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, count as u64)? {
                0 => break,
                more => count += more,
            }
        }
        bytes.truncate(count);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Replaces what it says.
    pub(super) fn replace(&self, text: &str) -> io::Result<()> {
        let length = self.len()?;
        self.file.write_all_at(text.as_bytes(), 0)?;
        if length == text.len() { Ok(()) } else { self.file.set_len(text.len() as u64) }
    }

    fn len(&self) -> io::Result<usize> {
        usize::try_from(self.file.metadata()?.len()).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_made_is_done_without_and_the_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let in_memory = directory.path().join("hostname");
        let shown = Shown::new("/proc/no/such", in_memory.to_str().unwrap(), 0o644, "a-long-name\n").unwrap();
        assert_eq!(shown.text().unwrap(), "a-long-name\n");
        shown.replace("short\n").unwrap();
        assert_eq!(fs::read_to_string(&in_memory).unwrap(), "short\n");
        fs::write(&in_memory, "by somebody else, and longer\n").unwrap();
        shown.replace("mine\n").unwrap();
        assert_eq!(shown.text().unwrap(), "mine\n");
        File::options().write(true).open(&in_memory).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(shown.text().unwrap().len(), MAX_TEXT_BYTES, "holes do not fill the memory");
        shown.replace("mine\n").unwrap();
        assert_eq!(shown.text().unwrap(), "mine\n");
    }
}
