//! `run`: one command in a fresh machine that is gone afterwards.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::{
    check::{self, invalid, not_yet, within},
    error::{ErrorBody, ErrorCode},
    text::{self, ByteString},
};

/// What to run and in which machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// Name of an environment, e.g. `debian:12`.
    pub environment: String,
    /// What to run.
    pub command: CommandLine,
    /// Virtual processors, within [`VCPU_COUNTS`].
    #[serde(default = "defaults::vcpu_count")]
    #[cfg_attr(feature = "schema", schemars(range(min = *VCPU_COUNTS.start(), max = *VCPU_COUNTS.end())))]
    pub vcpu_count: u32,
    /// Memory in MiB, within [`MEM_MIBS`].
    #[serde(default = "defaults::mem_mib")]
    #[cfg_attr(feature = "schema", schemars(range(min = *MEM_MIBS.start(), max = *MEM_MIBS.end())))]
    pub mem_mib: u32,
    /// The command is killed after this many seconds, with everything it started; within [`TIMEOUTS_SECONDS`].
    #[serde(default = "defaults::timeout_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = *TIMEOUTS_SECONDS.start(), max = *TIMEOUTS_SECONDS.end())))]
    pub timeout_seconds: u64,
    /// The machine ends by itself after this many seconds, whatever happens to the host's side; within
    /// [`TTLS_SECONDS`], or 0 for no such bound. Never earlier than the timeout.
    #[serde(default = "defaults::ttl_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *TTLS_SECONDS.end())))]
    pub ttl_seconds: u64,
    /// Give the machine a network. A later release will; now it is refused.
    #[serde(default)]
    pub network: bool,
    /// Accepted for compatibility. Nothing ever runs on the host.
    #[serde(default)]
    pub allow_host_compat: bool,
    /// Working directory in the guest, absolute; `/workspace` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<ByteString>,
    /// Environment variables for the command, added to the guest's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, ByteString>,
    /// Account in the guest by name or number; root when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether `Stdin` frames will follow. Without, the command reads an empty standard input.
    #[serde(default)]
    pub stdin: bool,
}

mod defaults {
    pub(super) fn vcpu_count() -> u32 {
        super::DEFAULT_VCPU_COUNT
    }
    pub(super) fn mem_mib() -> u32 {
        super::DEFAULT_MEM_MIB
    }
    pub(super) fn timeout_seconds() -> u64 {
        super::DEFAULT_TIMEOUT_SECONDS
    }
    pub(super) fn ttl_seconds() -> u64 {
        super::DEFAULT_TTL_SECONDS
    }
}

/// Virtual processors that can be asked for: 1 to 8.
pub const VCPU_COUNTS: RangeInclusive<u32> = 1..=8;
/// Memory in MiB that can be asked for: 256 to 32768.
pub const MEM_MIBS: RangeInclusive<u32> = 256..=32_768;
/// Timeouts that can be asked for: 1 s to 7 days.
pub const TIMEOUTS_SECONDS: RangeInclusive<u64> = 1..=LONGEST_SECONDS;
/// Lifetimes that can be asked for, beside 0 for no bound: 60 s to 7 days.
pub const TTLS_SECONDS: RangeInclusive<u64> = 60..=LONGEST_SECONDS;

const LONGEST_SECONDS: u64 = 7 * 24 * 3600;

/// Virtual processors when nothing is said.
pub const DEFAULT_VCPU_COUNT: u32 = 1;
/// Memory in MiB when nothing is said.
pub const DEFAULT_MEM_MIB: u32 = 1024;
/// Timeout when nothing is said.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
/// Lifetime of the machine when nothing is said.
pub const DEFAULT_TTL_SECONDS: u64 = 600;

/// A shell line (a string in JSON) or an argument vector (an array).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a string (a shell line) or an array of strings (an argument vector)")]
pub enum CommandLine {
    /// Run by `/bin/sh -lc`.
    Shell(ByteString),
    /// Run as it is, without a shell.
    Arguments(Vec<ByteString>),
}

impl CommandLine {
    /// What a person's command line means: several arguments are an argument vector; a single one with white
    /// space in it is a shell line; a single one without is a program. Nothing at all is nothing.
    pub fn from_arguments(mut arguments: Vec<Vec<u8>>) -> Option<Self> {
        match arguments.as_mut_slice() {
            [] => None,
            [line] if line.iter().any(u8::is_ascii_whitespace) => {
                Some(Self::Shell(std::mem::take(line).into()))
            }
            _ => Some(Self::Arguments(arguments.into_iter().map(ByteString).collect())),
        }
    }

