//! The engine's side of a launch.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::de::DeserializeOwned;
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Command,
};

use super::{
    Confinement, LAUNCH, Limits, Missing, device,
    wire::{self, Notice, Order},
};
use crate::{process::ProcessHandle, readiness};

/// A launch takes some 10 ms; one that takes this long hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The program that is re-executed to become a VMM: it calls [`intercept`](super::intercept) first in `main`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
}

/// Why nothing was launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The launcher program does not run.
    #[error("run the launcher {program:?}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The launcher could not be talked to.
    #[error("talk to the launcher")]
    Talk(#[source] io::Error),
    /// A step that is never left out failed inside the launcher.
    #[error("{step}")]
    Step {
        /// Which step.
        step: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A layer of the jail could not be set up although it could before on this host.
    #[error("keep the {} of earlier machines: {}", missing.layer, missing.reason)]
    Weaker {
        /// The layer, and why.
        missing: Missing,
    },
    /// The launcher ended without a word.
    #[error("the launcher ended early")]
    Ended,
    /// The launcher hung.
    #[error("the launcher did not answer within {} s", TIMEOUT.as_secs())]
    Silent,
}

/// What is to be launched.
#[derive(Debug)]
pub(crate) struct Plan {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub files: Vec<PathBuf>,
    pub directories: Vec<PathBuf>,
    pub executables: Vec<PathBuf>,
    pub devices: Vec<PathBuf>,
    pub reopened: Vec<u32>,
    pub mount_point: PathBuf,
    pub user: Option<(u32, u32)>,
    pub limits: Limits,
    pub log: OwnedFd,
    pub descriptors: Vec<OwnedFd>,
}

impl Plan {
    /// What the launcher is told, and the descriptors that go with it.
    fn into_order(self) -> (Order, Vec<OwnedFd>) {
        let groups = match self.user {
            Some(_) => self.devices.iter().filter_map(|device| device::group(device)).collect(),
            None => Vec::new(),
        };
        let order = Order {
            program: Some(self.program),
            arguments: self.arguments,
            files: self.files,
            directories: self.directories,
            executables: self.executables,
            devices: self.devices,
            reopened: self.reopened,
            mount_point: self.mount_point,
            user: self.user,
            groups,
            limits: self.limits,
        };
        (order, std::iter::once(self.log).chain(self.descriptors).collect())
    }
}

/// A confined process that has not yet become its program. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Launching {
    socket: AsyncFd<OwnedFd>,
    pub process: ProcessHandle,
    pub confinement: Confinement,
}

impl Launcher {
    /// Starts the process up to the point where it waits for [`Launching::go`].
    pub(crate) async fn launch(&self, plan: Plan) -> Result<Launching, LaunchError> {
        let (order, descriptors) = plan.into_order();
        let (socket, process, confinement) = within(self.negotiate(&order, descriptors)).await?;
        Ok(Launching { socket, process, confinement })
    }

    async fn negotiate(
        &self,
        order: &Order,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(AsyncFd<OwnedFd>, ProcessHandle, Confinement), LaunchError> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|e| LaunchError::Talk(e.into()))?;
        rustix::io::ioctl_fionbio(&ours, true).map_err(|e| LaunchError::Talk(e.into()))?;
        let mut launcher = Command::new(&self.program)
            .arg(LAUNCH)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| LaunchError::Spawn { program: self.program.clone(), source })?;
        let socket = readiness::watch(ours).map_err(LaunchError::Talk)?;
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        wire::send(socket.get_ref(), order, &borrowed).map_err(LaunchError::Talk)?;

        let (process, early) = match notice(&socket).await? {
            Some((Notice::Started { pid }, mut pidfd)) => {
                let pidfd = pidfd.pop().ok_or(LaunchError::Ended)?;
                (ProcessHandle::new(pid, pidfd).map_err(LaunchError::Talk)?, None)
            }
            // Parent and child report independently: the child may have been first.
            Some((early @ Notice::Confined(_), _)) => match notice(&socket).await? {
                Some((Notice::Started { pid }, mut pidfd)) => {
                    let pidfd = pidfd.pop().ok_or(LaunchError::Ended)?;
                    (ProcessHandle::new(pid, pidfd).map_err(LaunchError::Talk)?, Some(early))
                }
                other => return Err(unexpected(other)),
            },
            other => return Err(unexpected(other)),
        };
        let confined = async {
            // Reaped here; the child is nobody's by then.
            launcher.wait().await.map_err(LaunchError::Talk)?;
            let confined = match early {
                Some(notice) => Some((notice, Vec::new())),
                None => notice(&socket).await?,
            };
            match confined {
                Some((Notice::Confined(confinement), _)) => Ok(confinement),
                other => Err(unexpected(other)),
            }
        };
        match confined.await {
            Ok(confinement) => Ok((socket, process, confinement)),
            Err(error) => Err(after_end(&process, error).await),
        }
    }
}

