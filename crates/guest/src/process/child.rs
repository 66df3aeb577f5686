//! What a child does between the fork and its program. Everything for which files of the guest are looked at is done here
//! and not by the agent: a file system of a user's that does not answer holds up the one process that needs it.
//!
//! It is in its confinement before it looks at anything, so that it can be ended. Of itself it tells by a pipe: nothing, so that
//! the pipe ends, when its program runs; a [`Failed`] when that cannot be.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getegid, geteuid, getrlimit, setrlimit, setsid};
use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid};

use super::account::Account;
use super::launch::Launch;
use super::program::{self, Missing};
use crate::kernel;
use crate::worker::DISK_DESCRIPTOR;

const ORDINARY_OPEN_FILES: u64 = 1024;
/// Two numbers: where it failed, and why.
const REPORT_BYTES: usize = 8;

/// Where a child can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Confine = 1,
    FindAccount = 2,
    Directory = 3,
    FindProgram = 4,
    /// A file is there and is no program.
    NotExecutable = 5,
    BecomeAccount = 6,
    ShareDisk = 7,
    Execute = 8,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Confine,
        Self::FindAccount,
        Self::Directory,
        Self::FindProgram,
        Self::NotExecutable,
        Self::BecomeAccount,
        Self::ShareDisk,
        Self::Execute,
    ];

    fn failed<E: Into<io::Error>>(self) -> impl FnOnce(E) -> Failed {
        move |error| Failed { step: self, error: error.into() }
    }
}

/// Why there is no program.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) step: Step,
    pub(super) error: io::Error,
}

impl Failed {
    fn to_bytes(&self) -> [u8; REPORT_BYTES] {
        let numbers = [self.step as i32, self.error.raw_os_error().unwrap_or(0)];
        let mut bytes = [0; REPORT_BYTES];
        for (place, number) in bytes.chunks_mut(REPORT_BYTES / 2).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// What a child told of itself, read to its end; `None` when its program runs, or when it was killed before.
    pub(super) fn from_report(report: impl AsFd) -> Option<Self> {
        let mut bytes = [0; REPORT_BYTES];
        // What is so short is written and read as a whole.
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&report, &mut bytes)).ok()?;
        if count < REPORT_BYTES {
            return None;
        }
        let (step, error) = bytes.split_first_chunk::<{ REPORT_BYTES / 2 }>()?;
        let step = i32::from_le_bytes(*step);
        let step = Step::ALL.into_iter().find(|known| *known as i32 == step)?;
        let error = io::Error::from_raw_os_error(i32::from_le_bytes(error.try_into().ok()?));
        Some(Self { step, error })
    }
}

/// What a child has open.
pub(super) struct Ends {
    /// Where it enters its confinement by writing `0`.
    pub(super) entrance: Option<File>,
    /// `None` reads nothing.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Closed by the exec that succeeds.
    pub(super) report: File,
}

impl Ends {
    /// All that the child does: it becomes the program, or tells why it did not.
    pub(super) fn become_program(self, launch: &Launch, agent: &Agent) {
        let Self { entrance, stdin, stdout, stderr, mut report } = self;
        let stdin = stdin.map_or_else(Stdio::null, Stdio::from);
        let mut command = match prepare(entrance, launch, agent) {
            Ok(command) => command,
            Err(failed) => return drop(report.write_all(&failed.to_bytes())),
        };
        let error = command.stdin(stdin).stdout(stdout).stderr(stderr).exec();
        drop(report.write_all(&Step::Execute.failed()(error).to_bytes()));
    }
}