    /// The argument vector that the guest executes.
    pub fn to_argv(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Shell(line) => vec![b"/bin/sh".to_vec(), b"-lc".to_vec(), line.0.clone()],
            Self::Arguments(arguments) => arguments.iter().map(|argument| argument.0.clone()).collect(),
        }
    }

    /// One line for people and for the result's `command`.
    pub fn display(&self) -> String {
        match self {
            Self::Shell(line) => String::from_utf8_lossy(&line.0).into_owned(),
            Self::Arguments(arguments) => {
                let quoted: Vec<String> =
                    arguments.iter().map(|argument| text::shell_quoted(&argument.0)).collect();
                quoted.join(" ")
            }
        }
    }

    /// Whether there is a command, and one that can be passed on.
    pub(crate) fn check(&self) -> Result<(), ErrorBody> {
        if self.is_blank() {
            return Err(missing_command());
        }
        if self.has_nul() {
            return Err(invalid("command contains a NUL byte"));
        }
        Ok(())
    }

    fn is_blank(&self) -> bool {
        match self {
            Self::Shell(line) => line.0.iter().all(u8::is_ascii_whitespace),
            Self::Arguments(arguments) => arguments.first().is_none_or(|program| program.0.is_empty()),
        }
    }

    fn has_nul(&self) -> bool {
        match self {
            Self::Shell(line) => line.0.contains(&0),
            Self::Arguments(arguments) => arguments.iter().any(|argument| argument.0.contains(&0)),
        }
    }
}

impl RunRequest {
    /// A request with the defaults.
    pub fn new(environment: impl Into<String>, command: CommandLine) -> Self {
        Self {
            environment: environment.into(),
            command,
            vcpu_count: DEFAULT_VCPU_COUNT,
            mem_mib: DEFAULT_MEM_MIB,
            timeout_seconds: DEFAULT_TIMEOUT_SECONDS,
            ttl_seconds: DEFAULT_TTL_SECONDS,
            network: false,
            allow_host_compat: false,
            cwd: None,
            env: BTreeMap::new(),
            user: None,
            stdin: false,
        }
    }

    /// Everything about the request that can be judged without a host. Run by the client before it asks and by
    /// the daemon before it acts, so that nothing is started for a request that cannot succeed.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("vcpu_count", self.vcpu_count, &VCPU_COUNTS)?;
        within("mem_mib", self.mem_mib, &MEM_MIBS)?;
        within("timeout_seconds", self.timeout_seconds, &TIMEOUTS_SECONDS)?;
        if self.ttl_seconds != 0 {
            within("ttl_seconds (unless it is 0, for no bound)", self.ttl_seconds, &TTLS_SECONDS)?;
        }
        if self.network {
            return Err(not_yet(
                "machines have no network in this release, so network cannot be switched on",
                "run without --network; what the command needs must be in the environment",
            ));
        }
        check::environment_name(&self.environment)?;
        self.command.check()?;
        if self.cwd.as_ref().is_some_and(|cwd| cwd.0.first() != Some(&b'/') || cwd.0.contains(&0)) {
            return Err(invalid("cwd is not an absolute path").with_hint("give a path that starts with /"));
        }
        check::variables(&self.env)?;
        check::user(self.user.as_deref())
    }
}

/// No command was given.
pub fn missing_command() -> ErrorBody {
    ErrorBody::new(ErrorCode::MissingCommand, "no command to run")
        .with_hint("write it after --, as in: pyro run debian:12 -- git --version")
}

/// What happens during a run, apart from its output.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// A phase begins.
    Phase {
        /// `create`, `start`, `execute`; more may come.
        phase: String,
        /// The machine, from the phase on in which it has an id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vm_id: Option<String>,
    },
    /// The environment, or a template of it, is being made first; this goes on for a while.
    Progress(crate::environment::Progress),
}

