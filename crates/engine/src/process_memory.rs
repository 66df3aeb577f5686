//! Reading another process's memory in one copy.
#![expect(unsafe_code, reason = "process_vm_readv takes addresses")]

use std::io;

/// Fills the buffer with what the process of this number has at this address. All of it, or an error: also where only a part can be
/// read. The number is whoever's it is now: the caller looks afterwards whether the process that it means still lives.
pub(crate) fn read(pid: u32, address: u64, buffer: &mut [u8]) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let address = usize::try_from(address).map_err(io::Error::other)?;
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: buffer.len() };
    // SAFETY: `local` is the buffer, borrowed for writing for the length of the call, with its true length. `remote` is an address in
    // another process, which the kernel checks there and reads only.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(read) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_read_and_a_part_is_an_error() {
        let text = b"what is to be read".to_vec();
        let own = std::process::id();
        let mut buffer = vec![0; text.len()];
        read(own, text.as_ptr().addr() as u64, &mut buffer).unwrap();
        assert_eq!(buffer, text);
        assert!(read(own, 1, &mut buffer).is_err());
        // More than is mapped from there on.
        let mut too_long = vec![0; 1 << 20];
        let end = end_of_stack();
        assert!(read(own, end - 4096, &mut too_long).is_err());
    }

    /// Where this process's stack ends, behind which nothing of the size of a buffer lies.
    fn end_of_stack() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let (_, end) = stack.split(' ').next().unwrap().split_once('-').unwrap();
        u64::from_str_radix(end, 16).unwrap()
    }
}
