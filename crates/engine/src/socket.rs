//! Unix sockets in directories whose path is longer than a socket address can hold (108 bytes).

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::OpenOptionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixStream;

/// A directory held open, through which its sockets have short addresses.
#[derive(Debug)]
pub(crate) struct SocketDirectory {
    directory: File,
}

impl SocketDirectory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = i32::try_from(rustix::fs::OFlags::DIRECTORY.bits()).unwrap_or(0);
        Ok(Self { directory: std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)? })
    }

    fn address(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.directory.as_raw_fd()))
    }

    /// Makes a listening socket; connections succeed from now on and wait in its backlog. One that an earlier attempt
    /// in this directory left behind is replaced.
    pub(crate) fn listen(&self, name: &str) -> io::Result<OwnedFd> {
        match rustix::fs::unlinkat(&self.directory, name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let listener = UnixListener::bind(self.address(name))?;
        // The VMM's main loop does the waiting.
        listener.set_nonblocking(true)?;
        Ok(listener.into())
    }

    /// Connects to a listening socket.
    pub(crate) async fn connect(&self, name: &str) -> io::Result<UnixStream> {
        UnixStream::connect(self.address(name)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_path_of_two_hundred_characters_does() {
        let home = tempfile::tempdir().unwrap();
        let long = home.path().join("d".repeat(200));
        std::fs::create_dir(&long).unwrap();
        let sockets = SocketDirectory::open(&long).unwrap();
        let listener = sockets.listen("a.sock").unwrap();
        let mut stream = sockets.connect("a.sock").await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert!(long.join("a.sock").exists());
        let (_accepted, _) = UnixListener::from(listener).accept().unwrap();
    }
}
