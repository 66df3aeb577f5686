//! The few kernel calls that have no safe wrapper. This is the only module of the agent with `unsafe`.
//!
//! Promises: every function here is safe to call with any arguments; what the kernel refuses comes back as an
//! error.
#![expect(unsafe_code, reason = "ioctls, signal masks and fork have no wrapper")]

use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::ioctl::{self, NoArg, Opcode, Setter, opcode};
use rustix::process::{Pid, Signal};
use tokio::io::unix::AsyncFd;

const RNDADDENTROPY: Opcode = opcode::write::<[i32; 2]>(b'R', 0x03);
const RNDRESEEDCRNG: Opcode = opcode::none(b'R', 0x07);
const EXT4_IOC_RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);
const FIFREEZE: Opcode = opcode::read_write::<i32>(b'X', 119);

/// Bytes of entropy that one call can add.
const ENTROPY_CHUNK_BYTES: usize = 64;

/// The kernel's `struct rand_pool_info` with a buffer of fixed size.
#[repr(C)]
struct RandomPoolInfo {
    entropy_bits: i32,
    buffer_bytes: i32,
    buffer: [u8; ENTROPY_CHUNK_BYTES],
}

/// Mixes `bytes` into the kernel's random pool and credits them fully; `random` is an open `/dev/random`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn add_entropy(random: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(ENTROPY_CHUNK_BYTES) {
        let mut buffer = [0; ENTROPY_CHUNK_BYTES];
        for (slot, byte) in buffer.iter_mut().zip(chunk) {
            *slot = *byte;
        }
        let buffer_bytes = i32::try_from(chunk.len()).map_err(io::Error::other)?;
        let info = RandomPoolInfo { entropy_bits: buffer_bytes * 8, buffer_bytes, buffer };
        // SAFETY: the kernel reads two ints and then `buffer_bytes` bytes, all inside `info`.
        unsafe { ioctl::ioctl(random.as_fd(), Setter::<RNDADDENTROPY, RandomPoolInfo>::new(info)) }?;
    }
    Ok(())
}

/// Makes the kernel derive new keys for its random generator from the pool now; `random` is an open `/dev/random`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn reseed_random_generator(random: impl AsFd) -> io::Result<()> {
    // SAFETY: this call takes no argument.
    Ok(unsafe { ioctl::ioctl(random, NoArg::<RNDRESEEDCRNG>::new()) }?)
}

/// Grows the mounted ext4 file system on which `directory` lies to `blocks` file system blocks.
///
/// # Errors
/// The kernel's, such as `ENOSPC` when the device is smaller and `ENOTTY` when the file system is not ext4.
pub fn resize_ext4(directory: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads one u64.
    Ok(unsafe { ioctl::ioctl(directory, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) }?)
}

/// Brings the file system on which `directory` lies into the state of one that was unmounted, and lets nobody write to it
/// any more; who tries, waits.
///
/// # Errors
/// The kernel's, such as `EOPNOTSUPP` for a file system that cannot, and `EBUSY` for one that is frozen already.
pub fn freeze(directory: impl AsFd) -> io::Result<()> {
    // SAFETY: the kernel ignores the argument.
    Ok(unsafe { ioctl::ioctl(directory, Setter::<FIFREEZE, i32>::new(0)) }?)
}

/// Makes `number` another descriptor of the same file, which outlives an exec. Makes system calls only. To be called
/// where nobody else in the process uses the number: in a child that is about to execute another program.
///
/// # Errors
/// The kernel's.
pub fn place_at(descriptor: BorrowedFd<'_>, number: RawFd) -> rustix::io::Result<()> {
    if descriptor.as_raw_fd() == number {
        return rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty());
    }
    // SAFETY: only `dup2` sees the number, which needs not be open, and it is never dropped.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    rustix::io::dup2(descriptor, &mut place)
}

/// The signal of a number between 1 and 64, real-time signals included.
pub fn signal(number: i32) -> Option<Signal> {
    if !(1..=64).contains(&number) {
        return None;
    }
    // SAFETY: the number is not zero. The C library's own two signals (32, 33) matter only to handlers and masks
    // in this process; here a signal is only ever sent to another one.
    Some(unsafe { Signal::from_raw_unchecked(number) })
}

/// Keeps SIGTERM from the thread that made it, as long as it lives. One that comes meanwhile is taken then.
#[derive(Debug)]
pub struct TerminationHeld {
    before: libc::sigset_t,
    /// It is of one thread.
    _thread: PhantomData<*const ()>,
}

impl TerminationHeld {
    /// Begins to keep it away.
    pub fn begin() -> Self {
        // SAFETY: a set of signals is plain numbers, for which zeroes are as good as any, and each call gets sets that live
        // through it. What the three can complain of are numbers that are no signals and no way to change a mask.
        let before = unsafe {
            let (mut held, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigemptyset(&raw mut held);
            libc::sigaddset(&raw mut held, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, &raw mut before);
            before
        };
        Self { before, _thread: PhantomData }
    }
}

impl Drop for TerminationHeld {
    fn drop(&mut self) {
        // SAFETY: the set came from the same call and lives through this one, which wants no other back.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Lets the runtime watch a descriptor for readiness. Has to be called within a runtime with I/O enabled.
///
/// # Errors
/// The kernel's, when the descriptor cannot be watched.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open as long as it lives, and nothing replaces the one inside an `AsyncFd`.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}

/// Makes a child: a copy of this process with the calling thread alone, in which `work` is done and nothing after it. The
/// parent's copy of what `work` holds is dropped.
///
/// # Errors
/// The kernel's, when it gives no more processes.
pub fn fork(work: impl FnOnce()) -> io::Result<Pid> {
    // SAFETY: the other threads are missing in the child, and with them whoever would release the locks that they held
    // just now. Of those the one caller, `process::launch`, meets two. The allocator's: musl (since 1.2.2) and glibc put it
    // in order when they fork. That of the standard library around the environment, which it takes for reading, as
    // everybody in this program does.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        const NO_PROGRAM: i32 = 127;
        // SAFETY: ends the process; nothing of it runs any more.
        unsafe { libc::_exit(NO_PROGRAM) }
    }
    Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(io::Error::last_os_error)
}