/// How a run ended; the result on the wire. Output went before it as frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunReport {
    /// The machine, 12 hexadecimal digits. It is gone.
    pub vm_id: String,
    /// The environment that was asked for.
    pub environment: String,
    /// Its version, as far as it has one.
    pub environment_version: Option<String>,
    /// The command as one line.
    pub command: String,
    /// The command's exit status; 128 + n when signal n ended it; 124 when the timeout did.
    pub exit_code: i32,
    /// The signal that ended the command.
    pub signal: Option<i32>,
    /// Whether the timeout ended the command. Its output up to then is complete.
    pub timed_out: bool,
    /// From the daemon's first sight of the request to the end of the clean-up.
    pub duration_ms: u64,
    /// Whether the guest ran out of memory meanwhile.
    pub out_of_memory: bool,
    /// Wall time of the command in the guest.
    pub command_duration_ms: u64,
    /// Duration of each phase by name.
    pub phases_ms: BTreeMap<String, u64>,
    /// Always [`EXECUTION_MODE`].
    pub execution_mode: String,
    /// `kvm` or `emulated`, as measured.
    pub isolation: String,
    /// `restored` (from a template) or `booted`.
    pub start: String,
    /// All bytes of standard output, also those that a collecting client dropped.
    pub stdout_bytes: u64,
    /// All bytes of standard error, also those that a collecting client dropped.
    pub stderr_bytes: u64,
    /// What became of the machine.
    pub cleanup: Cleanup,
}

/// The contract's token for "by our agent, inside the guest". It is historical and says nothing about the
/// device that carries the bytes; `isolation` says what kept the guest apart.
pub const EXECUTION_MODE: &str = "guest_vsock";

/// What became of the machine of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cleanup {
    /// The machine.
    pub vm_id: String,
    /// Whether its process and all its files are gone.
    pub deleted: bool,
    /// `post_exec_cleanup`.
    pub reason: String,
}

/// A run with its output: what `pyro run --json` prints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunResult {
    /// How it ended.
    #[serde(flatten)]
    pub report: RunReport,
    /// What it wrote.
    #[serde(flatten)]
    pub output: CapturedOutput,
}

impl RunResult {
    /// Joins a report and the output collected beside it.
    pub fn new(report: RunReport, stdout: &Collected, stderr: &Collected) -> Self {
        Self { report, output: CapturedOutput::new(stdout, stderr) }
    }
}

/// What a command wrote, inside of a result.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CapturedOutput {
    /// Standard output as text, with replacement characters where it is no UTF-8.
    pub stdout: String,
    /// Standard error as text, with replacement characters where it is no UTF-8.
    pub stderr: String,
    /// Whether `stdout` is only a part.
    pub stdout_truncated: bool,
    /// Whether `stderr` is only a part.
    pub stderr_truncated: bool,
    /// The exact bytes, only when standard output is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_base64: Option<String>,
    /// The exact bytes, only when standard error is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_base64: Option<String>,
}

impl CapturedOutput {
    /// What was collected of both streams.
    pub fn new(stdout: &Collected, stderr: &Collected) -> Self {
        let (stdout_text, stdout_base64) = stdout.to_text();
        let (stderr_text, stderr_base64) = stderr.to_text();
        Self {
            stdout: stdout_text,
            stderr: stderr_text,
            stdout_truncated: stdout.truncated,
            stderr_truncated: stderr.truncated,
            stdout_base64,
            stderr_base64,
        }
    }
}

/// The first bytes of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collected {
    bytes: Vec<u8>,
    most_bytes: usize,
    truncated: bool,
}

impl Collected {
    /// Keeps at most so many bytes.
    pub fn up_to(most_bytes: usize) -> Self {
        Self { bytes: Vec::new(), most_bytes, truncated: false }
    }

    /// Takes what still fits.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.most_bytes - self.bytes.len();
        self.truncated |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// There was more than was pushed.
    pub fn cut(&mut self) {
        self.truncated = true;
    }

