//! Device state on its way from QEMU to a file: through memory that is sealed when it was written, so that no VMM ever has a stored
//! state in its hands.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::memory::reopen;

/// A machine's state has some 20 KB, and little more for each virtual processor.
const MAX_BYTES: u64 = 16 << 20;

/// Room for a state. QEMU empties what it is to write to, so its size cannot be sealed before; the limit on the VMM's files is its bound.
#[derive(Debug)]
pub(super) struct DeviceState {
    memory: File,
    /// For writing only: QEMU takes no other.
    write: File,
}

impl DeviceState {
    pub(super) fn empty() -> io::Result<Self> {
        let memory = File::from(memfd_create("pyro-state", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        let write = reopen(&memory)?;
        Ok(Self { memory, write })
    }

    /// Writes to a file what QEMU wrote here. From now on nobody can change it.
    pub(super) fn copy_to(&self, file: &File) -> io::Result<()> {
        let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&self.memory, all)?;
        let length = self.memory.metadata()?.len();
        if length == 0 || length > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "that is no device state"));
        }
        let mut state = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.memory.read_exact_at(&mut state, 0)?;
        file.write_all_at(&state, 0)
    }
}

impl AsFd for DeviceState {
    /// What QEMU is to write to.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(state: &DeviceState, length: u64, text: &[u8]) -> File {
        let mut qemu = File::from(state.as_fd().try_clone_to_owned().unwrap());
        qemu.set_len(length).unwrap();
        qemu.write_all(text).unwrap();
        qemu
    }

    #[test]
    fn what_was_written_is_copied_and_cannot_be_changed_any_more() {
        let state = DeviceState::empty().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut qemu = written(&state, 0, b"state");
        state.copy_to(file.as_file()).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"state");
        assert!(qemu.write(b"x").is_err() && qemu.set_len(0).is_err());
    }

    #[test]
    fn nothing_and_too_much_are_no_state() {
        let file = tempfile::tempfile().unwrap();
        for length in [0, MAX_BYTES + 1] {
            let state = DeviceState::empty().unwrap();
            let _qemu = written(&state, length, b"");
            assert_eq!(state.copy_to(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
