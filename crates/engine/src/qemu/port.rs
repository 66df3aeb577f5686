//! The host's end of the port that the guest's agent has.
//!
//! While a machine stands still its port has no ear for the connection, so it is not told that a host left, though QEMU's socket
//! knows. If the machine goes on before the next one has come, what the guest says into the void is stuck in QEMU, which waits for room in a connection that is gone,
//! and with it all that the guest says later. So a machine goes on only when somebody is there.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::net::UnixStream;

use super::{command_line::AGENT_CHARDEV, descriptors::AGENT};
use crate::{
    qmp::{Command, Qmp, QmpError},
    socket::SocketDirectory,
};

/// How often QEMU is asked at most whether it has taken up a connection: it does so between two answers.
const QUESTIONS: u32 = 1000;

/// The port of one machine.
#[derive(Debug)]
pub(super) struct AgentPort {
    sockets: Arc<SocketDirectory>,
    /// Was made before anybody asked for one, and is the next one's.
    kept: Mutex<Option<UnixStream>>,
}

impl AgentPort {
    pub(super) fn new(sockets: Arc<SocketDirectory>) -> Self {
        Self { sockets, kept: Mutex::default() }
    }

    pub(super) async fn connect(&self) -> io::Result<UnixStream> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match kept {
            Some(stream) => Ok(stream),
            None => self.sockets.connect(AGENT).await,
        }
    }

    /// Sees to it that somebody is connected. To be called before a machine goes on.
    pub(super) async fn be_there(&self, control: &Qmp) -> Result<(), QmpError> {
        if is_connected(control).await? {
            return Ok(());
        }
        let Ok(stream) = self.sockets.connect(AGENT).await else {
            return Err(QmpError::Ended);
        };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        for _ in 0..QUESTIONS {
            if is_connected(control).await? {
                return Ok(());
            }
        }
        Err(QmpError::Silent)
    }
}

async fn is_connected(control: &Qmp) -> Result<bool, QmpError> {
    let devices = control.execute(Command::QueryChardev {}).await?;
    is_connected_in(&devices).ok_or(QmpError::Strange { lacks: "the port of the agent" })
}

fn is_connected_in(devices: &Value) -> Option<bool> {
    let mut devices = devices.as_array()?.iter();
    let port = devices.find(|device| device.get("label").and_then(Value::as_str) == Some(AGENT_CHARDEV))?;
    Some(!port.get("filename")?.as_str()?.starts_with("disconnected:"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn qemu_tells_by_the_name_whether_somebody_is_connected() {
        let devices = |name: &str| {
            json!([
                { "label": "control", "filename": "unix:/proc/self/fd/7/control.sock,server=on", "frontend-open": true },
                { "label": "agent", "filename": name, "frontend-open": true },
            ])
        };
        let name = "unix:/proc/self/fd/7/agent.sock,server=on";
        assert_eq!(is_connected_in(&devices(name)), Some(true));
        assert_eq!(is_connected_in(&devices(&format!("disconnected:{name}"))), Some(false));
        assert_eq!(is_connected_in(&json!([])), None);
    }
}
