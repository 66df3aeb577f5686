//! What a JSON schema of the contract is in Python.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

/// Schemas whose values are bytes: `str` in Python, whatever they hold.
const BYTES: &[&str] = &["ByteString", "WorkspacePath", "GuestPath"];

/// The named schemas of the contract.
pub(super) struct Schemas<'a> {
    named: &'a Map<String, Value>,
}

/// Which way a value goes; what is sent may be said in more ways than what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Sent,
    Answered,
}

/// A member of an object.
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) required: bool,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(api: &'a Value) -> Result<Self> {
        Ok(Self { named: api["schemas"].as_object().context("the contract has no schemas")? })
    }

    pub(super) fn get(&self, name: &str) -> Result<&'a Value> {
        self.named.get(name).with_context(|| format!("the contract has no schema {name}"))
    }

    /// The name of the schema that a value refers to, also where it may be null.
    pub(super) fn reference<'v>(&self, schema: &'v Value) -> Option<&'v str> {
        schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next())
    }

    /// Members of an object: those that must be there first, in their order, then the others.
    pub(super) fn fields(&self, schema: &'a Value) -> Vec<Field<'a>> {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
        let first = required
            .iter()
            .filter_map(|name| properties.get_key_value(*name))
            .map(|(name, schema)| Field { name, schema, required: true });
        let rest = properties
            .iter()
            .filter(|(name, _)| !required.contains(&name.as_str()))
            .map(|(name, schema)| Field { name, schema, required: false });
        first.chain(rest).collect()
    }

    /// What a field is for.
    pub(super) fn description(&self, schema: &Value) -> String {
        let own = schema["description"].as_str();
        let named = || self.reference(schema).and_then(|name| self.get(name).ok()?["description"].as_str());
        own.or_else(named).unwrap_or_default().to_owned()
    }

    /// The type of a value.
    pub(super) fn python(&self, schema: &Value, way: Way) -> Result<String> {
        if let Some(name) = self.reference(schema) {
            return self.named_type(name, way);
        }
        if let Some(alternatives) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            let types: Vec<String> =
                alternatives.iter().map(|schema| self.python(schema, way)).collect::<Result<_>>()?;
            return Ok(union(types));
        }
        if let Some(values) = schema["enum"].as_array() {
            return Ok(literals(values));
        }
        if !schema["const"].is_null() {
            return Ok(literals(std::slice::from_ref(&schema["const"])));
        }
        match &schema["type"] {
            Value::Array(kinds) => {
                let kinds: Vec<String> = kinds
                    .iter()
                    .map(|kind| self.plain(kind.as_str().unwrap_or_default(), schema, way))
                    .collect::<Result<_>>()?;
                Ok(union(kinds))
            }
            Value::String(kind) => self.plain(kind, schema, way),
            _ => bail!("a schema without a type: {schema}"),
        }
    }

    fn plain(&self, kind: &str, schema: &Value, way: Way) -> Result<String> {
        Ok(match kind {
            "string" => "str".to_owned(),
            "integer" => "int".to_owned(),
            "number" => "float".to_owned(),
            "boolean" => "bool".to_owned(),
            "null" => "None".to_owned(),
            "array" => {
                let items = self.python(&schema["items"], way)?;
                if way == Way::Sent { format!("Sequence[{items}]") } else { format!("list[{items}]") }
            }
            "object" => {
                let values = self.values(schema)?;
                let values = self.python(values, way)?;
                if way == Way::Sent {
                    format!("Mapping[str, {values}]")
                } else {
                    format!("dict[str, {values}]")
                }
            }
            other => bail!("a schema of type {other}"),
        })
    }

    /// The schema of the values of a map.
    fn values<'v>(&self, schema: &'v Value) -> Result<&'v Value> {
        let patterned = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
        let values = patterned.unwrap_or_else(|| &schema["additionalProperties"]);
        ensure!(values.is_object(), "an object without a name that is no map: {schema}");
        Ok(values)
    }

    fn named_type(&self, name: &str, way: Way) -> Result<String> {
        let sent = way == Way::Sent;
        Ok(match name {
            _ if BYTES.contains(&name) => if sent { "Bytes" } else { "str" }.to_owned(),
            "CommandLine" => "Command".to_owned(),
            "FileMode" => if sent { "int | str" } else { "str" }.to_owned(),
            "CommandRef" => if sent { "int | str" } else { "str" }.to_owned(),
            "ErrorCode" => "str".to_owned(),
            _ if self.is_type(name)? => name.to_owned(),
            _ => self.python(self.get(name)?, way)?,
        })
    }

    /// Whether a schema has a name in Python too: objects with members, and tokens.
    pub(super) fn is_type(&self, name: &str) -> Result<bool> {
        let schema = self.get(name)?;
        Ok(schema["properties"].is_object() || self.tokens(schema).is_some())
    }

    /// The tokens that a schema allows, if it is one of tokens.
    pub(super) fn tokens(&self, schema: &'a Value) -> Option<Vec<&'a Value>> {
        if let Some(values) = schema["enum"].as_array() {
            return Some(values.iter().collect());
        }
        let alternatives = schema["oneOf"].as_array()?;
        let mut tokens = Vec::new();
        for alternative in alternatives {
            match alternative["enum"].as_array() {
                Some(values) => tokens.extend(values),
                None if alternative["const"].is_string() => tokens.push(&alternative["const"]),
                None => return None,
            }
        }
        Some(tokens)
    }

    /// Named types that a type is made of, itself included.
    pub(super) fn closure(&self, name: &str, found: &mut BTreeSet<String>) -> Result<()> {
        if BYTES.contains(&name) || !self.is_type(name)? || !found.insert(name.to_owned()) {
            return Ok(());
        }
        self.closure_of(self.get(name)?, found)
    }

    fn closure_of(&self, schema: &Value, found: &mut BTreeSet<String>) -> Result<()> {
        if let Some(name) = self.reference(schema) {
            return self.closure(name, found);
        }
        match schema {
            Value::Object(members) => members.values().try_for_each(|member| self.closure_of(member, found)),
            Value::Array(items) => items.iter().try_for_each(|item| self.closure_of(item, found)),
            _ => Ok(()),
        }
    }

    /// Where a value has bytes: names of members, and `*` for every element.
    pub(super) fn places_of_bytes(&self, schema: &Value) -> Result<Vec<Vec<String>>> {
        if let Some(name) = self.reference(schema) {
            return if BYTES.contains(&name) {
                Ok(vec![Vec::new()])
            } else {
                self.places_of_bytes(self.get(name)?)
            };
        }
        let mut places = Vec::new();
        let mut below = |step: &str, schema: &Value| -> Result<()> {
            for place in self.places_of_bytes(schema)? {
                places.push([vec![step.to_owned()], place].concat());
            }
            Ok(())
        };
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            below(name, schema)?;
        }
        if schema["items"].is_object() {
            below("*", &schema["items"])?;
        }
        for key in ["additionalProperties", "patternProperties"] {
            match (key, &schema[key]) {
                ("additionalProperties", values @ Value::Object(_)) => below("*", values)?,
                ("patternProperties", Value::Object(patterns)) => {
                    patterns.values().try_for_each(|values| below("*", values))?;
                }
                _ => {}
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for alternative in schema[key].as_array().into_iter().flatten() {
                places.extend(self.places_of_bytes(alternative)?);
            }
        }
        places.sort();
        places.dedup();
        Ok(places)
    }

    /// The function of `_text` that a value goes through before it is sent, if it goes through any.
    pub(super) fn encoder(&self, schema: &Value) -> Option<&'static str> {
        if let Some(name) = self.reference(schema) {
            return match name {
                _ if BYTES.contains(&name) => Some("to_json"),
                "CommandLine" => Some("command"),
                "FileMode" => Some("mode"),
                _ => None,
            };
        }
        if let Some(alternatives) = schema["anyOf"].as_array() {
            return alternatives.iter().find_map(|schema| self.encoder(schema));
        }
        let kinds = |kind: &str| match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|other| other == kind),
            other => other == kind,
        };
        if kinds("array") {
            return Some(if self.encoder(&schema["items"]).is_some() { "bytes_list" } else { "list" });
        }
        if kinds("object") {
            let values = self.values(schema).ok()?;
            return Some(if self.encoder(values).is_some() { "bytes_map" } else { "dict" });
        }
        None
    }
}

/// Several types as one, `None` last.
fn union(types: Vec<String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for kind in types {
        if !distinct.contains(&kind) {
            distinct.push(kind);
        }
    }
    distinct.sort_by_key(|kind| kind == "None");
    distinct.join(" | ")
}

/// Values as a type.
pub(super) fn literals(values: &[Value]) -> String {
    let values: Vec<String> = values.iter().map(Value::to_string).collect();
    format!("Literal[{}]", values.join(", "))
}
