//! Opens files of a VMM's directory in `/proc` as the VMM's own user, who may: root may not always, since some hosts keep its
//! right to look into other processes from it (`CAP_SYS_PTRACE`, in containers).
//!
//! The launcher program is executed once more, takes the user id, opens the files and sends them back.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::{
    LaunchError, Launcher, OPEN,
    spawn::{receive, within},
    wire,
};
use crate::{guest_memory::open_here, readiness};

/// What is to be opened, and as whom.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    pid: u32,
    user: u32,
    names: Vec<String>,
}

/// What came of it; the files come with it.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Opened,
    Failed { errno: i32 },
}

/// The engine's side. Takes as long as it takes to start a program.
pub(crate) async fn open_as_user(
    launcher: &Launcher,
    pid: u32,
    user: u32,
    names: &[String],
) -> Result<Vec<OwnedFd>, LaunchError> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| LaunchError::Talk(e.into()))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|e| LaunchError::Talk(e.into()))?;
    let mut opener = Command::new(&launcher.program)
        .arg(OPEN)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| LaunchError::Spawn { program: launcher.program.clone(), source })?;
    let socket = readiness::watch(ours).map_err(LaunchError::Talk)?;
    let order = Order { pid, user, names: names.to_vec() };
    wire::send(socket.get_ref(), &order, &[]).map_err(LaunchError::Talk)?;
    let outcome = async {
        let outcome = receive::<Outcome>(&socket).await.map_err(LaunchError::Talk)?;
        opener.wait().await.map_err(LaunchError::Talk)?;
        Ok(outcome)
    };
    match within(outcome).await? {
        Some((Outcome::Opened, files)) if files.len() == names.len() => Ok(files),
        Some((Outcome::Failed { errno }, _)) => Err(LaunchError::Step {
            step: "open the machine's memory".to_owned(),
            source: io::Error::from_raw_os_error(errno),
        }),
        _ => Err(LaunchError::Ended),
    }
}

/// The opener's side; returns its exit code.
pub(super) fn open_for_engine() -> i32 {
    let socket = std::io::stdin();
    let Ok(Some((order, _))) = wire::receive::<Order>(&socket) else { return 2 };
    let (outcome, files) = match become_user(order.user).and_then(|()| open_here(order.pid, &order.names)) {
        Ok(files) => (Outcome::Opened, files),
        Err(error) => (Outcome::Failed { errno: error.raw_os_error().unwrap_or(0) }, Vec::new()),
    };
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    i32::from(wire::send(&socket, &outcome, &files).is_err())
}

fn become_user(user: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    if uid.is_root() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}
