//! What names a workspace and what belongs to one: ids that never change and are never used twice.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{entropy, error::Error};

/// An id of 12 lower-case hex digits, and the error of a text that is none.
macro_rules! hex_id {
    ($(#[$doc:meta])+ $name:ident, $error:ident: $message:literal) => {
        $(#[$doc])+
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        #[doc = concat!("A text is not a [`", stringify!($name), "`].")]
        #[derive(Debug, thiserror::Error)]
        #[error($message)]
        pub struct $error;

        impl $name {
            /// Makes an id from random bytes.
            pub fn from_bytes(random: [u8; 6]) -> Self {
                Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
            }

            /// An id that nothing has.
            pub(crate) fn random() -> Result<Self, Error> {
                random().map(Self::from_bytes)
            }

            /// The 12 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                is_hex_id(text).then(|| Self(text.to_owned())).ok_or($error)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

hex_id! {
    /// Names one workspace for ever; 12 lower-case hex digits. Also the name of its directory.
    WorkspaceId, WorkspaceIdError: "a workspace id has 12 lower-case hex digits"
}

hex_id! {
    /// Names one snapshot for ever; 12 lower-case hex digits.
    SnapshotId, SnapshotIdError: "a snapshot id has 12 lower-case hex digits"
}

hex_id! {
    /// Names one file that is written once and then shared: a layer of a disk, or what a memory became; 12 lower-case hex
    /// digits.
    LayerId, LayerIdError: "a layer id has 12 lower-case hex digits"
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn random() -> Result<[u8; 6], Error> {
    let mut random = [0; 6];
    entropy::fill(&mut random).map_err(|source| Error::Store {
        operation: "read from",
        path: PathBuf::from("/dev/urandom"),
        source,
    })?;
    Ok(random)
}
