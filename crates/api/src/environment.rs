//! Environments: what a machine can start from.

use serde::{Deserialize, Serialize};

/// Asks for all environments.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvListRequest {}

/// Asks for one environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvInspectRequest {
    /// Its name.
    pub environment: String,
    /// Read every file and compare it with its recorded digest.
    #[serde(default)]
    pub verify: bool,
}

/// Makes an environment ready to use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvPullRequest {
    /// Its name.
    pub environment: String,
}

/// Removes what is left over from earlier versions and unfinished work.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvPruneRequest {}

/// Makes an environment from a root file system of the caller's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvImportRequest {
    /// Name to give it.
    pub name: String,
    /// Absolute path of a directory or a tar archive on the host, readable by the daemon's user. It must hold a kernel.
    pub source_path: String,
}

/// An environment as everybody sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Environment {
    /// Name, e.g. `debian:12`.
    pub name: String,
    /// Version of the recipe.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// Packages that people rely on.
    pub default_packages: Vec<String>,
    /// Distribution, e.g. `debian`.
    pub distribution: String,
    /// Its version, e.g. `12`.
    pub distribution_version: String,
    /// Contract's name of the platform, e.g. `linux-x86_64`.
    pub platform: String,
    /// Registry that it comes from; null, as none does yet.
    pub oci_registry: Option<String>,
    /// Repository in that registry.
    pub oci_repository: Option<String>,
    /// Reference in that repository.
    pub oci_reference: Option<String>,
    /// Digest of what it was made from, hexadecimal; known once installed.
    pub source_digest: Option<String>,
    /// Releases of pyro that can use it, as a semantic version range.
    pub compatibility: String,
    /// Version of the list of environments.
    pub catalog_version: String,
    /// Whether it is ready to use.
    pub installed: bool,
    /// Directory of all environments.
    pub cache_dir: String,
    /// Directory of this one, also when it is not there yet.
    pub install_dir: String,
    /// The file that records its digests; only when installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_manifest: Option<String>,
    /// Result of reading every file; only when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// All environments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EnvironmentList {
    /// Version of the list.
    pub catalog_version: String,
    /// Sorted by name.
    pub environments: Vec<Environment>,
}

/// An environment that is ready.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PulledEnvironment {
    /// The environment.
    #[serde(flatten)]
    pub environment: Environment,
    /// Path of its kernel.
    pub kernel_image: String,
    /// Path of its root image.
    pub rootfs_image: String,
    /// Where it came from.
    pub source: String,
}

/// What was removed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PruneResult {
    /// Names of the removed directories, sorted.
    pub deleted_environment_dirs: Vec<String>,
    /// How many.
    pub count: usize,
    /// How many templates were removed that no installed environment leads to; 0 also where no machine can be had, and
    /// so no template be told from another.
    #[serde(default)]
    pub templates_removed: usize,
}

/// Progress of making an environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PullEvent {
    /// A step goes on.
    Progress(Progress),
}

/// How far the work has come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Progress {
    /// The step, a short phrase: `downloading packages`, `writing the root image`.
    pub step: String,
    /// Share of the whole work, 0 to 1; absent as long as nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// The thing at hand, e.g. the name of a package; may be empty.
    #[serde(default)]
    pub detail: String,
}
