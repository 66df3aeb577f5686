//! Schemas of tools, as short as they can be: each word of an input schema is read by a model in every chat.

use rmcp::model::JsonObject;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

/// Of arguments: everything inline; whatever has no use for who fills it in is left out.
pub(super) fn input<Arguments: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let generator = settings.for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Arguments>().to_value();
    pyro_api::schema::tidy(&mut schema);
    shorten(&mut schema);
    let mut schema = object(schema);
    // The tool's own description says it.
    schema.remove("description");
    schema.entry("properties").or_insert_with(|| json!({}));
    schema
}

/// Of a result, or of a failure in its place. Without descriptions: the reference of the API has them, and no model
/// needs them to read a result.
pub(super) fn output<Returned: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    let generator = settings.for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Returned>().to_value();
    pyro_api::schema::tidy(&mut schema);
    undescribe(&mut schema);
    let mut schema = object(schema);
    let required = schema.remove("required").unwrap_or_else(|| json!([]));
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for (name, kind) in FAILURE {
            properties.entry(*name).or_insert_with(|| json!({ "type": kind }));
        }
    }
    schema.insert(
        "anyOf".to_owned(),
        json!([{ "required": required }, { "required": ["code", "message", "retryable"] }]),
    );
    schema
}

/// What a failure has, and of what type.
const FAILURE: &[(&str, &str)] = &[
    ("code", "string"),
    ("message", "string"),
    ("hint", "string"),
    ("retryable", "boolean"),
    ("work_started", "boolean"),
    ("work", "string"),
    ("job_id", "string"),
];

fn object(schema: Value) -> JsonObject {
    match schema {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

/// Takes out of a schema, and of those in it, what says nothing.
fn shorten(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    members.remove("title");
    if members.get("default").is_some_and(says_nothing) {
        members.remove("default");
    }
    if members.get("minimum").is_some_and(|least| least == 0) {
        members.remove("minimum");
    }
    // An argument that is not wanted is left out; null is taken all the same.
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            members.remove("anyOf");
            for (name, value) in only {
                members.entry(name).or_insert(value);
            }
        }
    }
    for (name, member) in members.iter_mut() {
        match (name.as_str(), member) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(shorten),
            ("items" | "additionalProperties", member) => shorten(member),
            ("anyOf" | "oneOf" | "allOf", Value::Array(choices)) => choices.iter_mut().for_each(shorten),
            _ => {}
        }
    }
}

fn says_nothing(default: &Value) -> bool {
    match default {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn undescribe(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, value| {
                !(matches!(name.as_str(), "description" | "title") && value.is_string())
            });
            members.values_mut().for_each(undescribe);
        }
        Value::Array(items) => items.iter_mut().for_each(undescribe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// Not shown.
    #[derive(Deserialize, Serialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        /// A name
        name: String,
        #[serde(default)]
        #[schemars(range(min = 1, max = 9))]
        count: Option<u64>,
        #[serde(default)]
        sure: bool,
    }

    #[test]
    fn inputs_say_what_is_needed_and_no_more() {
        assert_eq!(
            Value::Object(input::<Sample>()),
            json!({
                "type": "object",
                "properties": {
                    "name": { "type": "string", "description": "A name" },
                    "count": { "type": "integer", "minimum": 1, "maximum": 9 },
                    "sure": { "type": "boolean" },
                },
                "required": ["name"],
                "additionalProperties": false,
            })
        );
    }

    #[test]
    fn an_output_is_a_result_or_a_failure() {
        let schema = Value::Object(output::<Sample>());
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["properties"]["code"]["type"], "string");
        assert_eq!(schema["anyOf"][0]["required"], json!(["name", "count", "sure"]));
        assert!(!schema.to_string().contains("description"));
    }
}
