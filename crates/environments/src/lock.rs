//! One builder at a time, over threads and processes, and a view of its progress for those who wait.
//!
//! The lock is a `flock` on a file that is never removed; the kernel gives it back when its holder dies.
//! The holder writes its progress into the file; waiters are woken by inotify when it does, or when it closes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock, inotify},
    io::retry_on_intr,
};

use crate::{Cancellation, Error, Progress, Result};

/// Longest wait without looking again, should an event be lost.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Held while it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at `path`, waiting as long as another holds it; `seen` hears of that one's progress.
    pub(crate) fn acquire(
        path: &Path,
        cancel: &Cancellation,
        seen: &mut dyn FnMut(&Progress),
    ) -> Result<Self> {
        let file = open(path)?;
        if try_lock(&file).map_err(Error::io("lock", path))? {
            return Ok(Self { file });
        }
        let events = watch(path).map_err(Error::io("watch", path))?;
        let mut last = None;
        while !try_lock(&file).map_err(Error::io("lock", path))? {
            let progress = read_progress(&file);
            if progress.is_some() && progress != last {
                progress.iter().for_each(&mut *seen);
                last = progress;
            }
            wait(&events, cancel).map_err(Error::io("watch", path))?;
            cancel.check()?;
        }
        Ok(Self { file })
    }

    /// Takes the lock at `path`, which is only ever held for moments.
    pub(crate) fn acquire_brief(path: &Path) -> Result<Self> {
        let file = open(path)?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| Error::io("lock", path)(errno.into()))?;
        Ok(Self { file })
    }

    /// The lock if nobody holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        Ok(try_lock(&file).map_err(Error::io("lock", path))?.then_some(Self { file }))
    }

    /// The locked file. Processes that inherit it hold the lock as well, until the last has gone.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Tells those who wait. A full disk must not end a build here: progress is not worth that.
    pub(crate) fn publish(&self, progress: &Progress) {
        if let Ok(line) = serde_json::to_vec(progress)
            && let Err(error) =
                self.file.write_all_at(&line, 0).and_then(|()| self.file.set_len(line.len() as u64))
        {
            tracing::debug!(%error, "progress was not published");
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(Error::io("open", path))
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn watch(path: &Path) -> io::Result<File> {
    let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&events, path, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CLOSE_WRITE)?;
    Ok(File::from(events))
}

fn wait(events: &File, cancel: &Cancellation) -> io::Result<()> {
    let stop = cancel.as_fd();
    let mut fds = [PollFd::new(events, PollFlags::IN), PollFd::new(&stop, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&LOOK_AGAIN)))?;
    let mut buffer = [0; 4096];
    while io::Read::read(&mut &*events, &mut buffer).is_ok_and(|length| length > 0) {}
    Ok(())
}

fn read_progress(file: &File) -> Option<Progress> {
    let mut buffer = [0; 1024];
    let length = file.read_at(&mut buffer, 0).ok()?;
    let progress: Progress = serde_json::from_slice(&buffer[..length]).ok()?;
    Some(Progress { by_another: true, ..progress })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Phase;

    #[test]
    fn a_waiter_sees_progress_and_then_gets_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let cancel = Cancellation::new().unwrap();
        let holder = Lock::acquire(&path, &cancel, &mut |_| ()).unwrap();
        let report =
            Progress { phase: Phase::Image, fraction: 0.5, detail: "half".to_owned(), by_another: false };
        holder.publish(&report);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                Lock::acquire(&path, &cancel, &mut |progress| sender.send(progress.clone()).unwrap())
                    .unwrap();
            });
            let seen = receiver.recv().unwrap();
            assert!(seen.by_another && seen.fraction == 0.5);
            drop(holder);
            waiter.join().unwrap();
        });
    }

    #[test]
    fn a_waiter_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let cancel = Cancellation::new().unwrap();
        let _holder = Lock::acquire(&path, &cancel, &mut |_| ()).unwrap();
        cancel.cancel();
        assert!(matches!(Lock::acquire(&path, &cancel, &mut |_| ()), Err(Error::Cancelled)));
    }
}
