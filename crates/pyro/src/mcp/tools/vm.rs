//! One-shot machines in single steps.

use pyro_api::{
    ErrorBody,
    operation::{CreateVm, DeleteVm, GetVmNetworkInfo, GetVmStatus, ReapVms, StartVm, StopVm},
    run::{
        CommandLine, DEFAULT_MEM_MIB, DEFAULT_TIMEOUT_SECONDS, DEFAULT_TTL_SECONDS, DEFAULT_VCPU_COUNT,
        MEM_MIBS, TIMEOUTS_SECONDS, VCPU_COUNTS,
    },
    vm::{
        Vm, VmCreateRequest, VmDeleteRequest, VmDeleted, VmNetworkInfo, VmNetworkInfoRequest, VmReapRequest,
        VmStartRequest, VmStatusRequest, VmStopRequest, VmsReaped,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mcp::{
    command_answer::CommandAnswer,
    excerpt::DEFAULT_MAX_CHARS,
    one_shot,
    tool::{Hints, Told, Tool, ToolCall, tool},
};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool("vm_create", "Create a VM", "Create a VM for one command.", Hints::Writes, create),
        tool("vm_start", "Start a VM", "Start a VM.", Hints::Settles, start),
        tool(
            "vm_exec",
            "Run in a VM",
            "Run a command in a started VM, which is deleted afterwards.",
            Hints::Destroys,
            exec,
        ),
        tool("vm_stop", "Stop a VM", "Stop a VM.", Hints::Settles, stop),
        tool("vm_delete", "Delete a VM", "Delete a VM.", Hints::Destroys, delete),
        tool("vm_status", "VM status", "State and facts of a VM.", Hints::Reads, status),
        tool("vm_network_info", "VM network", "How a VM is connected.", Hints::Reads, network_info),
        tool("vm_reap_expired", "Reap VMs", "Delete VMs that are past their time.", Hints::Destroys, reap),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Create {
    /// e.g. debian:12
    environment: String,
    /// Virtual CPUs
    #[serde(default = "defaults::vcpu_count")]
    #[schemars(range(min = *VCPU_COUNTS.start(), max = *VCPU_COUNTS.end()))]
    vcpu_count: u32,
    /// Memory
    #[serde(default = "defaults::mem_mib")]
    #[schemars(range(min = *MEM_MIBS.start(), max = *MEM_MIBS.end()))]
    mem_mib: u32,
    /// Idle time before it is deleted; 0: never
    #[serde(default = "defaults::ttl_seconds")]
    ttl_seconds: u64,
    /// Not yet supported
    #[serde(default)]
    network: bool,
    /// Ignored
    #[serde(default)]
    allow_host_compat: bool,
}

mod defaults {
    pub(super) fn vcpu_count() -> u32 {
        super::DEFAULT_VCPU_COUNT
    }
    pub(super) fn mem_mib() -> u32 {
        super::DEFAULT_MEM_MIB
    }
    pub(super) fn ttl_seconds() -> u64 {
        super::DEFAULT_TTL_SECONDS
    }
    pub(super) fn timeout_seconds() -> u64 {
        super::DEFAULT_TIMEOUT_SECONDS
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// From vm_create
    vm_id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Exec {
    /// From vm_create
    vm_id: String,
    /// Shell line
    #[schemars(with = "String")]
    command: CommandLine,
    /// The command is killed then
    #[serde(default = "defaults::timeout_seconds")]
    #[schemars(range(min = *TIMEOUTS_SECONDS.start(), max = *TIMEOUTS_SECONDS.end()))]
    timeout_seconds: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reap {}

async fn create(call: ToolCall, arguments: Create) -> Result<Vm, ErrorBody> {
    let request = VmCreateRequest {
        vcpu_count: arguments.vcpu_count,
        mem_mib: arguments.mem_mib,
        ttl_seconds: arguments.ttl_seconds,
        network: arguments.network,
        allow_host_compat: arguments.allow_host_compat,
        ..VmCreateRequest::new(arguments.environment)
    };
    request.check()?;
    Ok(lean(call.client.call::<CreateVm>(&request).await?))
}

fn lean(mut vm: Vm) -> Vm {
    vm.metadata.clear();
    vm
}

async fn start(call: ToolCall, Named { vm_id }: Named) -> Result<Vm, ErrorBody> {
    Ok(lean(call.client.call::<StartVm>(&VmStartRequest { vm_id }).await?))
}

async fn exec(call: ToolCall, arguments: Exec) -> Result<CommandAnswer, ErrorBody> {
    let Exec { vm_id, command, timeout_seconds } = arguments;
    let vm = call.client.call::<GetVmStatus>(&VmStatusRequest { vm_id: vm_id.clone() }).await?;
    let command = (command, timeout_seconds);
    one_shot::run_in(&call, &vm_id, vm.ttl_seconds, command, DEFAULT_MAX_CHARS).await
}

async fn stop(call: ToolCall, Named { vm_id }: Named) -> Result<Vm, ErrorBody> {
    Ok(lean(call.client.call::<StopVm>(&VmStopRequest { vm_id }).await?))
}

async fn delete(call: ToolCall, Named { vm_id }: Named) -> Result<VmDeleted, ErrorBody> {
    Ok(call.client.call::<DeleteVm>(&VmDeleteRequest::new(vm_id)).await?)
}

async fn status(call: ToolCall, Named { vm_id }: Named) -> Result<Vm, ErrorBody> {
    Ok(lean(call.client.call::<GetVmStatus>(&VmStatusRequest { vm_id }).await?))
}

async fn network_info(call: ToolCall, Named { vm_id }: Named) -> Result<VmNetworkInfo, ErrorBody> {
    Ok(call.client.call::<GetVmNetworkInfo>(&VmNetworkInfoRequest { vm_id }).await?)
}

async fn reap(call: ToolCall, Reap {}: Reap) -> Result<VmsReaped, ErrorBody> {
    Ok(call.client.call::<ReapVms>(&VmReapRequest {}).await?)
}

impl Told for Vm {
    fn told(&self) -> String {
        format!("VM {}, {}", self.vm_id, self.state)
    }
}

impl Told for VmDeleted {
    fn told(&self) -> String {
        format!("VM {} is gone", self.vm_id)
    }
}

impl Told for VmNetworkInfo {
    fn told(&self) -> String {
        self.reason.clone().unwrap_or_else(|| "connected".to_owned())
    }
}

impl Told for VmsReaped {
    fn told(&self) -> String {
        format!("{} VMs deleted", self.count)
    }
}
