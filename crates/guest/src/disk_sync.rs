//! Makes the writable disk durable without holding the agent up: a thread waits for the disk. Where the kernel gives no
//! thread, as under a fork bomb, the call fails and nothing else does.
//!
//! One runs at a time. Who asks while it runs waits for the one after it, which covers what was written until then.

use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use pyro_protocol::StreamId;
use tokio::sync::oneshot;

/// Calls that wait for the disk.
#[derive(Debug, Default)]
pub(crate) struct DiskSync {
    running: Option<Running>,
    /// Those who came since.
    next: Vec<StreamId>,
}

#[derive(Debug)]
struct Running {
    outcome: oneshot::Receiver<io::Result<()>>,
    calls: Vec<StreamId>,
}

impl DiskSync {
    /// A call asks for it.
    pub(crate) fn ask(&mut self, call: StreamId) {
        self.next.push(call);
    }

    /// The session is over; nobody waits for an answer.
    pub(crate) fn forget_calls(&mut self) {
        self.next.clear();
        if let Some(running) = &mut self.running {
            running.calls.clear();
        }
    }

    /// Begins what was asked for, and gives the calls that have their answer.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        disk: Option<BorrowedFd<'_>>,
    ) -> Option<(Vec<StreamId>, io::Result<()>)> {
        if self.running.is_none() && !self.next.is_empty() {
            let calls = std::mem::take(&mut self.next);
            match disk.map(|disk| disk.try_clone_to_owned().and_then(begin)).transpose() {
                Ok(Some(outcome)) => self.running = Some(Running { outcome, calls }),
                Ok(None) => return Some((calls, Err(io::ErrorKind::Unsupported.into()))),
                Err(error) => return Some((calls, Err(error))),
            }
        }
        let running = self.running.as_mut()?;
        let Poll::Ready(outcome) = Pin::new(&mut running.outcome).poll(context) else { return None };
        let calls = std::mem::take(&mut running.calls);
        self.running = None;
        Some((calls, outcome.unwrap_or_else(|error| Err(io::Error::other(error)))))
    }
}

/// The runtime's own threads would not do: it panics when it gets none.
fn begin(disk: OwnedFd) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (done, outcome) = oneshot::channel();
    let sync = move || {
        let _nobody_waits = done.send(rustix::fs::syncfs(&disk).map_err(io::Error::from));
    };
    thread::Builder::new().name("sync".into()).spawn(sync)?;
    Ok(outcome)
}
