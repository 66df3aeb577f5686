//! `vm_*`: unnamed one-shot machines in single steps. Operations of the API without a command line of their own: `run`
//! does the same in one step, and a workspace lasts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    check::{self, not_yet, within},
    error::ErrorBody,
    run::{
        CommandLine, DEFAULT_MEM_MIB, DEFAULT_TIMEOUT_SECONDS, DEFAULT_TTL_SECONDS, DEFAULT_VCPU_COUNT,
        MEM_MIBS, TIMEOUTS_SECONDS, VCPU_COUNTS,
    },
    workspace::{command::LogEntry, create::check_ttl, exec::check_key, view::WorkspaceState},
};

/// Makes a machine, which runs at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmCreateRequest {
    /// Name of an environment, e.g. `debian:12`.
    pub environment: String,
    /// Virtual processors, within [`VCPU_COUNTS`].
    #[serde(default = "defaults::vcpu_count")]
    #[cfg_attr(feature = "schema", schemars(range(min = *VCPU_COUNTS.start(), max = *VCPU_COUNTS.end())))]
    pub vcpu_count: u32,
    /// Memory in MiB, within [`MEM_MIBS`].
    #[serde(default = "defaults::mem_mib")]
    #[cfg_attr(feature = "schema", schemars(range(min = *MEM_MIBS.start(), max = *MEM_MIBS.end())))]
    pub mem_mib: u32,
    /// The machine is deleted after this many seconds without use; 0 for never.
    #[serde(default = "defaults::ttl_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *crate::workspace::create::WORKSPACE_TTLS_SECONDS.end())))]
    pub ttl_seconds: u64,
    /// Give the machine a network. A later release will; now it is refused.
    #[serde(default)]
    pub network: bool,
    /// Accepted for compatibility. Nothing ever runs on the host.
    #[serde(default)]
    pub allow_host_compat: bool,
    /// The command that the machine is for. It is not run by that; it tells what an idempotency key or `attach` means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<VmPurpose>,
    /// A text of the caller's choice for this one call. Another request with the same key and otherwise the same content
    /// makes nothing: it gives the machine that was made, or `kept` if that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Without an idempotency key: give the machine that a request of the same content made, as long as its command has not
    /// ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach: bool,
    /// Only callers keep the machine: `ttl_seconds` counts from when the last one went away, also if its command runs on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_with_callers: bool,
}

/// The command that a machine is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmPurpose {
    /// What: a string is a shell line, an array an argument vector.
    pub command: CommandLine,
    /// How long it may run.
    #[serde(default = "defaults::timeout_seconds")]
    pub timeout_seconds: u64,
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

impl VmCreateRequest {
    /// A request with the defaults.
    pub fn new(environment: impl Into<String>) -> Self {
        Self {
            environment: environment.into(),
            vcpu_count: DEFAULT_VCPU_COUNT,
            mem_mib: DEFAULT_MEM_MIB,
            ttl_seconds: DEFAULT_TTL_SECONDS,
            network: false,
            allow_host_compat: false,
            purpose: None,
            idempotency_key: None,
            attach: false,
            ends_with_callers: false,
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("vcpu_count", self.vcpu_count, &VCPU_COUNTS)?;
        within("mem_mib", self.mem_mib, &MEM_MIBS)?;
        check_ttl(self.ttl_seconds)?;
        if self.network {
            return Err(not_yet(
                "machines have no network in this release, so network cannot be switched on",
                "create it without; what the command needs must be in the environment",
            ));
        }
        if let Some(purpose) = &self.purpose {
            within("timeout_seconds", purpose.timeout_seconds, &TIMEOUTS_SECONDS)?;
            purpose.command.check()?;
        }
        self.idempotency_key.as_deref().map_or(Ok(()), check_key)?;
        if self.attach && self.purpose.is_none() {
            return Err(check::invalid("attach needs a purpose: which command is meant"));
        }
        check::environment_name(&self.environment)
    }
}

/// Runs a command in a machine, which is deleted afterwards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmExecRequest {
    /// Which.
    pub vm_id: String,
    /// What: a string is a shell line, an array an argument vector.
    pub command: CommandLine,
    /// The command is killed after this many seconds, with everything it started; within [`TIMEOUTS_SECONDS`].
    #[serde(default = "defaults::timeout_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = *TIMEOUTS_SECONDS.start(), max = *TIMEOUTS_SECONDS.end())))]
    pub timeout_seconds: u64,
}

impl VmExecRequest {
    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("timeout_seconds", self.timeout_seconds, &TIMEOUTS_SECONDS)?;
        self.command.check()
    }
}

