//! `workspace_create`: a new machine with files in it.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use super::identity::{Labels, WorkspaceName};
use crate::{
    check::{self, invalid, not_yet, within},
    error::{ErrorBody, ErrorCode},
    run::{DEFAULT_MEM_MIB, DEFAULT_TTL_SECONDS, DEFAULT_VCPU_COUNT, MEM_MIBS, VCPU_COUNTS},
    text::ByteString,
};

/// Sizes of the writable disk in MiB that can be asked for: 4 GiB, a template's, to 256 GiB. It takes room as it is used.
pub const DISK_MIBS: RangeInclusive<u64> = 4096..=256 << 10;

/// Lifetimes in seconds that can be asked for, beside 0 for no bound: 1 s to 100 years.
pub const WORKSPACE_TTLS_SECONDS: RangeInclusive<u64> = 1..=100 * 365 * 24 * 3600;

/// Most patterns of one request, and longest pattern in bytes.
pub const MAX_PATTERNS: usize = 1000;
const MAX_PATTERN_BYTES: usize = 4096;

/// What kind of machine, and what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkspaceCreateRequest {
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
    /// Writable disk in MiB, within [`DISK_MIBS`]; the daemon's default when absent. Only what is written takes space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = *DISK_MIBS.start(), max = *DISK_MIBS.end())))]
    pub disk_mib: Option<u64>,
    /// The machine is stopped after this many seconds without any use; 0 for never. Nothing is deleted:
    /// `workspace_start` starts it again.
    #[serde(default = "defaults::ttl_seconds")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *WORKSPACE_TTLS_SECONDS.end())))]
    pub ttl_seconds: u64,
    /// Seconds without use after which the machine is saved and its memory freed, until it is used; 0 for never.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = *WORKSPACE_TTLS_SECONDS.end())))]
    pub idle_sleep_seconds: u64,
    /// Whether a checkpoint is taken before each command, patch and write, so that they can be undone.
    #[serde(default)]
    pub auto_checkpoint: bool,
    /// What the machine may reach; only `off` in this release.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// Accepted for compatibility. Nothing ever runs on the host.
    #[serde(default)]
    pub allow_host_compat: bool,
    /// Absolute path on the host of a directory or a `.tar`, `.tar.gz`, `.tgz` or `.tar.zst`; empty when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_path: Option<ByteString>,
    /// Of a directory in a Git work tree, takes only what Git tracks, as it is now, uncommitted edits included.
    #[serde(default)]
    pub seed_git: bool,
    /// Patterns in the syntax of `.gitignore` of what is left out, beside those in the directory's `.pyroignore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Name to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<WorkspaceName>,
    /// Labels to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Secrets. A later release will take them; now they are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretSource>,
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
}

impl WorkspaceCreateRequest {
    /// A request with the defaults.
    pub fn new(environment: impl Into<String>) -> Self {
        Self {
            environment: environment.into(),
            vcpu_count: DEFAULT_VCPU_COUNT,
            mem_mib: DEFAULT_MEM_MIB,
            disk_mib: None,
            ttl_seconds: DEFAULT_TTL_SECONDS,
            idle_sleep_seconds: 0,
            auto_checkpoint: false,
            network_policy: NetworkPolicy::Off,
            allow_host_compat: false,
            seed_path: None,
            seed_git: false,
            exclude: Vec::new(),
            name: None,
            labels: Labels::new(),
            secrets: Vec::new(),
        }
    }

    /// Everything about the request that can be judged without a host.
    pub fn check(&self) -> Result<(), ErrorBody> {
        within("vcpu_count", self.vcpu_count, &VCPU_COUNTS)?;
        within("mem_mib", self.mem_mib, &MEM_MIBS)?;
        self.disk_mib.map_or(Ok(()), |disk_mib| within("disk_mib", disk_mib, &DISK_MIBS))?;
        check_ttl(self.ttl_seconds)?;
        check_idle_sleep(self.idle_sleep_seconds)?;
        check::environment_name(&self.environment)?;
        if self.network_policy != NetworkPolicy::Off {
            return Err(not_yet(
                "machines have no network in this release, so network_policy can only be off",
                "create it without; what the work needs must be in the environment or in the seed",
            ));
        }
        if !self.secrets.is_empty() {
            return Err(not_yet(
                "workspaces take no secrets in this release",
                "create it without; nothing was kept of what was given",
            ));
        }
        check_patterns("exclude", &self.exclude)?;
        match &self.seed_path {
            Some(path) => check::host_path("seed_path", path),
            None if self.seed_git || !self.exclude.is_empty() => {
                Err(invalid("seed_git and exclude mean nothing without seed_path"))
            }
            None => Ok(()),
        }
    }
}

/// A lifetime: 0, or within [`WORKSPACE_TTLS_SECONDS`].
pub(crate) fn check_ttl(ttl_seconds: u64) -> Result<(), ErrorBody> {
    if ttl_seconds == 0 {
        return Ok(());
    }
    within("ttl_seconds (unless it is 0, for never)", ttl_seconds, &WORKSPACE_TTLS_SECONDS)
}

/// How long a machine may stay unused before it sleeps: 0, or within [`WORKSPACE_TTLS_SECONDS`].
pub(crate) fn check_idle_sleep(idle_sleep_seconds: u64) -> Result<(), ErrorBody> {
    if idle_sleep_seconds == 0 {
        return Ok(());
    }
    within("idle_sleep_seconds (unless it is 0, for never)", idle_sleep_seconds, &WORKSPACE_TTLS_SECONDS)
}

