//! The socket on which the daemon listens: bound, looked after, and given up without losing anybody.

use std::{
    io,
    os::unix::{fs::MetadataExt as _, net},
};

use pyro_api::SocketPath;
use rustix::net::Shutdown;
use tokio::net::{UnixListener, UnixStream};

use crate::layout::make_private;

/// A bound socket. The caller holds the daemon's life lock, so that nobody else binds or removes it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: SocketPath,
    listener: UnixListener,
    identity: (u64, u64),
}

impl Listener {
    /// Makes the runtime directory if it is not there and listens in it.
    pub(crate) fn bind(socket: &SocketPath) -> io::Result<Self> {
        make_private(socket.directory())?;
        let listener = socket.listen()?;
        listener.set_nonblocking(true)?;
        let identity = identity(socket)?;
        Ok(Self { socket: socket.clone(), listener: UnixListener::from_std(listener)?, identity })
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Whether clients still find this socket: somebody may have cleared the runtime directory.
    pub(crate) fn is_in_place(&self) -> bool {
        identity(&self.socket).is_ok_and(|identity| identity == self.identity)
    }

    /// Stops listening. Returned are those who had connected by then; whoever comes later is refused, finds
    /// nobody listening and starts a daemon. There is nothing between: the kernel refuses connections to a
    /// shut down listener under the same lock under which it queues them.
    pub(crate) fn retire(self) -> io::Result<Vec<UnixStream>> {
        if self.is_in_place() {
            std::fs::remove_file(self.socket.path())?;
        }
        let listener: net::UnixListener = self.listener.into_std()?;
        rustix::net::shutdown(&listener, Shutdown::Both)?;
        let mut connected = Vec::new();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    connected.push(UnixStream::from_std(stream)?);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The queue is empty, and stays so.
                Err(_) => return Ok(connected),
            }
        }
    }
}

fn identity(socket: &SocketPath) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(socket.path()).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_connected_in_time_is_kept_and_who_comes_later_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let socket = SocketPath::new(directory.path(), "daemon.sock");
        let listener = Listener::bind(&socket).unwrap();
        let in_time = [socket.connect().unwrap(), socket.connect().unwrap()];
        // Found the socket, but connects after it was given up: what a slow client looks like.
        let still_open = std::fs::hard_link(socket.path(), directory.path().join("late.sock"));
        let connected = listener.retire().unwrap();
        assert_eq!(connected.len(), in_time.len());
        assert_eq!(socket.connect().unwrap_err().kind(), io::ErrorKind::NotFound);
        if still_open.is_ok() {
            let late = SocketPath::new(directory.path(), "late.sock").connect();
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[tokio::test]
    async fn a_lost_runtime_directory_is_noticed_and_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let socket = SocketPath::new(directory.path().join("run"), "daemon.sock");
        let listener = Listener::bind(&socket).unwrap();
        assert!(listener.is_in_place());
        std::fs::remove_dir_all(socket.directory()).unwrap();
        assert!(!listener.is_in_place());
        let again = Listener::bind(&socket).unwrap();
        assert!(again.is_in_place());
        socket.connect().unwrap();
    }
}
