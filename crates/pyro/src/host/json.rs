//! JSON, with or without comments, of which everything but one entry stays as it is.

use std::collections::BTreeSet;

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::document::{Change, Notation, Unusable, dotted, no_map};

/// All that a text says; nothing if there is nothing but comments in it.
pub(super) fn value_of(text: &str, notation: Notation) -> Result<Value, Unusable> {
    let root = parse(text, notation)?;
    let Some(found) = root.value() else { return Ok(Value::Object(Map::new())) };
    let value = found.to_serde_value().ok_or_else(|| Unusable::Malformed {
        notation: notation.title(),
        problem: "a value in it is of no known kind".to_owned(),
    })?;
    if value.is_object() { Ok(value) } else { Err(no_map(&[], &value)) }
}

/// The text with these keys changed in the object at the end of `keys`.
pub(super) fn changed(
    text: &str,
    notation: Notation,
    keys: &[String],
    changes: &[Change],
) -> Result<String, Unusable> {
    let entangled = || Unusable::Entangled { place: dotted(keys) };
    let root = parse(text, notation)?;
    let (name, above) = keys.split_last().ok_or_else(entangled)?;
    let mut servers = root.object_value_or_create().ok_or_else(entangled)?;
    for key in above {
        servers = servers.object_value_or_create(key).ok_or_else(entangled)?;
    }
    match servers.object_value(name) {
        Some(entry) => changes.iter().for_each(|change| alter(&entry, change)),
        None => {
            let members = changes
                .iter()
                .filter_map(|change| Some((change.key.to_owned(), input(change.value.as_ref()?))))
                .collect();
            set(&servers, name, CstInputValue::Object(members));
        }
    }
    Ok(root.to_string())
}

fn parse(text: &str, notation: Notation) -> Result<CstRootNode, Unusable> {
    let malformed = |problem: String| Unusable::Malformed { notation: notation.title(), problem };
    let lenient = notation == Notation::Jsonc;
    if !lenient && !text.trim().is_empty() {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| malformed(error.to_string()))?;
    }
    let options = ParseOptions {
        allow_comments: lenient,
        allow_trailing_commas: lenient,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    CstRootNode::parse(text, &options).map_err(|error| malformed(error.to_string()))
}

/// Refuses a text in which a key on the way to an entry, or one of the entry's own, is there twice.
pub(super) fn refuse_twins(text: &str, notation: Notation, keys: &[String]) -> Result<(), Unusable> {
    let root = parse(text, notation)?;
    let mut object = root.object_value();
    for depth in 0..=keys.len() {
        let Some(here) = object else { return Ok(()) };
        let names: Vec<String> =
            here.properties().iter().filter_map(|property| property.decoded_name()).collect();
        let matters = |name: &String| keys.get(depth).is_none_or(|key| key == name);
        let mut seen = BTreeSet::new();
        if let Some(twin) = names.iter().filter(|name| matters(name)).find(|name| !seen.insert(*name)) {
            let place: Vec<String> = keys[..depth].iter().chain([twin]).cloned().collect();
            return Err(Unusable::Twice { place: dotted(&place) });
        }
        object = keys.get(depth).and_then(|key| here.object_value(key));
    }
    Ok(())
}

fn alter(entry: &CstObject, change: &Change) {
    match &change.value {
        Some(value) => set(entry, change.key, input(value)),
        None => {
            if let Some(property) = entry.get(change.key) {
                property.remove();
            }
        }
    }
}

fn set(object: &CstObject, key: &str, value: CstInputValue) {
    match object.get(key) {
        Some(property) => property.set_value(value),
        None => {
            object.append(key, value);
        }
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(truth) => CstInputValue::Bool(*truth),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(elements) => CstInputValue::Array(elements.iter().map(input).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(key, value)| (key.clone(), input(value))).collect())
        }
    }
}
