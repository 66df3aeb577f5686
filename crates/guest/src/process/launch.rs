//! From a request to a running program: checks every part of it, then makes a [child](super::child) that becomes the program.
//! The check looks at no file: what only files tell, the child finds out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pyro_protocol::message::{Builtin, Overflow, Start, Stdin, Variable};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::account::Account;
use super::builtin::FileWorker;
use super::child::{Agent, Ends, Failed, Step};
use super::confinement::{Confinement, Confiner};
use crate::kernel;

/// Where programs are looked up when the host names no PATH.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const MAX_ID_BYTES: usize = 64;
/// How long the agent waits for a child to become its program before it goes on with other things: most need far less, and
/// one system call that waits is cheaper than coming back.
const PATIENCE: Duration = Duration::from_millis(50);

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
    /// Name and arguments.
    pub(super) argv: Vec<OsString>,
    pub(super) directory: PathBuf,
    /// Name or number of the account.
    pub(super) user: String,
    /// A program of the agent's own, and its descriptor of the disk.
    pub(super) builtin: Option<(PathBuf, OwnedFd)>,
    /// What the host sets in the environment.
    variables: Vec<Variable>,
    stdin: Stdin,
    max_tasks: u32,
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
    /// Where the child tells why it does not become the program; ends when it has.
    pub(super) report: OwnedFd,
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
        let builtin = own_program(&start, file_worker)?;
        if builtin.is_none() && start.argv.is_empty() {
            return Err(LaunchError::Invalid("an empty argv"));
        }
        if start.argv.iter().chain([&start.cwd]).any(|argument| argument.contains(&0)) {
            return Err(LaunchError::Invalid("a zero byte in an argument or directory"));
        }
        let stdin =
            Stdin::try_from(start.stdin).map_err(|_| LaunchError::Invalid("an unknown kind of stdin"))?;
        let overflow = Overflow::try_from(start.overflow)
            .map_err(|_| LaunchError::Invalid("an unknown kind of overflow"))?;
        let directory =
            PathBuf::from(OsStr::from_bytes(if start.cwd.is_empty() { b"/" } else { &start.cwd }));
        if !directory.is_absolute() {
            return Err(LaunchError::Invalid("a relative working directory"));
        }
        check_variables(&start.env)?;
        let argv = match &builtin {
            Some(_) => FileWorker::arguments(),
            None => start.argv.into_iter().map(OsString::from_vec).collect(),
        };
        Ok(Self {
            id: start.id,
            timeout: (start.timeout_ms > 0).then(|| Duration::from_millis(start.timeout_ms)),
            overflow,
            spool_bytes: start.spool_bytes,
            argv,
            directory,
            user: start.user,
            builtin,
            variables: start.env,
            stdin,
            max_tasks: start.max_tasks,
        })
    }

    /// Whether it serves the session in which it was started and no other.
    pub fn is_worker(&self) -> bool {
        self.builtin.is_some()
    }

    /// Whether it is a file worker of which nothing was asked but that it serves.
    pub(super) fn is_plain_worker(&self) -> bool {
        let is_plain = self.variables.is_empty() && self.timeout.is_none() && self.max_tasks == 0;
        self.is_worker() && is_plain && self.stdin == Stdin::Stream
    }

    /// Starts it. Whether it begins, [`Launch::hear`] tells.
    ///
    /// # Errors
    /// Why there is not even a child; nothing is left behind.
    pub fn run(&self, confiner: &mut Confiner) -> Result<Launched, LaunchError> {
        let exhausted = |operation| move |source| LaunchError::Exhausted { operation, source };
        let confinement = confiner.confine(self.max_tasks).map_err(exhausted("make a control group"))?;
        match self.run_in(&confinement) {
            Ok(child) => Ok(Launched {
                pid: child.pid,
                confinement,
                stdin: child.stdin,
                stdout: child.stdout,
                stderr: child.stderr,
                report: child.report,
            }),
            Err(source) => {
                confinement.dissolve();
                Err(LaunchError::Exhausted { operation: "start a process", source })
            }
        }
    }

    fn run_in(&self, confinement: &Confinement) -> io::Result<Child> {
        let entrance = confinement.entrance()?;
        let (their_stdin, stdin) = match self.stdin {
            Stdin::Null => (None, None),
            Stdin::Stream => {
                pipe_with(PipeFlags::CLOEXEC).map(|(theirs, ours)| (Some(theirs), Some(ours)))?
            }
        };
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let (report, their_report) = pipe_with(PipeFlags::CLOEXEC)?;
        let ends = Ends {
            entrance,
            stdin: their_stdin,
            stdout: their_stdout,
            stderr: their_stderr,
            report: their_report.into(),
        };
        let agent = Agent::get();
        let pid = kernel::fork(move || ends.become_program(self, agent))?;
        Ok(Child { pid, stdin, stdout, stderr, report })
    }

    /// Waits a little for a child to begin. None: it is not known yet; the report tells when it can be read.
    pub(super) fn hear(&self, report: &OwnedFd) -> Option<Result<(), LaunchError>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok()?;
            match poll(&mut [PollFd::new(report, PollFlags::IN)], Some(&left)) {
                Ok(0) => return None,
                Ok(_) => return Some(self.heard(report)),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// What a report says that can be read.
    pub(super) fn heard(&self, report: &OwnedFd) -> Result<(), LaunchError> {
        match Failed::from_report(report) {
            None => Ok(()),
            Some(failed) => Err(self.explain(failed)),
        }
    }

    /// The program's environment.
    pub(super) fn environment(&self, account: &Account) -> BTreeMap<OsString, OsString> {
        let defaults: [(&str, &[u8]); 7] = [
            ("PATH", DEFAULT_PATH),
            ("HOME", account.home.as_bytes()),
            ("USER", account.name.as_bytes()),
            ("LOGNAME", account.name.as_bytes()),
            ("SHELL", account.shell.as_bytes()),
            ("LANG", b"C.UTF-8"),
            ("TERM", b"dumb"),
        ];
        let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let defaults = defaults.into_iter().map(|(name, value)| (name.into(), text(value)));
        let given = self.variables.iter().map(|variable| (text(&variable.name), text(&variable.value)));
        defaults.chain(given).collect()
    }

    /// What the failure of a step in the child means.
    fn explain(&self, Failed { step, error }: Failed) -> LaunchError {
        let name = || self.argv.first().map(PathBuf::from).unwrap_or_default();
        let exhausted = |operation| move |source| LaunchError::Exhausted { operation, source };
        match (step, Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            (Step::FindAccount, _) => LaunchError::UnknownUser(self.user.clone()),
            (Step::Directory, _) => LaunchError::BadDirectory(self.directory.clone(), error),
            (Step::Confine, _) => exhausted("enter the control group")(error),
            (Step::ShareDisk, _) => exhausted("share the disk")(error),
            (Step::BecomeAccount, _) => exhausted("become the account")(error),
            (Step::FindProgram, _) | (Step::Execute, Errno::NOENT) => LaunchError::ProgramNotFound(name()),
            (Step::NotExecutable, _) => LaunchError::ProgramNotExecutable(name()),
            // Closed to the account, busy, of no known format, or with an interpreter that is none.
            (
                Step::Execute,
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
            (Step::Execute, Errno::TOOBIG) => {
                LaunchError::Invalid("more arguments and environment than the kernel takes")
            }
            (Step::Execute, _) => exhausted("start a process")(error),
        }
    }
}

/// The agent's side of a child.
struct Child {
    pid: Pid,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    report: OwnedFd,
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

fn check_variables(variables: &[Variable]) -> Result<(), LaunchError> {
    let is_odd = |variable: &Variable| {
        let name_is_odd =
            variable.name.is_empty() || variable.name.iter().any(|byte| matches!(byte, b'=' | 0));
        name_is_odd || variable.value.contains(&0)
    };
    if variables.iter().any(is_odd) {
        return Err(LaunchError::Invalid(
            "an environment variable with an empty name, a `=` in it, or a zero byte",
        ));
    }
    Ok(())
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
        let variable = |name: &str, value: &str| Variable {
            name: name.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
        };
        let start = Start { env: vec![variable("TERM", "xterm"), variable("A", "")], ..start(&["true"]) };
        let environment = Launch::check(start, None).unwrap().environment(&account);
        assert_eq!(environment.get(OsStr::new("TERM")).unwrap(), "xterm");
        assert_eq!(environment.get(OsStr::new("A")).unwrap(), "");
        assert_eq!(environment.get(OsStr::new("LANG")).unwrap(), "C.UTF-8");
    }

    #[test]
    fn a_program_that_the_kernel_cannot_execute_is_told_from_a_kernel_that_gives_no_more() {
        let launch = Launch::check(start(&["true"]), None).unwrap();
        let explain = |error: Errno| launch.explain(Failed { step: Step::Execute, error: error.into() });
        for error in [Errno::NOEXEC, Errno::PERM, Errno::LOOP, Errno::NOTDIR, Errno::INVAL, Errno::ISDIR] {
            assert!(matches!(explain(error), LaunchError::ProgramNotExecutable(_)), "{error}");
        }
        for error in [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE] {
            assert!(matches!(explain(error), LaunchError::Exhausted { .. }), "{error}");
        }
        assert!(matches!(explain(Errno::NOENT), LaunchError::ProgramNotFound(_)));
    }
}
