//! Descriptors that a long-lived process must not keep: whatever the shell or the script that happened to start
//! the daemon had open would otherwise stay open as long as the daemon lives, and a pipe's reader would wait.
#![expect(unsafe_code, reason = "closing descriptors that no Rust value owns has no safe form")]

/// Closes every descriptor but the standard three. Must be the first thing that a process does.
pub(crate) fn close_all() {
    // SAFETY: called at the start of `main`, when no value of this program owns a descriptor above 2 yet, so
    // none can be closed under its owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    // Kernels before 5.9 lack the call; then the descriptors stay open, which is untidy and no more.
    debug_assert!(result == 0 || result == -1);
}