    /// As text, and as base64 if the text is not exact. A character that the limit cut in two is left out.
    fn to_text(&self) -> (String, Option<String>) {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => (text.to_owned(), None),
            Err(error) if self.truncated && error.error_len().is_none() => {
                (String::from_utf8_lossy(&self.bytes[..error.valid_up_to()]).into_owned(), None)
            }
            Err(_) => (String::from_utf8_lossy(&self.bytes).into_owned(), Some(text::to_base64(&self.bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str]) -> Option<CommandLine> {
        CommandLine::from_arguments(arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect())
    }

    fn request() -> RunRequest {
        RunRequest::new("debian:12", command(&["true"]).unwrap())
    }

    fn code(request: &RunRequest) -> Option<ErrorCode> {
        request.check().err().map(|error| error.code)
    }

    #[test]
    fn arguments_mean_what_they_look_like() {
        assert_eq!(command(&[]), None);
        assert_eq!(command(&["ls"]).unwrap().to_argv(), [b"ls".to_vec()]);
        assert_eq!(command(&["ls", "a b"]).unwrap().to_argv(), [b"ls".to_vec(), b"a b".to_vec()]);
        let line = command(&["ls | wc"]).unwrap();
        assert_eq!(line.to_argv(), [b"/bin/sh".to_vec(), b"-lc".to_vec(), b"ls | wc".to_vec()]);
        assert_eq!(line.display(), "ls | wc");
        assert_eq!(command(&["echo", "it's"]).unwrap().display(), r#"echo 'it'"'"'s'"#);
    }

    #[test]
    fn commands_have_two_shapes_in_json() {
        let shell: CommandLine = serde_json::from_str("\"ls | wc\"").unwrap();
        assert_eq!(shell, CommandLine::Shell("ls | wc".into()));
        let arguments: CommandLine = serde_json::from_str("[\"ls\",{\"base64\":\"/w==\"}]").unwrap();
        assert_eq!(arguments.to_argv(), [b"ls".to_vec(), vec![0xff]]);
        let word: CommandLine = serde_json::from_str("[\"true\"]").unwrap();
        assert_eq!(word, CommandLine::Arguments(vec!["true".into()]));
        assert!(serde_json::from_str::<CommandLine>("7").is_err());
    }

    #[test]
    fn sizes_are_those_of_the_contract() {
        assert_eq!(code(&request()), None);
        for vcpu_count in [0, 9, u32::MAX] {
            assert_eq!(code(&RunRequest { vcpu_count, ..request() }), Some(ErrorCode::InvalidSize));
        }
        for mem_mib in [0, 255, 32_769] {
            assert_eq!(code(&RunRequest { mem_mib, ..request() }), Some(ErrorCode::InvalidSize));
        }
        for timeout_seconds in [0, 604_801] {
            assert_eq!(code(&RunRequest { timeout_seconds, ..request() }), Some(ErrorCode::InvalidSize));
        }
        for ttl_seconds in [1, 59, 604_801] {
            assert_eq!(code(&RunRequest { ttl_seconds, ..request() }), Some(ErrorCode::InvalidSize));
        }
        for (vcpu_count, mem_mib, ttl_seconds) in [(1, 256, 60), (8, 32_768, 604_800), (1, 1024, 0)] {
            assert_eq!(code(&RunRequest { vcpu_count, mem_mib, ttl_seconds, ..request() }), None);
        }
        let error = RunRequest { vcpu_count: 9, ..request() }.check().unwrap_err();
        assert_eq!(error.error, "vcpu_count must be from 1 to 8, not 9");
    }

    #[test]
    fn what_cannot_be_done_is_refused_and_not_ignored() {
        assert_eq!(code(&RunRequest { network: true, ..request() }), Some(ErrorCode::NotYetSupported));
        let oci = RunRequest { environment: "oci:alpine".into(), ..request() };
        assert_eq!(code(&oci), Some(ErrorCode::NotYetSupported));
        assert_eq!(code(&RunRequest { allow_host_compat: true, ..request() }), None);
        let blank = RunRequest { command: CommandLine::Shell("  ".into()), ..request() };
        assert_eq!(code(&blank), Some(ErrorCode::MissingCommand));
        for bad in [
            RunRequest { cwd: Some("tmp".into()), ..request() },
            RunRequest { user: Some(String::new()), ..request() },
            RunRequest { env: [("A=B".to_owned(), "x".into())].into(), ..request() },
            RunRequest { command: CommandLine::Shell("a\0b".into()), ..request() },
        ] {
            assert_eq!(code(&bad), Some(ErrorCode::InvalidRequest), "{bad:?}");
        }
    }

    #[test]
    fn unknown_fields_of_a_request_are_refused() {
        let json = r#"{"environment":"debian:12","command":"true","mem_gib":1}"#;
        assert!(serde_json::from_str::<RunRequest>(json).is_err());
        let json = r#"{"environment":"debian:12","command":"true"}"#;
        let read: RunRequest = serde_json::from_str(json).unwrap();
        assert_eq!(read, RunRequest { command: CommandLine::Shell("true".into()), ..request() });
    }

    #[test]
    fn collected_output_is_bounded_and_exact() {
        let mut collected = Collected::up_to(4);
        collected.push(b"ab");
        assert_eq!(collected.to_text(), ("ab".into(), None));
        collected.push("é!".as_bytes());
        assert_eq!((collected.to_text(), collected.truncated), (("abé".into(), None), true));
        let mut cut = Collected::up_to(3);
        cut.push("abé".as_bytes());
        assert_eq!(cut.to_text(), ("ab".into(), None));
        let mut binary = Collected::up_to(10);
        binary.push(b"a\xff");
        assert_eq!(binary.to_text(), ("a\u{fffd}".into(), Some("Yf8=".into())));
    }
}