macro_rules! names_a_machine {
    ($($(#[doc = $doc:literal])+ $request:ident;)+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        pub struct $request {
            /// Which.
            pub vm_id: String,
        })+
    };
}

names_a_machine! {
    /// Starts a machine that was stopped.
    VmStartRequest;
    /// Stops a machine. Its disk stays.
    VmStopRequest;
    /// Asks how a machine is.
    VmStatusRequest;
    /// Asks for the network of a machine.
    VmNetworkInfoRequest;
}

/// Deletes a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmDeleteRequest {
    /// Which.
    pub vm_id: String,
    /// Leave it to somebody else who waits for a command in it now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unless_used: bool,
}

impl VmDeleteRequest {
    /// Deletes it whoever uses it.
    pub fn new(vm_id: impl Into<String>) -> Self {
        Self { vm_id: vm_id.into(), unless_used: false }
    }
}

/// Deletes machines that are past their time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmReapRequest {}

/// A machine.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Vm {
    /// 12 hexadecimal digits.
    pub vm_id: String,
    /// The environment that it was made from.
    pub environment: String,
    /// That environment's version, as far as it has one.
    pub environment_version: Option<String>,
    /// Virtual processors.
    pub vcpu_count: u32,
    /// Memory in MiB.
    pub mem_mib: u32,
    /// Seconds without use after which it is deleted; 0: never.
    pub ttl_seconds: u64,
    /// When it was made, in seconds since 1970.
    pub created_at: f64,
    /// When it will be deleted if nobody uses it; null: never.
    pub expires_at: Option<f64>,
    /// Whether it runs.
    pub state: WorkspaceState,
    /// Whether it has a network.
    pub network_enabled: bool,
    /// As it was asked; nothing ever runs on the host.
    pub allow_host_compat: bool,
    /// Its address, if it has a network.
    pub guest_ip: Option<String>,
    /// Always null: no network of ours has such a device.
    pub tap_name: Option<String>,
    /// `guest_vsock` ([`EXECUTION_MODE`](crate::run::EXECUTION_MODE)); `pending` before it was started.
    pub execution_mode: String,
    /// More, for people who look into things.
    pub metadata: BTreeMap<String, String>,
    /// Whether an earlier request made it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
    /// The machine is gone, and this is kept of its command: how it ended, and the ends of its outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<LogEntry>>,
}

/// A machine is gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VmDeleted {
    /// Which it was.
    pub vm_id: String,
    /// Whether it is gone; false only with `unless_used`.
    pub deleted: bool,
    /// `explicit_delete`, or `in_use`.
    pub reason: String,
}

/// The network of a machine. No machine has one in this release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VmNetworkInfo {
    /// Which.
    pub vm_id: String,
    /// Whether it has one.
    pub network_enabled: bool,
    /// Whether it reaches others.
    pub outbound_connectivity_expected: bool,
    /// Why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Machines that were deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VmsReaped {
    /// Which.
    pub deleted_vm_ids: Vec<String>,
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn a_machine_has_the_contracts_defaults_and_limits() {
        let usual: VmCreateRequest = serde_json::from_str(r#"{"environment":"debian:12"}"#).unwrap();
        assert_eq!((usual.vcpu_count, usual.mem_mib, usual.ttl_seconds), (1, 1024, 600));
        assert!(usual.check().is_ok());
        assert_eq!(usual, VmCreateRequest::new("debian:12"));
        for (bad, code) in [
            (
                VmCreateRequest { idempotency_key: Some(String::new()), ..usual.clone() },
                ErrorCode::InvalidRequest,
            ),
            (VmCreateRequest { attach: true, ..usual.clone() }, ErrorCode::InvalidRequest),
            (VmCreateRequest { vcpu_count: 0, ..usual.clone() }, ErrorCode::InvalidSize),
            (VmCreateRequest { mem_mib: 1, ..usual.clone() }, ErrorCode::InvalidSize),
            (VmCreateRequest { network: true, ..usual }, ErrorCode::NotYetSupported),
        ] {
            assert_eq!(bad.check().unwrap_err().code, code);
        }
        let exec: VmExecRequest = serde_json::from_str(r#"{"vm_id":"a","command":"true"}"#).unwrap();
        assert_eq!(exec.timeout_seconds, 30);
        assert!(VmExecRequest { timeout_seconds: 0, ..exec }.check().is_err());
        assert!(serde_json::from_str::<VmStopRequest>(r#"{"vm_id":"a","force":true}"#).is_err());
    }
}
