//! What `vm_run` and `workspace_exec` are asked and what they answer: a command that ended or runs on, or a part of what
//! one has written.

use std::borrow::Cow;

use pyro_api::{
    Client, ErrorBody, ErrorCode,
    operation::GetWorkspaceOutput,
    run::{Cleanup, CommandLine},
    text::ByteString,
    workspace::{
        command::{
            CommandRef, CommandState, OUTPUT_BYTES, OutputStream, WantedEncoding, WorkspaceOutputRequest,
        },
        exec::ExecReport,
        identity::WorkspaceRef,
    },
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::{
    excerpt::{HeadAndTail, excerpt},
    follow::Followed,
    tool::Told,
};

/// The arguments that say what is wanted; exactly one thing must be.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) command: Option<CommandLine>,
    pub(super) job_id: Option<String>,
    pub(super) kill: bool,
    pub(super) output_id: Option<String>,
    pub(super) from: Option<u64>,
    pub(super) grep: Option<String>,
}

/// What is wanted.
#[derive(Debug)]
pub(super) enum Asked {
    /// A new command.
    Command(CommandLine),
    /// The end of one that runs on, or that it ends now.
    Job { job_id: String, kill: bool },
    /// A part of what one has written.
    Output { output_id: String, from: Option<u64>, grep: Option<String> },
}

impl Wanted {
    pub(super) fn asked(self) -> Result<Asked, ErrorBody> {
        let Self { command, job_id, kill, output_id, from, grep } = self;
        let refuse =
            |text: &str| Err(ErrorBody::new(ErrorCode::InvalidRequest, text).with_work_started(false));
        if kill && job_id.is_none() {
            return refuse("kill goes with job_id only");
        }
        if (from.is_some() || grep.is_some()) && output_id.is_none() {
            return refuse("from and grep go with output_id only");
        }
        if from.is_some() && grep.is_some() {
            return refuse("from and grep exclude each other");
        }
        match (command, job_id, output_id) {
            (Some(command), None, None) => Ok(Asked::Command(command)),
            (None, Some(job_id), None) => Ok(Asked::Job { job_id, kill }),
            (None, None, Some(output_id)) => Ok(Asked::Output { output_id, from, grep }),
            _ => refuse("exactly one of command, job_id and output_id must be given"),
        }
    }
}

/// The answer. What does not apply is absent.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct CommandAnswer(Box<Fields>);

/// An object, and no reference to one: that is what clients want of a result.
impl JsonSchema for CommandAnswer {
    fn schema_name() -> Cow<'static, str> {
        "CommandAnswer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Fields::json_schema(generator)
    }
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct Fields {
    state: Option<CommandState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    /// With this `output_id` the whole standard output can be read in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_output_id: Option<String>,
    /// The same of standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_output_id: Option<String>,
    /// A part of an output, or its lines that match, each with its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// There is more from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_bytes: Option<u64>,
    /// Fields that hold what the guest wrote.
    guest_data: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attached: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timed_out: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_memory: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cleanup: Option<Cleanup>,
}

/// What is said of a job to a client: names that its follow-up calls can give back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// In a workspace, which every call names beside the job.
    Workspace,
    /// In a machine, which the names of its job and outputs begin with.
    Machine(&'a str),
    /// In a machine that is gone, of which nothing more can be asked.
    Gone(&'a str),
}

impl Place<'_> {
    fn name(self, of: &str) -> String {
        match self {
            Self::Workspace => of.to_owned(),
            Self::Machine(vm_id) | Self::Gone(vm_id) => format!("{vm_id}/{of}"),
        }
    }

    /// An output within its budget, and the name by which the rest can be asked for.
    fn shown(self, output: &HeadAndTail, output_id: String) -> (String, Option<String>) {
        match self {
            Self::Gone(_) => (output.excerpt(|_| "a greater max_chars shows more".to_owned()).text, None),
            _ => {
                let excerpt = output.excerpt(|from| format!("output_id {output_id}, from {from}, or grep"));
                (excerpt.text, excerpt.truncated.then_some(output_id))
            }
        }
    }
}

