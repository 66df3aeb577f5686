//! The daemon's own API with as little around it as can be: bytes over its socket, one connection for each request, as the
//! daemon wants it.

use std::io::{Read, Write};

use anyhow::{Context, ensure};
use pyro_api::{API_VERSION, Operation, SocketPath, VERSION_HEADER};
use serde::Deserialize;

use crate::cli::Pyro;

/// Where the daemon listens.
#[derive(Debug)]
pub(crate) struct Api {
    socket: SocketPath,
}

/// What is needed of `daemon status --json`.
#[derive(Deserialize)]
struct DaemonStatus {
    socket: std::path::PathBuf,
}

impl Api {
    /// That of the daemon that runs.
    pub(crate) fn of(pyro: &Pyro) -> anyhow::Result<Self> {
        let (_, output) = pyro.timed(&["daemon", "status", "--json"])?;
        let DaemonStatus { socket } = serde_json::from_slice(&output.stdout)?;
        let (directory, name) =
            socket.parent().zip(socket.file_name()).context("a socket without a place")?;
        let name = name.to_str().context("a socket whose name is no text")?;
        Ok(Self { socket: SocketPath::new(directory, name) })
    }

    /// Asks a unary operation and takes the whole answer, which is not looked into.
    pub(crate) fn ask(&self, operation: &Operation, body: &str) -> anyhow::Result<()> {
        let mut connection = self.socket.connect().context("connect to the daemon")?;
        let (path, length) = (operation.path, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: pyro\r\n{VERSION_HEADER}: {API_VERSION}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{} failed: {}",
            operation.name,
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }
}
