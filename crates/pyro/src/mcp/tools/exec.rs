//! `workspace_exec`: commands in a workspace.

use std::collections::BTreeMap;

use pyro_api::{
    ErrorBody,
    run::CommandLine,
    text::ByteString,
    workspace::{
        exec::{EXEC_TIMEOUTS_SECONDS, WorkspaceExecRequest},
        identity::WorkspaceRef,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mcp::{
    command_answer::{Asked, CommandAnswer, Place, Wanted, parse_job, parse_output, read_output},
    excerpt::{MAX_CHARS, default_max_chars},
    follow,
    tool::{Hints, Tool, ToolCall, tool},
};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool(
            "workspace_exec",
            "Run a command",
            "Run a command in /workspace. Or, with job_id or output_id instead of command, go on with an earlier one.",
            Hints::Destroys,
            exec,
        )
        .only_in_full(&["secret_env"]),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Exec {
    /// Name or id
    #[schemars(with = "String")]
    workspace_id: WorkspaceRef,
    /// Shell line
    #[serde(default)]
    #[schemars(with = "String")]
    command: Option<CommandLine>,
    /// 0: no limit
    #[serde(default = "thirty")]
    #[schemars(range(max = *EXEC_TIMEOUTS_SECONDS.end()))]
    timeout_seconds: u64,
    /// Secret names to environment variables
    #[serde(default)]
    secret_env: Option<BTreeMap<String, String>>,
    /// Relative to /workspace
    #[serde(default)]
    cwd: Option<String>,
    /// Environment variables
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
    /// A call with the same key runs once
    #[serde(default)]
    idempotency_key: Option<String>,
    /// Wait for this running job
    #[serde(default)]
    job_id: Option<String>,
    /// Kill it
    #[serde(default)]
    kill: bool,
    /// Read a cut output
    #[serde(default)]
    output_id: Option<String>,
    /// From this byte of it
    #[serde(default)]
    from: Option<u64>,
    /// Only its lines that match this regex
    #[serde(default)]
    grep: Option<String>,
    /// Budget of each text
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = *MAX_CHARS.start(), max = *MAX_CHARS.end()))]
    max_chars: usize,
}

fn thirty() -> u64 {
    pyro_api::run::DEFAULT_TIMEOUT_SECONDS
}

async fn exec(call: ToolCall, arguments: Exec) -> Result<CommandAnswer, ErrorBody> {
    let Exec { workspace_id: workspace, timeout_seconds, secret_env, cwd, env, idempotency_key, .. } =
        arguments;
    let wanted = Wanted {
        command: arguments.command,
        job_id: arguments.job_id,
        kill: arguments.kill,
        output_id: arguments.output_id,
        from: arguments.from,
        grep: arguments.grep,
    };
    let max_chars = arguments.max_chars;
    let followed = match wanted.asked()? {
        Asked::Command(command) => {
            let variables = env.unwrap_or_default();
            let request = WorkspaceExecRequest {
                cwd: cwd.map(|cwd| cwd.as_str().into()),
                env: variables
                    .into_iter()
                    .map(|(name, value)| (name, ByteString(value.into_bytes())))
                    .collect(),
                timeout_seconds: Some(timeout_seconds),
                idempotency_key,
                secret_env: secret_env.unwrap_or_default(),
                ..WorkspaceExecRequest::new(workspace, command)
            };
            request.check()?;
            follow::exec(&call, &request, max_chars).await?
        }
        Asked::Job { job_id, kill: true } => {
            follow::kill(&call, &workspace, parse_job(&job_id)?.1, max_chars).await?
        }
        Asked::Job { job_id, kill: false } => {
            follow::wait(&call, &workspace, parse_job(&job_id)?.1, max_chars).await?
        }
        Asked::Output { output_id, from, grep } => {
            let (_, command, stream) = parse_output(&output_id)?;
            return read_output(&call.client, workspace, (command, stream), from, grep, max_chars).await;
        }
    };
    Ok(CommandAnswer::new(&followed, Place::Workspace, "workspace_exec"))
}
