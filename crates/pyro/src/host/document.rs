//! A configuration as text: what stands at a place in it, and the same text with something else there.

use serde_json::{Map, Value};

use super::{json, toml};

/// How a configuration is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notation {
    /// JSON to the letter.
    Json,
    /// JSON with comments and commas behind the last element.
    Jsonc,
    Toml,
}

/// One key of an entry and its new value, or none to remove the key.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Change {
    pub(crate) key: &'static str,
    pub(crate) value: Option<Value>,
}

/// Why a configuration is left alone.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is not valid {notation}: {problem}")]
    Malformed { notation: &'static str, problem: String },
    #[error("{place} is {found} and not {wanted}")]
    WrongKind { place: String, found: &'static str, wanted: &'static str },
    #[error("{place} is there twice, and programs differ in which one they take")]
    Twice { place: String },
    #[error("{place} cannot be changed without touching something else")]
    Entangled { place: String },
}

/// A mark at the beginning that some editors write.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A configuration that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    notation: Notation,
    /// As it is in the file.
    text: String,
    /// All that it says.
    value: Value,
}

impl Notation {
    /// As people call it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Jsonc => "JSON with comments",
            Self::Toml => "TOML",
        }
    }

    fn value_of(self, text: &str) -> Result<Value, Unusable> {
        match self {
            Self::Json | Self::Jsonc => json::value_of(text, self),
            Self::Toml => toml::value_of(text),
        }
    }
}

impl Document {
    /// Understands a text; an empty one says nothing.
    pub(super) fn read(notation: Notation, text: &str) -> Result<Self, Unusable> {
        let value = notation.value_of(without_mark(text))?;
        Ok(Self { notation, text: text.to_owned(), value })
    }

    /// What is at the end of these keys.
    pub(super) fn at(&self, keys: &[String]) -> Result<Option<&Value>, Unusable> {
        if self.notation != Notation::Toml {
            json::refuse_twins(without_mark(&self.text), self.notation, keys)?;
        }
        let mut value = &self.value;
        for (depth, key) in keys.iter().enumerate() {
            let Some(map) = value.as_object() else { return Err(no_map(&keys[..depth], value)) };
            let Some(inner) = map.get(key) else { return Ok(None) };
            value = inner;
        }
        Ok(Some(value))
    }

    /// The text with these keys changed in what is at the end of `keys`, all else as it was.
    pub(super) fn changed(&self, keys: &[String], changes: &[Change]) -> Result<String, Unusable> {
        let found = self.at(keys)?;
        let wanted = changed_value(found, changes);
        let body = without_mark(&self.text);
        let text = match self.notation {
            Notation::Json | Notation::Jsonc => json::changed(body, self.notation, keys, changes)?,
            Notation::Toml => toml::changed(body, keys, changes)?,
        };
        self.check(&text, keys, &wanted)?;
        let mark = if body.len() == self.text.len() { "" } else { "\u{feff}" };
        Ok(format!("{mark}{text}"))
    }

    /// Nothing is believed of an edit: the new text must say what was wanted, and of the rest what the old one said.
    fn check(&self, text: &str, keys: &[String], wanted: &Value) -> Result<(), Unusable> {
        let entangled = || Unusable::Entangled { place: dotted(keys) };
        let after = self.notation.value_of(text).map_err(|_| entangled())?;
        let made = keys.iter().try_fold(&after, |value, key| value.get(key));
        if made != Some(wanted) || rest(self.value.clone(), keys) != rest(after.clone(), keys) {
            return Err(entangled());
        }
        Ok(())
    }
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

fn changed_value(found: Option<&Value>, changes: &[Change]) -> Value {
    let mut map = found.and_then(Value::as_object).cloned().unwrap_or_default();
    for change in changes {
        match &change.value {
            Some(value) => map.insert(change.key.to_owned(), value.clone()),
            None => map.remove(change.key),
        };
    }
    Value::Object(map)
}

/// All but what is at the end of the keys, and but maps on the way there that have nothing else.
fn rest(mut value: Value, keys: &[String]) -> Value {
    fn prune(map: &mut Map<String, Value>, keys: &[String]) {
        let Some((key, deeper)) = keys.split_first() else { return };
        let empty = match map.get_mut(key) {
            Some(Value::Object(inner)) if !deeper.is_empty() => {
                prune(inner, deeper);
                inner.is_empty()
            }
            _ => deeper.is_empty(),
        };
        if empty {
            map.remove(key);
        }
    }
    if let Value::Object(map) = &mut value {
        prune(map, keys);
    }
    value
}

/// Keys as one word, for people.
pub(super) fn dotted(keys: &[String]) -> String {
    if keys.is_empty() { "the whole".to_owned() } else { format!("`{}`", keys.join(".")) }
}

pub(super) fn no_map(keys: &[String], found: &Value) -> Unusable {
    Unusable::WrongKind { place: dotted(keys), found: kind(found), wanted: "a map" }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