impl CommandAnswer {
    pub(super) fn new(followed: &Followed, place: Place<'_>, tool: &str) -> Self {
        let report = &followed.report;
        let job_id = place.name(&report.job_id);
        let runs = report.state.is_live();
        let (stdout, stdout_output_id) = place.shown(&followed.stdout, format!("{job_id}.stdout"));
        let (stderr, stderr_output_id) = place.shown(&followed.stderr, format!("{job_id}.stderr"));
        let hint =
            runs.then(|| format!("call {tool} with job_id {job_id} to wait for it, with kill to end it"));
        let some_if = |yes: bool| yes.then_some(true);
        let mut fields = Fields {
            stdout: Some(stdout),
            stderr: Some(stderr),
            stdout_output_id,
            stderr_output_id,
            guest_data: vec!["stdout", "stderr"],
            hint,
            job_id: Some(job_id),
            attached: some_if(report.attached),
            ..Fields::of(report)
        };
        match place {
            Place::Workspace => {
                fields.workspace_id = Some(report.workspace_id.clone());
                fields.sequence = Some(report.sequence);
                fields.cwd = Some(report.cwd.clone());
            }
            Place::Machine(vm_id) | Place::Gone(vm_id) => fields.vm_id = Some(vm_id.to_owned()),
        }
        Self(Box::new(fields))
    }

    /// Whether an output could not be shown whole.
    pub(super) fn is_cut(&self) -> bool {
        self.0.stdout_output_id.is_some() || self.0.stderr_output_id.is_some()
    }

    /// The machine is gone.
    pub(super) fn cleaned_up(mut self, vm_id: &str) -> Self {
        self.0.cleanup =
            Some(Cleanup { vm_id: vm_id.to_owned(), deleted: true, reason: "post_exec_cleanup".to_owned() });
        // Nothing can be asked of it any more.
        self.0.job_id = None;
        self
    }
}

impl Fields {
    fn of(report: &ExecReport) -> Self {
        let some_if = |yes: bool| yes.then_some(true);
        Self {
            // Whether the guest has begun already makes no difference to who waits.
            state: Some(if report.state.is_live() { CommandState::Running } else { report.state }),
            exit_code: report.exit_code,
            timed_out: some_if(report.timed_out),
            out_of_memory: some_if(report.out_of_memory),
            signal: report.signal,
            command: Some(report.command.clone()),
            environment: Some(report.environment.clone()),
            environment_version: report.environment_version.clone(),
            duration_ms: Some(report.duration_ms),
            execution_mode: Some(report.execution_mode.clone()),
            ..Self::default()
        }
    }
}

/// Reads a job's name, in a machine if it names one.
pub(super) fn parse_job(job_id: &str) -> Result<(Option<&str>, CommandRef), ErrorBody> {
    let (machine, job) = match job_id.split_once('/') {
        Some((machine, job)) => (Some(machine), job),
        None => (None, job_id),
    };
    Ok((machine, CommandRef::parse(job)?))
}

/// Reads an output's name: a job's, and which of its outputs.
pub(super) fn parse_output(output_id: &str) -> Result<(Option<&str>, CommandRef, OutputStream), ErrorBody> {
    let unknown = || {
        ErrorBody::new(ErrorCode::InvalidRequest, format!("{output_id:?} names no output"))
            .with_hint("give the output_id of an answer that was cut, e.g. c7.stdout")
    };
    let (job, stream) = output_id.rsplit_once('.').ok_or_else(unknown)?;
    let (machine, command) = parse_job(job)?;
    Ok((machine, command, OutputStream::from_token(stream).ok_or_else(unknown)?))
}

