//! From a request to a running program: checks every part of it, then forks and executes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use pyro_protocol::message::{Builtin, Overflow, Start, Stdin};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getegid, geteuid, getrlimit, setrlimit, setsid};
use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_groups, set_thread_uid};

use super::account::Account;
use super::builtin::FileWorker;
use super::confinement::{Confinement, Confiner};
use super::program::{self, Missing};
use crate::kernel;
use crate::worker::DISK_DESCRIPTOR;

/// Where programs are looked up when the host names no PATH.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_ID_BYTES: usize = 64;
const ORDINARY_OPEN_FILES: u64 = 1024;

/// What becomes of those that a process leaves behind when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They are killed, so that its output ends: what an exec wants.
    Kill,
    /// They live on until the host signals the confinement: what a service manager wants.
    Keep,
}

/// A process to be started, checked.
#[derive(Debug)]
pub struct Launch {
    /// Id chosen by the host.
    pub id: String,
    /// Killed after so long.
    pub timeout: Option<Duration>,
    /// What a full spool does.
    pub overflow: Overflow,
    /// Capacity of each spool; 0 is the default.
    pub spool_bytes: u64,
    /// What becomes of its children.
    pub leftovers: Leftovers,
    argv: Vec<OsString>,
    program: PathBuf,
    directory: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    account: Account,
    stdin: Stdin,
    max_tasks: u32,
    /// It serves the session in which it was started and no other.
    pub is_worker: bool,
    /// What the program gets as [`DISK_DESCRIPTOR`].
    disk: Option<OwnedFd>,
}

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A part of the request that makes no sense.
    #[error("start a process with {0}")]
    Invalid(&'static str),
    /// A program that this agent does not bring.
    #[error("start a program of its own that the agent does not have")]
    NoBuiltin,
    /// No such account.
    #[error("find the account {0:?}")]
    UnknownUser(String),
    /// Not there, or not a directory, or closed to the account.
    #[error("enter the directory {}", .0.display())]
    BadDirectory(PathBuf, #[source] io::Error),
    /// No such program, or its interpreter is missing.
    #[error("find the program {}", .0.display())]
    ProgramNotFound(PathBuf),
    /// A file that cannot be executed.
    #[error("execute the program {}", .0.display())]
    ProgramNotExecutable(PathBuf),
    /// The kernel gives no more: tasks, memory, pipes, control groups.
    #[error("{operation}")]
    Exhausted {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A program that has just begun to run.
#[derive(Debug)]
pub struct Launched {
    /// Its process id, which is its session's and group's too.
    pub pid: Pid,
    /// What holds it and its children together.
    pub confinement: Confinement,
    /// Write end of its standard input, if it reads a stream.
    pub stdin: Option<OwnedFd>,
    /// Read end of its standard output.
    pub stdout: OwnedFd,
    /// Read end of its standard error.
    pub stderr: OwnedFd,
}

impl Launch {
    /// Checks a request. `file_worker` is what the agent brings.
    ///
    /// # Errors
    /// What is wrong with it; nothing was started or changed.
    pub fn check(start: Start, file_worker: Option<&FileWorker>) -> Result<Self, LaunchError> {
        let id_is_plain = start.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if start.id.is_empty() || start.id.len() > MAX_ID_BYTES || !id_is_plain {
            return Err(LaunchError::Invalid("an id other than 1 to 64 of [A-Za-z0-9._-]"));
        }
        let own_program = own_program(&start, file_worker)?;
        if own_program.is_none() && start.argv.is_empty() {
            return Err(LaunchError::Invalid("an empty argv"));
        }
        if start.argv.iter().chain([&start.cwd]).any(|argument| argument.contains(&0)) {
            return Err(LaunchError::Invalid("a zero byte in an argument or directory"));
        }
        let stdin =
            Stdin::try_from(start.stdin).map_err(|_| LaunchError::Invalid("an unknown kind of stdin"))?;
        let overflow = Overflow::try_from(start.overflow)
            .map_err(|_| LaunchError::Invalid("an unknown kind of overflow"))?;
        let account =
            Account::find(&start.user).ok_or_else(|| LaunchError::UnknownUser(start.user.clone()))?;
        let directory = checked_directory(&start.cwd)?;
        let environment = environment(&account, &start)?;
        let (program, argv, disk) = match own_program {
            Some((program, disk)) => (program, FileWorker::arguments(), Some(disk)),
            None => {
                let program = find_program(&start, &environment, &directory)?;
                (program, start.argv.into_iter().map(OsString::from_vec).collect(), None)
            }
        };
        Ok(Self {
            id: start.id,
            timeout: (start.timeout_ms > 0).then(|| Duration::from_millis(start.timeout_ms)),
            overflow,
            spool_bytes: start.spool_bytes,
            leftovers: Leftovers::Kill,
            argv,
            program,
            directory,
            environment,
            account,
            stdin,
            max_tasks: start.max_tasks,
            is_worker: disk.is_some(),
            disk,
        })
    }

    /// Starts it.
    ///
    /// # Errors
    /// Why it does not run; nothing is left behind.
    pub fn run(&self, confiner: &mut Confiner) -> Result<Launched, LaunchError> {
        let exhausted = |operation| move |source| LaunchError::Exhausted { operation, source };
        let confinement = confiner.confine(self.max_tasks).map_err(exhausted("make a control group"))?;
        match self.run_in(&confinement) {
            Ok((pid, stdin, stdout, stderr)) => Ok(Launched { pid, confinement, stdin, stdout, stderr }),
            Err(error) => {
                confinement.dissolve();
                Err(error)
            }
        }
    }

    fn run_in(
        &self,
        confinement: &Confinement,
    ) -> Result<(Pid, Option<OwnedFd>, OwnedFd, OwnedFd), LaunchError> {
        let entrance = confinement
            .entrance()
            .map_err(|source| LaunchError::Exhausted { operation: "open a control group", source })?;
        let mut command = self.command();
        let disk = self.disk.as_ref().map(OwnedFd::try_clone).transpose();
        let disk = disk.map_err(|source| LaunchError::Exhausted { operation: "share the disk", source })?;
        let child_steps = ChildSteps { entrance: entrance.map(OwnedFd::from), disk, ..ChildSteps::of(self) };
        kernel::before_exec(&mut command, move || child_steps.take());
        let mut child = command.spawn().map_err(|error| self.explain(error))?;
        let no_child =
            || LaunchError::Exhausted { operation: "start a process", source: io::ErrorKind::Other.into() };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(no_child)?;
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = child.stdout.take().map(OwnedFd::from).ok_or_else(no_child)?;
        let stderr = child.stderr.take().map(OwnedFd::from).ok_or_else(no_child)?;
        Ok((pid, stdin, stdout, stderr))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let [name, arguments @ ..] = self.argv.as_slice() {
            command.arg0(name).args(arguments);
        }
        command.env_clear().envs(&self.environment).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match self.stdin {
            Stdin::Null => Stdio::null(),
            Stdin::Stream => Stdio::piped(),
        });
        command
    }

    /// What an error of fork, of a step in the child, or of exec means.
    fn explain(&self, error: io::Error) -> LaunchError {
        let name = || self.argv.first().map(PathBuf::from).unwrap_or_default();
        let (step, cause) = Step::of_error(error);
        match (step, Errno::from_io_error(&cause).unwrap_or(Errno::IO)) {
            (Some(Step::Directory), _) => LaunchError::BadDirectory(self.directory.clone(), cause),
            (Some(Step::Confine), _) => {
                LaunchError::Exhausted { operation: "enter the control group", source: cause }
            }
            (Some(Step::Disk), _) => LaunchError::Exhausted { operation: "share the disk", source: cause },
            (Some(Step::Account), _) => {
                LaunchError::Exhausted { operation: "become the account", source: cause }
            }
            (None, Errno::NOENT) => LaunchError::ProgramNotFound(name()),
            // Closed to the account, busy, of no known format, or with an interpreter that is none.
            (
                None,
                Errno::ACCESS
                | Errno::PERM
                | Errno::TXTBSY
                | Errno::NOEXEC
                | Errno::LIBBAD
                | Errno::LOOP
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::INVAL,
            ) => LaunchError::ProgramNotExecutable(name()),
            (None, Errno::TOOBIG) => {
                LaunchError::Invalid("more arguments and environment than the kernel takes")
            }
            (None, _) => LaunchError::Exhausted { operation: "start a process", source: cause },
        }
    }
}

/// What the agent brings, if that is asked for: the program's file and its descriptor of the disk.
fn own_program(
    start: &Start,
    file_worker: Option<&FileWorker>,
) -> Result<Option<(PathBuf, OwnedFd)>, LaunchError> {
    match Builtin::try_from(start.builtin) {
        Ok(Builtin::None) => return Ok(None),
        Ok(Builtin::FileWorker) => {}
        Err(_) => return Err(LaunchError::NoBuiltin),
    }
    if !start.argv.is_empty() || !start.cwd.is_empty() || !start.user.is_empty() {
        return Err(LaunchError::Invalid(
            "arguments, a directory or an account for a program of the agent's own",
        ));
    }
    let file_worker = file_worker.ok_or(LaunchError::NoBuiltin)?;
    let disk = file_worker.disk();
    let disk = disk.map_err(|source| LaunchError::Exhausted { operation: "share the disk", source })?;
    Ok(Some((file_worker.program(), disk)))
}

fn find_program(
    start: &Start,
    environment: &BTreeMap<OsString, OsString>,
    directory: &Path,
) -> Result<PathBuf, LaunchError> {
    let name = start.argv.first().map(Vec::as_slice).unwrap_or_default();
    let path = environment.get(OsStr::new("PATH")).map_or(&[][..], |path| path.as_bytes());
    program::find(name, path, directory).map_err(|missing| {
        let name = PathBuf::from(OsStr::from_bytes(name));
        match missing {
            Missing::NotFound => LaunchError::ProgramNotFound(name),
            Missing::NotExecutable => LaunchError::ProgramNotExecutable(name),
        }
    })
}

fn checked_directory(cwd: &[u8]) -> Result<PathBuf, LaunchError> {
    let directory = PathBuf::from(OsStr::from_bytes(if cwd.is_empty() { b"/" } else { cwd }));
    if !directory.is_absolute() {
        return Err(LaunchError::Invalid("a relative working directory"));
    }
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(directory),
        Ok(_) => Err(LaunchError::BadDirectory(directory, io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(LaunchError::BadDirectory(directory, error)),
    }
}

fn environment(account: &Account, start: &Start) -> Result<BTreeMap<OsString, OsString>, LaunchError> {
    let defaults: [(&str, &[u8]); 7] = [
        ("PATH", DEFAULT_PATH),
        ("HOME", account.home.as_bytes()),
        ("USER", account.name.as_bytes()),
        ("LOGNAME", account.name.as_bytes()),
        ("SHELL", account.shell.as_bytes()),
        ("LANG", b"C.UTF-8"),
        ("TERM", b"dumb"),
    ];
    let mut environment: BTreeMap<OsString, OsString> =
        defaults.into_iter().map(|(name, value)| (name.into(), OsStr::from_bytes(value).into())).collect();
    for variable in &start.env {
        let name_is_odd =
            variable.name.is_empty() || variable.name.iter().any(|byte| matches!(byte, b'=' | 0));
        if name_is_odd || variable.value.contains(&0) {
            return Err(LaunchError::Invalid(
                "an environment variable with an empty name, a `=` in it, or a zero byte",
            ));
        }
        environment
            .insert(OsString::from_vec(variable.name.clone()), OsString::from_vec(variable.value.clone()));
    }
    Ok(environment)
}

/// What the child does between fork and exec: system calls only, on values made before the fork.
struct ChildSteps {
    entrance: Option<OwnedFd>,
    /// Becomes [`DISK_DESCRIPTOR`]. That number is not the standard library's own in the child: [`Launch::disk`] held it,
    /// or somebody before it did, when the child was made.
    disk: Option<OwnedFd>,
    /// None when the account is the agent's own already.
    account: Option<(Vec<Gid>, Gid, Uid)>,
    directory: std::ffi::CString,
    open_files: Rlimit,
}

/// A step that can fail in the child. The standard library brings one error number back to the parent, so the step
/// is written above the bits that error numbers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Confine = 1,
    Account = 2,
    Directory = 3,
    Disk = 4,
}

impl Step {
    const SHIFT: u32 = 16;

    fn failed(self, error: rustix::io::Errno) -> io::Error {
        io::Error::from_raw_os_error(((self as i32) << Self::SHIFT) | error.raw_os_error())
    }

    /// The step, none for fork and exec themselves, and the error with its own number.
    fn of_error(error: io::Error) -> (Option<Self>, io::Error) {
        let Some(number) = error.raw_os_error() else { return (None, error) };
        let step = match number >> Self::SHIFT {
            1 => Some(Self::Confine),
            2 => Some(Self::Account),
            3 => Some(Self::Directory),
            4 => Some(Self::Disk),
            _ => None,
        };
        (step, io::Error::from_raw_os_error(number & 0xffff))
    }
}

impl ChildSteps {
    fn of(launch: &Launch) -> Self {
        let account = &launch.account;
        let agent = Agent::get();
        let groups = account.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        let ids = (groups, Gid::from_raw(account.gid), Uid::from_raw(account.uid));
        let directory = launch.directory.as_os_str().as_bytes().to_vec();
        // Checked for zero bytes before; an empty path would fail to be entered, not be skipped.
        let directory = std::ffi::CString::new(directory).unwrap_or_default();
        let account = (!agent.is(account)).then_some(ids);
        Self { entrance: None, disk: None, account, directory, open_files: agent.ordinary_open_files }
    }

    fn take(&self) -> io::Result<()> {
        if let Some(entrance) = &self.entrance {
            rustix::io::write(entrance, b"0").map_err(|error| Step::Confine.failed(error))?;
        }
        setsid().map_err(|error| Step::Confine.failed(error))?;
        // The agent may open many files; its children are ordinary. A refusal changes nothing.
        let _unchanged = setrlimit(Resource::Nofile, self.open_files);
        if let Some((groups, gid, uid)) = &self.account {
            let become_account = || {
                set_thread_groups(groups)
                    .and_then(|()| set_thread_gid(*gid))
                    .and_then(|()| set_thread_uid(*uid))
            };
            become_account().map_err(|error| Step::Account.failed(error))?;
        }
        rustix::process::chdir(&*self.directory).map_err(|error| Step::Directory.failed(error))?;
        if let Some(disk) = &self.disk {
            kernel::place_at(disk.as_fd(), DISK_DESCRIPTOR).map_err(|error| Step::Disk.failed(error))?;
        }
        Ok(())
    }
}

/// What children inherit from the agent, asked for once: it does not change while the agent serves.
struct Agent {
    uid: u32,
    gid: u32,
    /// Supplementary groups, sorted.
    groups: Vec<u32>,
    /// What programs expect, up to what the agent may have.
    ordinary_open_files: Rlimit,
}

impl Agent {
    fn get() -> &'static Self {
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

    fn start(argv: &[&str]) -> Start {
        let argv = argv.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        Start { id: "a".into(), argv, ..Start::default() }
    }

    #[test]
    fn a_request_without_sense_is_refused_before_anything_is_started() {
        let refused = |start: Start| matches!(Launch::check(start, None), Err(LaunchError::Invalid(_)));
        assert!(refused(start(&[])));
        assert!(refused(start(&["true", "a\0b"])));
        assert!(refused(Start { id: String::new(), ..start(&["true"]) }));
        assert!(refused(Start { id: "../x".into(), ..start(&["true"]) }));
        assert!(refused(Start { cwd: b"tmp".to_vec(), ..start(&["true"]) }));
        assert!(refused(Start { stdin: 9, ..start(&["true"]) }));
        assert!(refused(Start { overflow: 9, ..start(&["true"]) }));
    }

    #[test]
    fn the_hosts_variables_replace_the_defaults() {
        let account = Account::find("").unwrap();
        let variable = |name: &str, value: &str| pyro_protocol::message::Variable {
            name: name.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
        };
        let start = Start { env: vec![variable("TERM", "xterm"), variable("A", "")], ..start(&["true"]) };
        let environment = environment(&account, &start).unwrap();
        assert_eq!(environment.get(OsStr::new("TERM")).unwrap(), "xterm");
        assert_eq!(environment.get(OsStr::new("A")).unwrap(), "");
        assert_eq!(environment.get(OsStr::new("LANG")).unwrap(), "C.UTF-8");
    }

    #[test]
    fn a_program_that_the_kernel_cannot_execute_is_told_from_a_kernel_that_gives_no_more() {
        let launch = Launch::check(start(&["true"]), None).unwrap();
        let explain = |error: Errno| launch.explain(error.into());
        for error in [Errno::NOEXEC, Errno::PERM, Errno::LOOP, Errno::NOTDIR, Errno::INVAL, Errno::ISDIR] {
            assert!(matches!(explain(error), LaunchError::ProgramNotExecutable(_)), "{error}");
        }
        for error in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE] {
            assert!(matches!(explain(error), LaunchError::Exhausted { .. }), "{error}");
        }
        assert!(matches!(explain(Errno::NOENT), LaunchError::ProgramNotFound(_)));
    }

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
    fn a_step_survives_the_trip_through_an_error_number() {
        let (step, error) = Step::of_error(Step::Directory.failed(rustix::io::Errno::ACCESS));
        assert_eq!((step, error.kind()), (Some(Step::Directory), io::ErrorKind::PermissionDenied));
        let (step, error) = Step::of_error(io::Error::from_raw_os_error(2));
        assert_eq!((step, error.kind()), (None, io::ErrorKind::NotFound));
    }
}
