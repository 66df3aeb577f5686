//! Launcher of this crate's tests, and the program they run in the VMM's place: it tries what an escaped VMM would, and
//! prints one line for each attempt, `NAME allowed` or `NAME denied: REASON`.
//!
//! It is told its targets by lines `NAME VALUE` in the root image, which is open as descriptor 13.
#![expect(unsafe_code, reason = "uses inherited descriptors and raw calls as an attacker would")]
#![expect(clippy::print_stdout, reason = "standard output is the VMM's log")]

use std::{
    collections::HashMap,
    ffi::CStr,
    fs::{self, File, OpenOptions},
    io,
    net::TcpStream,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::{fs::FileExt, net::UnixStream, process::CommandExt},
    },
    process::Command,
};

use rustix::process::{Pid, Signal, kill_process};

const ROOT_IMAGE: i32 = 13;
const MEMORY: i32 = 16;

fn main() {
    pyro_engine::launch::intercept();
    match std::env::args().nth(1).as_deref() {
        // What the engine asks every QEMU.
        Some("--version") => println!("a program in QEMU's place"),
        Some("-L") => {}
        _ => attempt_everything(),
    }
}

fn attempt_everything() {
    let targets = targets();
    let target = |name: &str| targets.get(name).cloned().unwrap_or_default();
    attempt("spawn", || Command::new("/bin/true").status());
    attempt("exec", || Err::<(), _>(Command::new("/bin/true").exec()));
    attempt("exec-self", || Err::<(), _>(Command::new(std::env::args().next().unwrap_or_default()).exec()));
    attempt("exec-self-by-descriptor", execute_own_file);
    attempt("connect-unix", || UnixStream::connect(target("unix")));
    attempt("connect-tcp", || TcpStream::connect(target("tcp")));
    attempt("read-home", || fs::read(target("home")));
    attempt("read-shadow", || fs::read("/etc/shadow"));
    attempt("read-passwd", || fs::read("/etc/passwd"));
    attempt("open-sibling", || File::open(target("sibling-file")));
    attempt("write-own-root", || fs::write("/new", "x"));
    attempt("signal-engine", || signal(&target("engine-pid")));
    attempt("signal-sibling", || signal(&target("sibling-pid")));
    // SAFETY: the engine handed these over; they stay open.
    let (image, memory) = unsafe { (BorrowedFd::borrow_raw(ROOT_IMAGE), BorrowedFd::borrow_raw(MEMORY)) };
    attempt("write-root-image", || Ok(rustix::io::pwrite(image, b"x", 0)?));
    attempt("write-memory", || Ok(rustix::io::pwrite(memory, b"x", 0)?));
    attempt("shrink-memory", || Ok(rustix::fs::ftruncate(memory, 0)?));
    attempt("use-x32-numbers", call_by_another_number);
    let log = std::io::stdout();
    attempt("grow-log", || Ok(rustix::fs::ftruncate(&log, 1 << 30)?));
    attempt("write-beyond-log", || Ok(rustix::io::pwrite(&log, b"x", 1 << 30)?));
    attempt("open-kvm", || OpenOptions::new().read(true).write(true).open("/dev/kvm"));
    attempt("reopen-memory-and-write", || {
        OpenOptions::new().write(true).open(format!("/proc/self/fd/{MEMORY}"))?.write_at(b"x", 0)
    });
}

fn attempt<T>(name: &str, attempt: impl FnOnce() -> io::Result<T>) {
    match attempt() {
        Ok(_) => println!("{name} allowed"),
        Err(reason) => println!("{name} denied: {reason}"),
    }
}

fn targets() -> HashMap<String, String> {
    // SAFETY: the engine handed it over; it stays open.
    let image = unsafe { BorrowedFd::borrow_raw(ROOT_IMAGE) };
    let mut text = vec![0; 64 << 10];
    let length = rustix::io::pread(image, &mut text, 0).unwrap_or(0);
    String::from_utf8_lossy(text.get(..length).unwrap_or_default())
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn signal(pid: &str) -> io::Result<()> {
    let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, Signal::CONT)?)
}

/// A kernel without the x32 interface refuses it too; what counts is that the filter does.
fn call_by_another_number() -> io::Result<()> {
    const X32_BIT: i64 = 0x4000_0000;
    // SAFETY: takes no arguments and touches no memory.
    match unsafe { libc::syscall(X32_BIT | libc::SYS_getppid) } {
        -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) => {
            Err(io::Error::last_os_error())
        }
        _ => Ok(()),
    }
}

fn execute_own_file() -> io::Result<()> {
    let own = File::open(std::env::args().next().unwrap_or_default())?;
    let empty: &CStr = c"";
    let arguments = [empty.as_ptr(), std::ptr::null()];
    // SAFETY: NUL-terminated strings in null-terminated arrays that outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            own.as_raw_fd(),
            empty.as_ptr(),
            arguments.as_ptr(),
            arguments.as_ptr().add(1),
            libc::AT_EMPTY_PATH,
        );
    }
    Err(io::Error::last_os_error())
}