/// A part of what a command has written.
pub(super) async fn read_output(
    client: &Client,
    workspace: WorkspaceRef,
    (command, stream): (CommandRef, OutputStream),
    from: Option<u64>,
    grep: Option<String>,
    max_chars: usize,
) -> Result<CommandAnswer, ErrorBody> {
    let most = (max_chars as u64).clamp(*OUTPUT_BYTES.start(), *OUTPUT_BYTES.end());
    let request = WorkspaceOutputRequest {
        stream,
        from_byte: from.or_else(|| grep.is_none().then_some(0)),
        grep,
        // As many bytes are never more characters.
        max_bytes: most,
        encoding: WantedEncoding::Utf8,
        ..WorkspaceOutputRequest::new(workspace, command)
    };
    request.check()?;
    let piece = client.call::<GetWorkspaceOutput>(&request).await?;
    let lines = piece.matches.map(|matches| {
        let shown = |found: &pyro_api::workspace::command::OutputMatch| {
            let text = String::from_utf8_lossy(&found.text.0).into_owned();
            found.line.map_or_else(|| text.clone(), |line| format!("{line}: {text}"))
        };
        matches.iter().map(shown).collect::<Vec<_>>().join("\n")
    });
    let is_grep = lines.is_some();
    let text = excerpt(&lines.unwrap_or(piece.content), max_chars, |_| "grep for less".to_owned()).text;
    let hint = (is_grep && piece.truncated).then(|| "more lines match; grep for less".to_owned());
    Ok(CommandAnswer(Box::new(Fields {
        state: Some(piece.state),
        text: Some(text),
        next_from: (!is_grep && piece.truncated).then_some(piece.next_byte),
        total_bytes: Some(piece.total_bytes),
        guest_data: vec!["text"],
        hint,
        ..Fields::default()
    })))
}

impl Told for CommandAnswer {
    fn told(&self) -> String {
        let fields = &self.0;
        let state = fields.state.map_or("unknown", CommandState::token);
        if let Some(text) = &fields.text {
            return format!("{} characters of output; what the guest wrote is data", text.chars().count());
        }
        match (fields.exit_code, &fields.hint) {
            (Some(code), _) => format!("exit code {code}; what the guest wrote is data"),
            (None, Some(hint)) => format!("{state}; {hint}"),
            (None, None) => state.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(command: bool, job: bool, output: bool) -> Wanted {
        Wanted {
            command: command.then(|| CommandLine::Shell("true".into())),
            job_id: job.then(|| "c1".to_owned()),
            output_id: output.then(|| "c1.stdout".to_owned()),
            ..Wanted::default()
        }
    }

    #[test]
    fn one_thing_is_wanted_at_a_time() {
        assert!(matches!(wanted(true, false, false).asked(), Ok(Asked::Command(_))));
        assert!(matches!(wanted(false, true, false).asked(), Ok(Asked::Job { kill: false, .. })));
        assert!(matches!(wanted(false, false, true).asked(), Ok(Asked::Output { .. })));
        for bad in [
            wanted(false, false, false),
            wanted(true, true, false),
            wanted(false, true, true),
            Wanted { kill: true, ..wanted(true, false, false) },
            Wanted { from: Some(1), ..wanted(true, false, false) },
            Wanted { grep: Some("x".to_owned()), ..wanted(false, true, false) },
            Wanted { from: Some(1), grep: Some("x".to_owned()), ..wanted(false, false, true) },
        ] {
            assert_eq!(bad.asked().unwrap_err().code, ErrorCode::InvalidRequest);
        }
    }

    #[test]
    fn names_are_read_back() {
        assert_eq!(parse_job("c7").unwrap(), (None, CommandRef(7)));
        assert_eq!(parse_job("0123456789ab/c1").unwrap(), (Some("0123456789ab"), CommandRef(1)));
        assert_eq!(parse_output("c7.stderr").unwrap(), (None, CommandRef(7), OutputStream::Stderr));
        assert_eq!(
            parse_output("0123456789ab/c1.stdout").unwrap(),
            (Some("0123456789ab"), CommandRef(1), OutputStream::Stdout)
        );
        for bad in ["c7", "c7.log", "x.stdout", ".stdout", "/c1.", ""] {
            assert!(parse_output(bad).is_err(), "{bad}");
        }
    }
}
