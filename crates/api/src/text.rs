//! Bytes in JSON. Arguments, paths and output of programs are bytes; JSON has only text. Bytes that are UTF-8
//! travel as a string, any others as `{"base64": "…"}`, so nothing is lost and the usual case stays readable.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A byte string that is a plain string in JSON whenever it can be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ByteString(pub Vec<u8>);

impl From<&str> for ByteString {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for ByteString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

#[derive(Serialize)]
struct Encoded {
    base64: String,
}

/// A map and no struct: a struct can also be read from an array, and an argument vector of one word would be
/// taken for base64.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or {\"base64\": string}")]
enum TextOrEncoded {
    Text(String),
    Encoded(BTreeMap<String, String>),
}

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Encoded { base64: to_base64(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match TextOrEncoded::deserialize(deserializer)? {
            TextOrEncoded::Text(text) => Ok(Self(text.into_bytes())),
            TextOrEncoded::Encoded(members) => match members.iter().next() {
                Some((name, base64)) if name == "base64" && members.len() == 1 => {
                    from_base64(base64).map(Self).ok_or_else(|| D::Error::custom("invalid base64"))
                }
                _ => Err(D::Error::custom("expected {\"base64\": string} and nothing else")),
            },
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
pub fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Reads standard base64 with padding; nothing else is accepted.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text[..text.len() - padding].chunks(4) {
        let mut group = 0_u32;
        for byte in chunk {
            group = group << 6 | u32::try_from(ALPHABET.iter().position(|digit| digit == byte)?).ok()?;
        }
        group <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(&group.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

/// One argument as a POSIX shell would want it quoted; readable, not necessarily as short as can be.
/// Bytes that are no UTF-8 are shown as replacement characters: this is for people, not for execution.
pub fn shell_quoted(argument: &[u8]) -> String {
    let text = String::from_utf8_lossy(argument);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r#"'"'"'"#))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_survive_base64(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(from_base64(&to_base64(&bytes)), Some(bytes));
        }

        #[test]
        fn bytes_survive_json(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let json = serde_json::to_string(&ByteString(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<ByteString>(&json).unwrap().0, bytes);
        }
    }

    #[test]
    fn base64_is_the_standard_one() {
        assert_eq!(to_base64(b"\xff\xfe\xfd\xfc"), "//79/A==");
        assert_eq!(from_base64("Zm9vYg=="), Some(b"foob".to_vec()));
        for bad in ["Zg", "Z===", "Zm9v!mFy", "Z=g="] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(serde_json::to_string(&ByteString::from("grüße")).unwrap(), "\"grüße\"");
        assert_eq!(serde_json::to_string(&ByteString(vec![0xff])).unwrap(), r#"{"base64":"/w=="}"#);
        for bad in [r#"{"base64":"/w==","x":"1"}"#, r#"{"x":"/w=="}"#, r#"{}"#, r#"["true"]"#] {
            assert!(serde_json::from_str::<ByteString>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quoting_is_that_of_a_shell() {
        for (argument, quoted) in [
            ("git", "git"),
            ("--a=b", "--a=b"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r#"'it'"'"'s'"#),
            ("$x", "'$x'"),
        ] {
            assert_eq!(shell_quoted(argument.as_bytes()), quoted);
        }
    }
}
