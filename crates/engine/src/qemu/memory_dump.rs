//! A full save: the memory of a machine whose process this host does not let be read, as its VMM writes it out.
//!
//! All of it passes through a socket, page by page, while the machine stands still: 1 to 3 s for each GiB.

use std::{
    io::{self, Read},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::capture::refused;
use crate::{
    EngineError, core_file,
    memory_delta::Written,
    new_file::NewFile,
    qmp::{Command, Qmp, QmpError},
};

/// What QEMU calls the socket.
const NAME: &str = "memory";
/// A VMM that writes nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// One that is slower than this too; a busy host saw 310 MiB a second.
const LEAST_BYTES_A_SECOND: u64 = 10 << 20;

/// What a VMM writes, as long as it does not take too long.
struct Timely {
    stream: UnixStream,
    end: Instant,
}

impl Timely {
    fn new(stream: UnixStream, bytes: u64) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let end = Instant::now() + PATIENCE + Duration::from_secs(bytes / LEAST_BYTES_A_SECOND);
        Ok(Self { stream, end })
    }
}

impl Read for Timely {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // What the system calls a time that is over, of a socket.
        self.stream.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })
    }
}

/// Has QEMU write the memory of its machine, which stands still, into a delta with every page of it.
pub(super) async fn write_delta(
    control: &Qmp,
    memory_bytes: u64,
    file: &NewFile,
    pid: u32,
) -> Result<Written, EngineError> {
    let unreadable = move |source| EngineError::MemoryUnreadable { pid, source };
    let (ours, theirs) = UnixStream::pair().map_err(unreadable)?;
    let ours = Timely::new(ours, memory_bytes).map_err(unreadable)?;
    control.execute_with(Command::GetFd { fdname: NAME }, &[theirs.as_fd()]).await.map_err(refused)?;
    // The end of what QEMU writes is the end of the stream.
    drop(theirs);
    let (path, memory) = (file.path.clone(), file.share()?);
    let reading = tokio::task::spawn_blocking(move || {
        core_file::write_delta(ours, memory_bytes, memory).map_err(|error| error.of(pid, &path))
    });
    // In a thread of QEMU's own, so that it goes on answering.
    let dump = Command::DumpGuestMemory { paging: false, protocol: format!("fd:{NAME}"), detach: true };
    let begun = control.execute(dump).await;
    if begun.is_err() {
        // Nobody else ends the stream.
        drop(control.execute(Command::CloseFd { fdname: NAME }).await);
    }
    let written = reading.await.unwrap_or_else(|e| Err(unreadable(io::Error::other(e))));
    match begun {
        // Also when nobody reads any more: until it has noticed, it lets the machine not go on.
        Ok(_) => wait_for_end(control).await.map_err(refused)?,
        Err(QmpError::Refused { description, .. }) => return Err(unreadable(io::Error::other(description))),
        Err(error) => return Err(refused(error)),
    }
    written
}

/// Waits until QEMU writes no memory any more; before that, its machine cannot go on.
pub(super) async fn wait_for_end(control: &Qmp) -> Result<(), QmpError> {
    let mut events = control.events();
    let ended = async {
        loop {
            let dump = control.execute(Command::QueryDump {}).await?;
            if dump.get("status").and_then(Value::as_str) != Some("active") {
                return Ok(());
            }
            // That it has ended is one.
            if events.recv().await == Err(RecvError::Closed) {
                return Err(QmpError::Ended);
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap_or(Err(QmpError::Silent))
}
