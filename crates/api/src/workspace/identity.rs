//! How a workspace is named. Each type holds only what the contract allows and refuses anything else when it is made,
//! also when it is read from JSON.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{check::invalid, error::ErrorBody};

/// Most characters of a name, of a label's value, and of a reference.
pub const MAX_NAME_CHARS: usize = 120;

/// Most characters of a label's key.
pub const MAX_LABEL_KEY_CHARS: usize = 64;

/// Most characters of the name of a snapshot.
pub const MAX_SNAPSHOT_NAME_CHARS: usize = 64;

macro_rules! checked_text {
    ($($(#[doc = $doc:literal])+ $type:ident, $check:path;)+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Takes the text if it is allowed, without white space around it.
            pub fn new(text: impl AsRef<str>) -> Result<Self, ErrorBody> {
                $check(text.as_ref().trim()).map(|()| Self(text.as_ref().trim().to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = ErrorBody;

            fn try_from(text: String) -> Result<Self, ErrorBody> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $type {
            type Err = ErrorBody;

            fn from_str(text: &str) -> Result<Self, ErrorBody> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> Self {
                text.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

checked_text! {
    /// Names an existing workspace: its id, or its name where only one has it.
    WorkspaceRef, check_reference;
    /// A name: 1 to [`MAX_NAME_CHARS`] characters, no control characters. Several workspaces may have the same.
    WorkspaceName, check_name;
    /// The name of a snapshot: a letter or digit, then letters, digits, `.`, `_` and `-`, at most [`MAX_SNAPSHOT_NAME_CHARS`].
    SnapshotName, check_snapshot_name;
    /// The key of a label: a letter or digit, then letters, digits, `.`, `_` and `-`, at most [`MAX_LABEL_KEY_CHARS`].
    LabelKey, check_label_key;
    /// The value of a label: 1 to [`MAX_NAME_CHARS`] characters, no control characters but tabs.
    LabelValue, check_label_value;
}

impl SnapshotName {
    /// The snapshot that every workspace begins with.
    pub fn baseline() -> Self {
        Self("baseline".to_owned())
    }
}

/// Labels, sorted by key.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

fn check_reference(text: &str) -> Result<(), ErrorBody> {
    check_text("the id or name of a workspace", text, char::is_control)
}

fn check_name(text: &str) -> Result<(), ErrorBody> {
    check_text("the name of a workspace", text, char::is_control)
}

fn check_label_value(text: &str) -> Result<(), ErrorBody> {
    check_text("the value of a label", text, |c| c.is_control() && c != '\t')
}

fn check_text(what: &str, text: &str, is_refused: fn(char) -> bool) -> Result<(), ErrorBody> {
    if text.is_empty() {
        return Err(invalid(format!("{what} is blank")));
    }
    if text.chars().count() > MAX_NAME_CHARS {
        return Err(invalid(format!("{what} is longer than {MAX_NAME_CHARS} characters")));
    }
    if text.contains(is_refused) {
        return Err(invalid(format!("{what} contains a control character")));
    }
    Ok(())
}

/// A letter or digit, then letters, digits, `.`, `_` and `-`.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn check_snapshot_name(text: &str) -> Result<(), ErrorBody> {
    if is_word(text) && text.len() <= MAX_SNAPSHOT_NAME_CHARS {
        return Ok(());
    }
    Err(invalid(format!("{text:?} cannot be the name of a snapshot")).with_hint(format!(
        "a name is a letter or digit, then letters, digits, '.', '_' and '-', at most {MAX_SNAPSHOT_NAME_CHARS}"
    )))
}

fn check_label_key(text: &str) -> Result<(), ErrorBody> {
    if is_word(text) && text.len() <= MAX_LABEL_KEY_CHARS {
        return Ok(());
    }
    Err(invalid(format!("{text:?} cannot be the key of a label")).with_hint(format!(
        "a key is a letter or digit, then letters, digits, '.', '_' and '-', at most {MAX_LABEL_KEY_CHARS}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(WorkspaceName::new("  fix 42\n").unwrap().as_str(), "fix 42");
        assert!(WorkspaceName::new("é".repeat(MAX_NAME_CHARS)).is_ok());
        for bad in ["", " \t", "a\nb", "a\u{1b}[m", "a\0", &"é".repeat(MAX_NAME_CHARS + 1)] {
            assert!(WorkspaceName::new(bad).is_err(), "{bad:?}");
            assert!(WorkspaceRef::new(bad).is_err(), "{bad:?}");
            assert!(LabelValue::new(bad).is_err(), "{bad:?}");
        }
        assert!(LabelValue::new("a\tb").is_ok());
        assert!(WorkspaceName::new("a\tb").is_err());
    }

    #[test]
    fn keys_of_labels_are_those_of_the_contract() {
        for good in ["a", "7", "issue-4.2_x", &"k".repeat(MAX_LABEL_KEY_CHARS)] {
            assert!(LabelKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a=b", "é", "a/b", &"k".repeat(MAX_LABEL_KEY_CHARS + 1)] {
            assert!(LabelKey::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_an_object_in_json() {
        let labels: Labels = serde_json::from_str(r#"{"b":" 2 ","a":"1"}"#).unwrap();
        assert_eq!(serde_json::to_string(&labels).unwrap(), r#"{"a":"1","b":"2"}"#);
        for bad in [r#"{"b":""}"#, r#"{"":"1"}"#, r#"["a"]"#, r#"{"a":1}"#] {
            assert!(serde_json::from_str::<Labels>(bad).is_err(), "{bad}");
        }
    }
}
