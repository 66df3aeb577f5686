//! What somebody asks for: a command, who hears of it, and how it is told from other calls.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use prost::Message;
use pyro_protocol::{frame::MAX_PAYLOAD_BYTES, message, version::feature};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    CommandRecord, CommandState, OutputRecord, Redactor,
    record::{self, Stdin},
    redaction,
};
use crate::{
    error::Error,
    guest_command::{self, HOME, variables},
    machine_start::millis,
    session::{GuestSession, OutputKind},
};

/// Output that the guest keeps of each stream while no daemon listens.
const GUEST_SPOOL_BYTES: u64 = 4 << 20;

/// Longest idempotency key, bytes.
pub const IDEMPOTENCY_KEY_BYTES: usize = 200;

/// Longest command line that is kept for people, bytes.
const COMMAND_BYTES: usize = 16 << 10;

/// What to run. Not printed: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A program and its arguments.
    Argv(Vec<Vec<u8>>),
    /// A line for `/bin/sh -lc`.
    Shell(Vec<u8>),
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argv(_) => "Argv(..)",
            Self::Shell(_) => "Shell(..)",
        })
    }
}

impl CommandLine {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Argv(argv) => argv.clone(),
            Self::Shell(line) => vec![b"/bin/sh".to_vec(), b"-lc".to_vec(), line.clone()],
        }
    }
}

/// A command for a workspace. What may hold secrets is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// What to run.
    pub command: CommandLine,
    /// Absolute working directory in the guest; none is `/workspace`.
    pub cwd: Option<Vec<u8>>,
    /// Variables added to the guest's clean environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Account in the guest; none is root.
    pub user: Option<String>,
    /// The command and all it started are killed after this; none: never.
    pub timeout: Option<Duration>,
    /// Whether [`ExecIo::stdin`] feeds the command; otherwise it reads `/dev/null`.
    pub stdin: bool,
    /// Names this call: another one with the same key and the same request gets this one's command, which runs once.
    pub idempotency_key: Option<String>,
    /// Without a key: whether the caller gets a command that runs and is the same, if there is one. Such a command goes on
    /// without its caller.
    pub attach: bool,
    /// Whether the caller waits for the start alone. A command with a key goes on without its caller too.
    pub detach: bool,
}

impl fmt::Debug for ExecRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecRequest")
            .field("user", &self.user)
            .field("timeout", &self.timeout)
            .field("stdin", &self.stdin)
            .field("idempotency_key", &self.idempotency_key)
            .field("attach", &self.attach)
            .field("detach", &self.detach)
            .finish_non_exhaustive()
    }
}

impl ExecRequest {
    /// Whether the command goes on without the caller that began it.
    pub(super) fn stays(&self) -> bool {
        self.detach || self.attach || self.idempotency_key.is_some()
    }

    /// A command with the contract's defaults: 30 s, no input, in the foreground.
    pub fn new(command: CommandLine) -> Self {
        Self {
            command,
            cwd: None,
            env: Vec::new(),
            user: None,
            timeout: Some(Duration::from_secs(30)),
            stdin: false,
            idempotency_key: None,
            attach: false,
            detach: false,
        }
    }

