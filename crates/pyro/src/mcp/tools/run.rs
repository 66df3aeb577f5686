//! `vm_run`: one command in a machine of its own.

use pyro_api::{
    ErrorBody,
    run::{
        CommandLine, DEFAULT_MEM_MIB, DEFAULT_TIMEOUT_SECONDS, DEFAULT_TTL_SECONDS, DEFAULT_VCPU_COUNT,
        MEM_MIBS, TIMEOUTS_SECONDS, VCPU_COUNTS,
    },
    vm::{VmCreateRequest, VmPurpose},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mcp::{
    command_answer::{Asked, CommandAnswer, Wanted},
    excerpt::{MAX_CHARS, default_max_chars},
    one_shot,
    tool::{Hints, Tool, ToolCall, tool},
};

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "vm_run",
        "Run a command in a fresh VM",
        "Run one command in a fresh, isolated Linux VM that is deleted afterwards.",
        Hints::Writes,
        run,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Run {
    /// e.g. debian:12
    #[serde(default = "debian")]
    environment: String,
    /// Shell line
    #[serde(default)]
    #[schemars(with = "String")]
    command: Option<CommandLine>,
    /// Virtual CPUs
    #[serde(default = "defaults::vcpu_count")]
    #[schemars(range(min = *VCPU_COUNTS.start(), max = *VCPU_COUNTS.end()))]
    vcpu_count: u32,
    /// Memory
    #[serde(default = "defaults::mem_mib")]
    #[schemars(range(min = *MEM_MIBS.start(), max = *MEM_MIBS.end()))]
    mem_mib: u32,
    /// The command is killed then
    #[serde(default = "defaults::timeout_seconds")]
    #[schemars(range(min = *TIMEOUTS_SECONDS.start(), max = *TIMEOUTS_SECONDS.end()))]
    timeout_seconds: u64,
    /// The VM ends then
    #[serde(default = "defaults::ttl_seconds")]
    ttl_seconds: u64,
    /// Not yet supported
    #[serde(default)]
    network: bool,
    /// Ignored
    #[serde(default)]
    allow_host_compat: bool,
    /// A call with the same key runs once
    #[serde(default)]
    idempotency_key: Option<String>,
    /// Wait for a running command
    #[serde(default)]
    job_id: Option<String>,
    /// End that job
    #[serde(default)]
    kill: bool,
    /// Read more of a cut output
    #[serde(default)]
    output_id: Option<String>,
    /// First byte of it
    #[serde(default)]
    from: Option<u64>,
    /// Only matching lines (regex)
    #[serde(default)]
    grep: Option<String>,
    /// Budget of each text
    #[serde(default = "default_max_chars")]
    #[schemars(range(min = *MAX_CHARS.start(), max = *MAX_CHARS.end()))]
    max_chars: usize,
}

fn debian() -> String {
    "debian:12".to_owned()
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

async fn run(call: ToolCall, arguments: Run) -> Result<CommandAnswer, ErrorBody> {
    let Run { environment, command, timeout_seconds, max_chars, .. } = arguments;
    let wanted = Wanted {
        command,
        job_id: arguments.job_id,
        kill: arguments.kill,
        output_id: arguments.output_id,
        from: arguments.from,
        grep: arguments.grep,
    };
    match wanted.asked()? {
        Asked::Command(command) => {
            let machine = VmCreateRequest {
                vcpu_count: arguments.vcpu_count,
                mem_mib: arguments.mem_mib,
                ttl_seconds: arguments.ttl_seconds,
                network: arguments.network,
                allow_host_compat: arguments.allow_host_compat,
                idempotency_key: arguments.idempotency_key,
                ..VmCreateRequest::new(environment)
            };
            one_shot::run(&call, &machine, VmPurpose { command, timeout_seconds }, max_chars).await
        }
        Asked::Job { job_id, kill } => one_shot::again(&call, &job_id, kill, max_chars).await,
        Asked::Output { output_id, from, grep } => {
            one_shot::output(&call, &output_id, from, grep, max_chars).await
        }
    }
}