/// Everything up to the exec.
fn prepare(entrance: Option<File>, launch: &Launch, agent: &Agent) -> Result<Command, Failed> {
    if let Some(mut entrance) = entrance {
        entrance.write_all(b"0").map_err(Step::Confine.failed())?;
    }
    setsid().map_err(Step::Confine.failed())?;
    // The agent may open many files; its children are ordinary. A refusal changes nothing.
    let _unchanged = setrlimit(Resource::Nofile, agent.ordinary_open_files);
    let account = Account::find(&launch.user);
    let account = account.ok_or_else(|| Step::FindAccount.failed()(Errno::NOENT))?;
    if !launch.directory.metadata().map_err(Step::Directory.failed())?.is_dir() {
        return Err(Step::Directory.failed()(Errno::NOTDIR));
    }
    let environment = launch.environment(&account);
    let program = match &launch.builtin {
        Some((program, _disk)) => program.clone(),
        None => find_program(launch, &environment)?,
    };
    let mut command = Command::new(program);
    if let [name, arguments @ ..] = launch.argv.as_slice() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(environment);
    if !agent.is(&account) {
        become_account(&account).map_err(Step::BecomeAccount.failed())?;
    }
    rustix::process::chdir(&launch.directory).map_err(Step::Directory.failed())?;
    if let Some((_program, disk)) = &launch.builtin {
        // Nothing else has the number: the launch held it, or somebody before it did, when the other ends were made.
        kernel::place_at(disk.as_fd(), DISK_DESCRIPTOR).map_err(Step::ShareDisk.failed())?;
    }
    Ok(command)
}

fn find_program(launch: &Launch, environment: &BTreeMap<OsString, OsString>) -> Result<PathBuf, Failed> {
    let name = launch.argv.first().map(|name| name.as_bytes()).unwrap_or_default();
    let path = environment.get(OsStr::new("PATH")).map_or(&[][..], |path| path.as_bytes());
    program::find(name, path, &launch.directory).map_err(|missing| match missing {
        Missing::NotFound => Step::FindProgram.failed()(Errno::NOENT),
        Missing::NotExecutable => Step::NotExecutable.failed()(Errno::ACCESS),
    })
}

fn become_account(account: &Account) -> rustix::io::Result<()> {
    let groups: Vec<Gid> = account.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups)?;
    set_thread_gid(Gid::from_raw(account.gid))?;
    set_thread_uid(Uid::from_raw(account.uid))
}

/// What children inherit from the agent, asked for once: it does not change while the agent serves.
pub(super) struct Agent {
    uid: u32,
    gid: u32,
    /// Supplementary groups, sorted.
    groups: Vec<u32>,
    /// What programs expect, up to what the agent may have.
    ordinary_open_files: Rlimit,
}

impl Agent {
    pub(super) fn get() -> &'static Self {
        static AGENT: OnceLock<Agent> = OnceLock::new();
        AGENT.get_or_init(|| {
            let groups = rustix::process::getgroups().unwrap_or_default();
            let mut groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
            groups.sort_unstable();
            let maximum = getrlimit(Resource::Nofile).maximum;
            let ordinary_open_files = Rlimit { current: Some(ORDINARY_OPEN_FILES), maximum };
            Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups, ordinary_open_files }
        })
    }

    /// Whether a process of this account has nothing to change. One who is not root cannot change its groups either.
    fn is(&self, account: &Account) -> bool {
        let mut groups = account.groups.clone();
        groups.sort_unstable();
        let has_same_groups = self.gid == account.gid && self.groups == groups;
        self.uid == account.uid && (self.uid != 0 || has_same_groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agents_own_account_is_left_as_it_is() {
        let limit = Rlimit { current: None, maximum: None };
        let agent = Agent { uid: 0, gid: 0, groups: vec![0], ordinary_open_files: limit };
        let root = Account::find("").unwrap();
        assert!(agent.is(&Account { groups: vec![0], ..root.clone() }));
        assert!(!agent.is(&Account { groups: vec![0, 4], ..root.clone() }));
        assert!(!agent.is(&Account { uid: 7, groups: vec![0], ..root.clone() }));
        assert!(!Agent { groups: Vec::new(), ..agent }.is(&Account { groups: vec![0], ..root }));
    }

    #[test]
    fn a_failure_survives_the_trip_through_the_pipe() {
        for step in Step::ALL {
            let (report, mut theirs) = io::pipe().unwrap();
            theirs.write_all(&step.failed()(Errno::ACCESS).to_bytes()).unwrap();
            drop(theirs);
            let heard = Failed::from_report(&report).unwrap();
            assert_eq!((heard.step, heard.error.kind()), (step, io::ErrorKind::PermissionDenied));
            assert!(Failed::from_report(&report).is_none(), "where nothing is told it runs");
        }
    }
}
