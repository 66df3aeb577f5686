//! The daemon's socket. Its path may be longer than a socket address can hold (108 bytes), so sockets are always
//! reached through a descriptor of their directory: `/proc/self/fd/N/daemon.sock`.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// Where a daemon listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketPath {
    directory: PathBuf,
    name: String,
}

impl SocketPath {
    /// A socket of that name in that directory. The name must be a short plain file name.
    pub fn new(directory: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self { directory: directory.into(), name: name.into() }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The whole path, for people and for `stat`; possibly too long for a socket address.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Connects. `NotFound` and `ConnectionRefused` mean that no daemon listens.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let directory = self.open_directory()?;
        UnixStream::connect(self.short_path(&directory))
    }

    /// Listens; the socket has mode 0600 from the start, provided that its directory lets nobody else in.
    /// The caller has made sure that no daemon lives, so a socket that is there is stale and replaced.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let directory = self.open_directory()?;
        match rustix::fs::unlinkat(&directory, self.name.as_str(), rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let listener = UnixListener::bind(self.short_path(&directory))?;
        rustix::fs::chmodat(
            &directory,
            self.name.as_str(),
            Mode::RUSR | Mode::WUSR,
            rustix::fs::AtFlags::empty(),
        )?;
        Ok(listener)
    }

    fn open_directory(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.directory, flags, Mode::empty())?)
    }

    fn short_path(&self, directory: &OwnedFd) -> PathBuf {
        Path::new("/proc/self/fd").join(directory.as_fd().as_raw_fd().to_string()).join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::fs::PermissionsExt,
    };

    use super::*;

    #[test]
    fn a_path_of_any_length_can_be_reached() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("d".repeat(200));
        std::fs::create_dir(&directory).unwrap();
        let socket = SocketPath::new(&directory, "daemon.sock");
        assert_eq!(socket.connect().unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = socket.listen().unwrap();
        let mode = std::fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut client = socket.connect().unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let socket = SocketPath::new(temporary.path(), "daemon.sock");
        drop(socket.listen().unwrap());
        assert_eq!(socket.connect().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = socket.listen().unwrap();
        socket.connect().unwrap();
    }
}
