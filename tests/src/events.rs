//! Waiting for files to come and go, by inotify.

use std::{
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};

/// Waits until `condition` holds, looking again whenever something in `directory` comes, goes or is written.
/// Fails the test after `patience`.
#[track_caller]
pub fn wait_until(what: &str, directory: &Path, patience: Duration, mut condition: impl FnMut() -> bool) {
    let watch =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).expect("inotify");
    let changes = inotify::WatchFlags::CREATE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::CLOSE_WRITE;
    if let Err(error) = inotify::add_watch(&watch, directory, changes) {
        assert!(condition(), "{what}: cannot watch `{}`: {error}", directory.display());
        return;
    }
    let deadline = Instant::now() + patience;
    while !condition() {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited {} s in vain: {what}", patience.as_secs());
        if readable(&watch, left) {
            drain(&watch);
        }
    }
}

/// Whether `fd` becomes readable (or ends) within `patience`.
pub(crate) fn readable(fd: &OwnedFd, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a bound that fits");
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

fn drain(watch: &OwnedFd) {
    let mut buffer = [0_u8; 4096];
    while rustix::io::read(watch, &mut buffer).is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_comes_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let writer = std::thread::spawn({
            let file = file.clone();
            move || std::fs::write(file, "here").unwrap()
        });
        wait_until("the file is there", directory.path(), Duration::from_secs(10), || file.exists());
        writer.join().unwrap();
    }

    #[test]
    #[should_panic(expected = "in vain: something")]
    fn a_wait_in_vain_fails() {
        let directory = tempfile::tempdir().unwrap();
        wait_until("something", directory.path(), Duration::from_millis(50), || false);
    }
}
