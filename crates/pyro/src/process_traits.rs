//! What a process that owns machines asks of its kernel, for itself and as best it can: a kernel that refuses leaves it
//! as it was, and what then goes wrong is told where it does.

use std::io;

use rustix::process::{
    Resource, Rlimit, WaitId, WaitIdOptions, getpid, getrlimit, set_child_subreaper, setrlimit, waitid,
};
use tokio::signal::unix::{SignalKind, signal};

/// Only the children of the thread that asks (`__WNOTHREAD`).
const OWN_THREAD: WaitIdOptions = WaitIdOptions::from_bits_retain(0x2000_0000);

/// Enough for thousands of machines. Not more, although some hosts allow a thousand million: programs that builders run
/// close all descriptors that there could be, one by one.
const MOST_OPEN_FILES: u64 = 65_536;

/// Makes orphaned descendants this process's children. Machine processes are orphans from birth, and pid 1 of a
/// container often does not see off those that have ended.
pub(crate) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        tracing::warn!(%error, "machine processes that end are left to pid 1");
    }
}

/// Sees off the adopted that have ended: machine processes, and what builders leave behind when they are stopped. Must be
/// polled by the process's first thread, which is the one that the kernel gives orphans to; children of other threads
/// are left to those who wait for them. The first thread must wait for none itself meanwhile. Never ends unless signals
/// cannot be watched.
pub(crate) async fn see_off_orphans() -> io::Result<std::convert::Infallible> {
    let mut ended = signal(SignalKind::child())?;
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | OWN_THREAD;
        while let Ok(Some(_)) = waitid(WaitId::All, options) {}
        ended.recv().await;
    }
}

/// Raises the number of descriptors that this process may have, each machine needing several.
pub(crate) fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MOST_OPEN_FILES, |maximum| maximum.min(MOST_OPEN_FILES));
    if limit.current.is_none_or(|current| current >= most) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit }) {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
}
