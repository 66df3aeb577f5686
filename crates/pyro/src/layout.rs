//! Every path on disk that this crate itself uses. What the library keeps is in its own layout.

use std::path::PathBuf;

use pyro_api::SocketPath;

use crate::settings::Settings;

impl Settings {
    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> SocketPath {
        SocketPath::new(&self.runtime, "daemon.sock")
    }

    /// Held by the daemon for its whole life.
    pub(crate) fn life_lock(&self) -> PathBuf {
        self.state.join("daemon.lock")
    }

    /// Held by a client while it starts a daemon, and by a daemon while it ends for want of work.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.state.join("daemon.start.lock")
    }

    /// What the daemon says; the part before is in a second file that ends in `.1`.
    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("daemon.log")
    }
}

/// Makes a directory, and those above it, that only its owner may enter.
pub(crate) fn make_private(directory: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mode = std::fs::metadata(directory)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
