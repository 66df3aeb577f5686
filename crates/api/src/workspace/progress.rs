//! How far work on a workspace has come.

use serde::{Deserialize, Serialize};

/// What happens while a workspace is made, or files go between host and guest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WorkEvent {
    /// A step goes on.
    Progress(WorkProgress),
}

/// How far the step at hand has come.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkProgress {
    /// The step, a short phrase: `starting the machine`, `sending files`.
    pub step: String,
    /// The thing at hand, e.g. a path or a package; may be empty.
    #[serde(default)]
    pub detail: String,
    /// Bytes of files that were passed in this step.
    #[serde(default)]
    pub bytes: u64,
    /// Entries that were passed in this step.
    #[serde(default)]
    pub entries: u64,
    /// Share of the whole work, 0 to 1; absent as long as nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
}