/// Patterns in the syntax of `.gitignore`.
pub(crate) fn check_patterns(what: &str, patterns: &[String]) -> Result<(), ErrorBody> {
    if patterns.len() > MAX_PATTERNS {
        let error = format!("{what} has more than {MAX_PATTERNS} patterns");
        return Err(ErrorBody::new(ErrorCode::InvalidSize, error));
    }
    let bad = |pattern: &&String| {
        pattern.trim().is_empty() || pattern.contains(['\0', '\n']) || pattern.len() > MAX_PATTERN_BYTES
    };
    match patterns.iter().find(bad) {
        Some(pattern) => Err(invalid(format!("{what} has a pattern that is none: {pattern:?}"))),
        None => Ok(()),
    }
}

/// What a machine may reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetworkPolicy {
    /// Nothing.
    #[default]
    Off,
    /// Others, but nobody reaches it.
    Egress,
    /// Others, and the host reaches the ports that are published.
    EgressAndPublishedPorts,
}

impl NetworkPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Egress, Self::EgressAndPublishedPorts];

    /// The contract's token.
    pub fn token(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Egress => "egress",
            Self::EgressAndPublishedPorts => "egress+published-ports",
        }
    }
}

impl TryFrom<String> for NetworkPolicy {
    type Error = ErrorBody;

    fn try_from(text: String) -> Result<Self, ErrorBody> {
        let token = text.trim().to_lowercase();
        Self::ALL.into_iter().find(|policy| policy.token() == token).ok_or_else(|| {
            invalid(format!("network_policy must be off, egress or egress+published-ports, not {text:?}"))
        })
    }
}

impl From<NetworkPolicy> for String {
    fn from(policy: NetworkPolicy) -> Self {
        policy.token().to_owned()
    }
}

/// A secret, by value or by the path of a file on the host. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// Its name.
    pub name: String,
    /// What is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The file that holds what is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_path: Option<String>,
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSource").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> WorkspaceCreateRequest {
        WorkspaceCreateRequest::new("debian:12")
    }

    fn code(request: &WorkspaceCreateRequest) -> Option<ErrorCode> {
        request.check().err().map(|error| error.code)
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let read: WorkspaceCreateRequest = serde_json::from_str(r#"{"environment":"debian:12"}"#).unwrap();
        assert_eq!(read, request());
        assert_eq!((read.vcpu_count, read.mem_mib, read.ttl_seconds), (1, 1024, 600));
        assert_eq!(code(&read), None);
        let json = r#"{"environment":"debian:12","seedpath":"/x"}"#;
        assert!(serde_json::from_str::<WorkspaceCreateRequest>(json).is_err());
    }

    #[test]
    fn limits_hold() {
        for (bad, expected) in [
            (WorkspaceCreateRequest { vcpu_count: 9, ..request() }, ErrorCode::InvalidSize),
            (WorkspaceCreateRequest { mem_mib: 255, ..request() }, ErrorCode::InvalidSize),
            (WorkspaceCreateRequest { disk_mib: Some(255), ..request() }, ErrorCode::InvalidSize),
            (WorkspaceCreateRequest { ttl_seconds: u64::MAX, ..request() }, ErrorCode::InvalidSize),
            (WorkspaceCreateRequest { environment: "oci:a".into(), ..request() }, ErrorCode::NotYetSupported),
            (WorkspaceCreateRequest { seed_path: Some("a".into()), ..request() }, ErrorCode::InvalidRequest),
            (WorkspaceCreateRequest { seed_git: true, ..request() }, ErrorCode::InvalidRequest),
            (WorkspaceCreateRequest { exclude: vec!["a".into()], ..request() }, ErrorCode::InvalidRequest),
            (
                WorkspaceCreateRequest { network_policy: NetworkPolicy::Egress, ..request() },
                ErrorCode::NotYetSupported,
            ),
        ] {
            assert_eq!(code(&bad), Some(expected), "{bad:?}");
        }
        for ttl_seconds in [0, 1, 59, 3601, 10_000_000] {
            assert_eq!(code(&WorkspaceCreateRequest { ttl_seconds, ..request() }), None);
        }
        let exclude = vec![" ".to_owned()];
        let blank = WorkspaceCreateRequest { seed_path: Some("/a".into()), exclude, ..request() };
        assert_eq!(code(&blank), Some(ErrorCode::InvalidRequest));
    }

    #[test]
    fn policies_are_read_as_the_contract_reads_them() {
        let read = |json: &str| serde_json::from_str::<NetworkPolicy>(json);
        assert_eq!(read(r#"" OFF ""#).unwrap(), NetworkPolicy::Off);
        assert_eq!(read(r#""egress+published-ports""#).unwrap(), NetworkPolicy::EgressAndPublishedPorts);
        assert!(read(r#""on""#).is_err());
    }

    #[test]
    fn secrets_are_refused_and_never_shown() {
        let json = r#"{"environment":"debian:12","secrets":[{"name":"TOKEN","value":"hunter2"}]}"#;
        let read: WorkspaceCreateRequest = serde_json::from_str(json).unwrap();
        assert_eq!(code(&read), Some(ErrorCode::NotYetSupported));
        assert!(!format!("{read:?} {:?}", read.check()).contains("hunter2"));
    }
}
