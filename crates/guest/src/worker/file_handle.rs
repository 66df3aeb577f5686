//! [`FileHandle`]: what the kernel calls a file besides its names, and how the overlay writes it down.
#![expect(unsafe_code, reason = "name_to_handle_at has no safe wrapper anywhere")]

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Longest handle the kernel makes (`MAX_HANDLE_SZ`).
const MAX_HANDLE_BYTES: usize = 128;
/// What stands before the handle's own bytes in the overlay's notation: version, magic, length, flags, type, UUID of
/// the file system (`struct ovl_fb`).
const OVERLAY_HEADER_BYTES: usize = 21;
const OVERLAY_MAGIC: u8 = 0xfb;

/// Names a file of one file system whatever its names are: type and bytes, both the file system's own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct FileHandle {
    kind: u8,
    bytes: Vec<u8>,
}

/// `struct file_handle` of the kernel with room for every handle.
#[repr(C)]
struct Raw {
    handle_bytes: u32,
    handle_type: c_int,
    handle: [u8; MAX_HANDLE_BYTES],
}

impl FileHandle {
    /// Of what is called `name` (not followed) in an open directory.
    pub(super) fn of(directory: impl AsFd, name: &[u8]) -> io::Result<Self> {
        let name = CString::new(name)?;
        let mut raw = Raw { handle_bytes: 128, handle_type: 0, handle: [0; MAX_HANDLE_BYTES] };
        let mut mount_id: c_int = 0;
        // SAFETY: the descriptor is borrowed for the call, `name` ends with a zero, `raw` has the kernel's layout and
        // says how much room it has, and the kernel writes nowhere else but to the one `int` behind `mount_id`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                directory.as_fd().as_raw_fd(),
                name.as_ptr(),
                &raw mut raw,
                &raw mut mount_id,
                0,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let length = usize::try_from(raw.handle_bytes).unwrap_or(MAX_HANDLE_BYTES).min(MAX_HANDLE_BYTES);
        let kind = u8::try_from(raw.handle_type).map_err(io::Error::other)?;
        Ok(Self { kind, bytes: raw.handle[..length].to_vec() })
    }

    /// Reads the name of an entry of the overlay's index: the handle of the seed's file, in hexadecimal digits. `None` for
    /// other names.
    pub(super) fn from_index_name(name: &[u8]) -> Option<Self> {
        let digits =
            std::str::from_utf8(name).ok().filter(|name| name.len().is_multiple_of(2) && name.is_ascii())?;
        let bytes: Option<Vec<u8>> =
            (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect();
        let bytes = bytes.filter(|bytes| bytes.len() > OVERLAY_HEADER_BYTES && bytes[1] == OVERLAY_MAGIC)?;
        Some(Self { kind: bytes[4], bytes: bytes[OVERLAY_HEADER_BYTES..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl FileHandle {
        /// As the kernel writes it on a file system without UUID.
        pub(crate) fn index_name(&self) -> String {
            let length = u8::try_from(OVERLAY_HEADER_BYTES + self.bytes.len()).unwrap();
            let mut name = format!("00fb{length:02x}00{:02x}{:032x}", self.kind, 0);
            name.extend(self.bytes.iter().map(|byte| format!("{byte:02x}")));
            name
        }
    }

    #[test]
    fn the_names_of_the_index_are_handles() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("one"), "1").unwrap();
        std::fs::write(directory.path().join("other"), "1").unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        let one = FileHandle::of(&opened, b"one").unwrap();
        assert_eq!(FileHandle::from_index_name(one.index_name().as_bytes()), Some(one.clone()));
        assert_ne!(FileHandle::of(&opened, b"other").unwrap(), one);
        assert!(FileHandle::of(&opened, b"none").is_err());
        // As a kernel wrote it, with a UUID.
        let name = b"00fb2100010f20efa73cb94689856e94b6000f02e687b0bce90700000000000000";
        let bytes = vec![0x87, 0xb0, 0xbc, 0xe9, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(FileHandle::from_index_name(name), Some(FileHandle { kind: 1, bytes }));
        for name in ["", "#1f", "00", "0", "zz", "\u{e9}\u{e9}"] {
            assert_eq!(FileHandle::from_index_name(name.as_bytes()), None, "{name}");
        }
    }
}
