//! What names a workspace: an id that never changes, and a name that a person gave it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Names one workspace for ever; 12 lower-case hex digits. Also the name of its directory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceId(String);

/// A text is not a [`WorkspaceId`].
#[derive(Debug, thiserror::Error)]
#[error("a workspace id has 12 lower-case hex digits")]
pub struct WorkspaceIdError;

impl WorkspaceId {
    /// Makes an id from random bytes.
    pub fn from_bytes(random: [u8; 6]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The 12 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkspaceId {
    type Err = WorkspaceIdError;

    fn from_str(text: &str) -> Result<Self, WorkspaceIdError> {
        let valid = text.len() == 12 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned())).ok_or(WorkspaceIdError)
    }
}

impl TryFrom<String> for WorkspaceId {
    type Error = WorkspaceIdError;

    fn try_from(text: String) -> Result<Self, WorkspaceIdError> {
        text.parse()
    }
}

impl From<WorkspaceId> for String {
    fn from(id: WorkspaceId) -> Self {
        id.0
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