impl Launching {
    /// Lets the process become its program, and waits until it has. It still ends with its handle; see
    /// [`ProcessHandle::keep`].
    pub(crate) async fn go(self) -> Result<ProcessHandle, LaunchError> {
        let Self { socket, process, .. } = self;
        let gone = async {
            wire::send(socket.get_ref(), &(), &[]).map_err(LaunchError::Talk)?;
            match within(notice(&socket)).await? {
                // The socket closes on exec.
                None => Ok(()),
                other => Err(unexpected(other)),
            }
        };
        match gone.await {
            Ok(()) => Ok(process),
            Err(error) => Err(after_end(&process, error).await),
        }
    }
}

/// Ends a process that a failed launch leaves, and passes the failure on.
async fn after_end(process: &ProcessHandle, error: LaunchError) -> LaunchError {
    process.end().await.map_or_else(LaunchError::Talk, |()| error)
}

/// Reports what a jail on this host has and lacks, without running anything in it. `mount_point` is an
/// existing directory of the caller; nothing is left in it.
pub async fn probe(
    launcher: &Launcher,
    mount_point: &Path,
    user: Option<(u32, u32)>,
) -> Result<Confinement, LaunchError> {
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|e| LaunchError::Talk(e.into()))?;
    let order = Order {
        program: None,
        arguments: Vec::new(),
        files: Vec::new(),
        directories: Vec::new(),
        executables: Vec::new(),
        devices: Vec::new(),
        reopened: Vec::new(),
        mount_point: mount_point.to_owned(),
        user,
        groups: Vec::new(),
        limits: Limits { address_space_bytes: 1 << 30, file_size_bytes: 1 << 20, tasks: 16 },
    };
    let (_, process, confinement) = within(launcher.negotiate(&order, vec![null])).await?;
    process.gone().await;
    Ok(confinement)
}

/// Runs the launcher program for one of its other uses and returns what it prints; kills it after `timeout`.
pub(crate) async fn run_hidden(
    launcher: &Launcher,
    argument: &str,
    timeout: Duration,
) -> io::Result<Option<Vec<u8>>> {
    let child = Command::new(&launcher.program)
        .arg(OsString::from(argument))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    match tokio::time::timeout(timeout, child.wait_with_output()).await {
        Ok(output) => Ok(Some(output?.stdout)),
        Err(_) => Ok(None),
    }
}

pub(super) async fn within<T>(work: impl Future<Output = Result<T, LaunchError>>) -> Result<T, LaunchError> {
    tokio::time::timeout(TIMEOUT, work).await.unwrap_or(Err(LaunchError::Silent))
}

async fn notice(socket: &AsyncFd<OwnedFd>) -> Result<Option<(Notice, Vec<OwnedFd>)>, LaunchError> {
    receive(socket).await.map_err(LaunchError::Talk)
}

pub(super) async fn receive<T: DeserializeOwned>(
    socket: &AsyncFd<OwnedFd>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    socket.async_io(Interest::READABLE, |socket| wire::receive(socket)).await
}

fn unexpected(notice: Option<(Notice, Vec<OwnedFd>)>) -> LaunchError {
    match notice {
        Some((Notice::Failed { step, errno }, _)) => {
            LaunchError::Step { step, source: io::Error::from_raw_os_error(errno) }
        }
        _ => LaunchError::Ended,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_vmm_of_its_own_user_keeps_the_group_of_its_device() {
        let device = tempfile::NamedTempFile::new().unwrap();
        device.as_file().set_permissions(std::fs::Permissions::from_mode(0o660)).unwrap();
        let group = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(device.path(), None, Some(900_108)).unwrap();
            900_108
        } else {
            rustix::process::getegid().as_raw()
        };
        for (user, devices, expected) in [
            (Some((900_000, 900_000)), vec![device.path().to_owned()], vec![group]),
            (Some((900_000, 900_000)), vec![], vec![]),
            (None, vec![device.path().to_owned()], vec![]),
        ] {
            let plan = Plan {
                program: "/bin/true".into(),
                arguments: Vec::new(),
                files: Vec::new(),
                directories: Vec::new(),
                executables: Vec::new(),
                devices,
                reopened: Vec::new(),
                mount_point: "/".into(),
                user,
                limits: Limits { address_space_bytes: 0, file_size_bytes: 0, tasks: 0 },
                log: std::fs::File::open("/dev/null").unwrap().into(),
                descriptors: Vec::new(),
            };
            let (order, descriptors) = plan.into_order();
            assert_eq!(order.groups, expected, "{user:?}");
            assert_eq!(descriptors.len(), 1);
        }
    }
}