    /// Refuses what no guest can be asked.
    pub(super) fn admit(&self) -> Result<(), Error> {
        let refuse = |field, reason: String| Err(Error::Invalid { field, reason });
        let empty = match &self.command {
            CommandLine::Argv(argv) => argv.first().is_none_or(Vec::is_empty),
            CommandLine::Shell(line) => line.trim_ascii().is_empty(),
        };
        if empty {
            return refuse("command", "it must not be empty".to_owned());
        }
        guest_command::admit(&self.command.argv(), self.cwd.as_deref(), &self.env)?;
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return refuse("timeout_seconds", "it must be greater than 0".to_owned());
        }
        let usable = |key: &String| {
            (1..=IDEMPOTENCY_KEY_BYTES).contains(&key.len()) && !key.chars().any(char::is_control)
        };
        if !self.idempotency_key.as_ref().is_none_or(usable) {
            let reason = format!("it has 1 to {IDEMPOTENCY_KEY_BYTES} bytes and no control characters");
            return refuse("idempotency_key", reason);
        }
        if self.attach && self.stdin {
            return refuse("stdin", "a command that others may attach to has nobody to feed it".to_owned());
        }
        if self.detach && self.stdin {
            return refuse("stdin", "a detached command has nobody to feed it".to_owned());
        }
        if self.message(&record::job_id(u64::MAX)).encoded_len() + MESSAGE_MARGIN_BYTES > MAX_PAYLOAD_BYTES {
            let reason =
                "arguments and variables take more than 64 KiB together; send long texts by standard input";
            return refuse("command", reason.to_owned());
        }
        Ok(())
    }

    /// What the guest is asked; the rest is decided by what the guest can do.
    pub(super) fn message(&self, id: &str) -> message::Start {
        let stdin = if self.stdin { message::Stdin::Stream } else { message::Stdin::Null };
        message::Start {
            id: id.to_owned(),
            argv: self.command.argv(),
            cwd: self.cwd.clone().unwrap_or_else(|| HOME.to_vec()),
            env: variables(&self.env),
            user: self.user.clone().unwrap_or_default(),
            timeout_ms: self.timeout.map_or(0, millis),
            stdin: stdin.into(),
            spool_bytes: GUEST_SPOOL_BYTES,
            ..message::Start::default()
        }
    }

    /// The record of a command that is about to be asked for; it has no sequence yet.
    pub(super) fn record(&self, redactor: &Redactor, now: SystemTime) -> CommandRecord {
        let secret_values = self
            .env
            .iter()
            .filter(|(name, _)| redaction::is_secret_name(name))
            .map(|(_, value)| value.clone());
        let redactor = redactor.with(secret_values);
        let mut command = match &self.command {
            CommandLine::Argv(argv) => redactor.argv(argv),
            CommandLine::Shell(line) => redactor.shell_line(line),
        };
        if command.len() > COMMAND_BYTES {
            command.truncate(command.floor_char_boundary(COMMAND_BYTES));
            command.push_str(" [...]");
        }
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        CommandRecord {
            sequence: 0,
            command,
            cwd: redactor.shell_line(self.cwd.as_deref().unwrap_or(HOME)),
            user: self.user.clone(),
            detached: self.detach,
            env_names: self.env.iter().map(|(name, _)| lossy(name)).collect(),
            timeout: self.timeout,
            stdin: if self.stdin { Stdin::Open } else { Stdin::Null },
            idempotency_key: self.idempotency_key.clone(),
            request_digest: self.digest(),
            created_at: now,
            started_at: None,
            ended_at: None,
            state: CommandState::Starting,
            stdout: OutputRecord::default(),
            stderr: OutputRecord::default(),
            slept: Duration::ZERO,
            restored: false,
            note: None,
        }
    }

    /// Tells this request from others: SHA-256 over all that decides what runs.
    fn digest(&self) -> String {
        // The guest's message has every part, each with its length; the id is left out.
        let digest = Sha256::digest(self.message("").encode_to_vec());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a request takes beyond its message.
const MESSAGE_MARGIN_BYTES: usize = 64;

/// Fits a start to what the guest can do: with workspaces, a command without a listener goes on and loses its oldest output;
/// an older guest makes it wait.
pub(super) fn fit(start: &message::Start, session: &GuestSession) -> message::Start {
    let overflow = if session.peer().supports(feature::WORKSPACE) {
        message::Overflow::BlockWhileRead
    } else {
        message::Overflow::Block
    };
    message::Start { overflow: overflow.into(), ..start.clone() }
}

/// How a command talks to the one who asked for it.
#[derive(Debug)]
pub struct ExecIo {
    /// Takes what happens. A slow receiver slows the command down; a dropped one has gone away.
    pub events: mpsc::Sender<ExecEvent>,
    /// Standard input; a closed channel is end of file, unless `cancel` came first: then it is incomplete.
    pub stdin: mpsc::Receiver<Bytes>,
    /// Says that the caller goes away.
    pub cancel: CancellationToken,
}

/// How somebody follows a command.
#[derive(Debug)]
pub struct FollowIo {
    /// Takes what happens. A slow receiver slows the command down; a dropped one has gone away.
    pub events: mpsc::Sender<ExecEvent>,
    /// Says that the caller goes away.
    pub cancel: CancellationToken,
    /// From which byte of standard output on.
    pub stdout_from: u64,
    /// From which byte of standard error on.
    pub stderr_from: u64,
}

/// What happens to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExecEvent {
    /// It is written down. Always the first.
    Accepted {
        /// Its sequence.
        sequence: u64,
        /// It is one that an earlier call with the same key asked for.
        repeated: bool,
    },
    /// It wrote to standard output.
    Stdout(Bytes),
    /// It wrote to standard error.
    Stderr(Bytes),
    /// So much of an output is not kept.
    Dropped {
        /// Of which output.
        output: OutputKind,
        /// How much, bytes.
        bytes: u64,
    },
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecOutcome {
    /// The command: finished, or running if the caller detached.
    pub command: CommandRecord,
    /// It is one that an earlier call with the same key asked for.
    pub repeated: bool,
}
