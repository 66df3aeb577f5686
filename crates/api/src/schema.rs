//! The contract as JSON schemas (feature `schema`): of every request, event and result, and as one document for programs
//! that are made from it ([`document`]).
//!
//! Descriptions are the doc comments and bounds are the constants of the types, so neither can drift. What JSON can have
//! in more than one form, or in a form that no derive sees, is described here by hand.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use crate::{
    API_VERSION, ErrorBody, ErrorCode, FRAMES_MEDIA_TYPE, OLDEST_API_VERSION, VERSION_HEADER,
    frame::Kind,
    operation::{COMMON_ERRORS, OPERATIONS, Operation},
    service::NoEvent,
    text::ByteString,
    workspace::{
        command::CommandRef,
        create::NetworkPolicy,
        diff::Against,
        entry::FileMode,
        identity::{
            LabelKey, LabelValue, MAX_LABEL_KEY_CHARS, MAX_NAME_CHARS, MAX_SNAPSHOT_NAME_CHARS, SnapshotName,
            WorkspaceName, WorkspaceRef,
        },
        path::{GuestPath, MAX_PATH_BYTES, WorkspacePath},
        summary::Since,
    },
};

/// Where named schemas stand in a document.
pub const DEFINITIONS: &str = "/schemas";

/// Schemas of one operation.
#[derive(Clone, Debug)]
pub struct OperationSchemas {
    /// Of the request.
    pub request: Schema,
    /// Of what is told on the way; none if nothing is.
    pub event: Option<Schema>,
    /// Of the result.
    pub result: Schema,
}

/// Collects named schemas, those of what is sent apart from those of what is answered: a request need not say what has a
/// default, an answer always does.
#[derive(Debug)]
pub struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Default for Schemas {
    fn default() -> Self {
        Self::at(DEFINITIONS)
    }
}

impl Schemas {
    /// With named schemas at that JSON pointer of the document.
    pub fn at(definitions: &'static str) -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = definitions.into();
            settings
        };
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// Of one operation; each is a reference to a named schema.
    pub fn of_operation<Request: JsonSchema, Event: JsonSchema, Answer: JsonSchema>(
        &mut self,
    ) -> OperationSchemas {
        let nothing = Event::schema_id() == NoEvent::schema_id();
        OperationSchemas {
            request: self.requests.subschema_for::<Request>(),
            event: (!nothing).then(|| self.answers.subschema_for::<Event>()),
            result: self.answers.subschema_for::<Answer>(),
        }
    }

    /// Of something that is answered.
    pub fn of_answer<Answer: JsonSchema>(&mut self) -> Schema {
        self.answers.subschema_for::<Answer>()
    }

    /// All named schemas so far, by name.
    pub fn definitions(&mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        for (name, schema) in self.answers.take_definitions(true) {
            // Where both have a name, it is a value that looks the same either way; a test holds that.
            all.insert(name, schema);
        }
        all.values_mut().for_each(tidy);
        all
    }
}

/// The whole contract as one JSON value: what the reference documentation publishes as `api.json`.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let error = schemas.of_answer::<ErrorBody>();
    let operations: Vec<Value> =
        OPERATIONS.iter().map(|operation| operation_value(operation, &mut schemas)).collect();
    let mut document = json!({
        "api_version": API_VERSION,
        "oldest_api_version": OLDEST_API_VERSION,
        "version_header": VERSION_HEADER,
        "frames_media_type": FRAMES_MEDIA_TYPE,
        "frame_kinds": Kind::ALL.iter().map(|kind| json!({
            "name": format!("{kind:?}"),
            "byte": *kind as u8,
            "json": kind.is_json(),
        })).collect::<Vec<_>>(),
        "operations": operations,
        "common_errors": COMMON_ERRORS,
        "errors": ErrorCode::ALL.iter().map(|code| json!({
            "code": code,
            "meaning": one_line(code.meaning()),
            "exit_status": code.exit_status(),
            "retryable": code.retryable(),
        })).collect::<Vec<_>>(),
        "error": error,
        "schemas": schemas.definitions(),
    });
    // Whatever else the program is built with, the order is the same.
    document.sort_all_objects();
    document
}

fn operation_value(operation: &Operation, schemas: &mut Schemas) -> Value {
    let of = (operation.schemas)(schemas);
    json!({
        "name": operation.name,
        "path": operation.path,
        "command": (!operation.command.is_empty()).then_some(operation.command),
        "doc": one_line(operation.doc),
        "shape": operation.shape,
        "effect": operation.effect,
        "on_hang_up": operation.on_hang_up,
        "repeatable": operation.is_repeatable(),
        "needs": operation.needs,
        "request": of.request,
        "event": of.event,
        "result": of.result,
        "errors": operation.needs.errors().iter().chain(operation.errors).collect::<Vec<_>>(),
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Descriptions without line breaks and without links to Rust items; a bound that is named in one stands beside it.
pub fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(text) if name == "description" => *text = without_links(&one_line(text)),
                    // Integers of Rust are no formats that JSON Schema knows, and their bounds say nothing.
                    _ => tidy(member),
                }
            }
            members.retain(|name, value| {
                name != "format" || !value.as_str().is_some_and(|format| format.starts_with(['u', 'i', 'd']))
            });
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, tail)) = after.split_once("`]") else { break };
        let tail =
            tail.strip_prefix('(').and_then(|link| link.split_once(')')).map_or(tail, |(_, tail)| tail);
        let bound = before.strip_suffix("; within ").or_else(|| before.strip_suffix(", within "));
        match bound.filter(|_| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
            Some(before) => plain.push_str(before),
            None => {
                plain.push_str(before);
                plain.push_str(&format!("`{name}`"));
            }
        }
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

macro_rules! by_hand {
    ($($type:ident as $name:literal: $schema:tt;)+) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })+
    };
}

by_hand! {
    ByteString as "ByteString": {
        "description": "Bytes: a string if they are UTF-8, otherwise an object with their base64.",
        "anyOf": [
            { "type": "string" },
            {
                "type": "object",
                "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
                "required": ["base64"],
                "additionalProperties": false
            }
        ]
    };
    WorkspacePath as "WorkspacePath": {
        "description": format!(
            "A path in /workspace: relative to it, or absolute and below it; no `..`; at most {MAX_PATH_BYTES} bytes."
        ),
        "anyOf": [
            { "type": "string", "minLength": 1, "maxLength": MAX_PATH_BYTES },
            {
                "type": "object",
                "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
                "required": ["base64"],
                "additionalProperties": false
            }
        ]
    };
    GuestPath as "GuestPath": {
        "description": format!(
            "A path anywhere in the guest: absolute, or relative to /workspace; at most {MAX_PATH_BYTES} bytes."
        ),
        "anyOf": [
            { "type": "string", "minLength": 1, "maxLength": MAX_PATH_BYTES },
            {
                "type": "object",
                "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
                "required": ["base64"],
                "additionalProperties": false
            }
        ]
    };
    WorkspaceRef as "WorkspaceRef": {
        "description": "The id of a workspace, or its name where only one has it. The field may also be called `workspace_id`.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_CHARS
    };
    Against as "Against": {
        "description":
            "`baseline`: what it was filled with; `host`: the directory of the host that it was filled from, as it is now; or the \
             id or name of another workspace. One that has one of these words for a name is reached by its id.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_CHARS
    };
    WorkspaceName as "WorkspaceName": {
        "description": "The name of a workspace, without control characters. Several may have the same.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_CHARS
    };
    SnapshotName as "SnapshotName": {
        "description": "The name of a snapshot, or its id.",
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "maxLength": MAX_SNAPSHOT_NAME_CHARS
    };
    LabelKey as "LabelKey": {
        "description": "The key of a label.",
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "maxLength": MAX_LABEL_KEY_CHARS
    };
    LabelValue as "LabelValue": {
        "description": "The value of a label, without control characters.",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME_CHARS
    };
    FileMode as "FileMode": {
        "description": "Permission bits as octal text, e.g. 0644.",
        "type": "string",
        "pattern": "^(0o)?[0-7]{1,5}$"
    };
    NetworkPolicy as "NetworkPolicy": {
        "description": "What a machine may reach.",
        "type": "string",
        "enum": NetworkPolicy::ALL.map(NetworkPolicy::token)
    };
    CommandRef as "CommandRef": {
        "description": "A command of a workspace: its number, or its job id such as c7.",
        "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^c?[0-9]+$" }
        ]
    };
    Since as "Since": {
        "description": "A moment in the life of a workspace: the cursor of a summary, or a command's number or job id.",
        "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^c?[0-9]+(@[0-9]+)?$" }
        ]
    };
    ErrorCode as "ErrorCode": {
        "description": "What went wrong. A newer release may send codes that are not listed here.",
        "type": "string",
        "examples": ErrorCode::ALL
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_thing_both_ways() {
        let mut schemas = Schemas::default();
        for operation in OPERATIONS {
            (operation.schemas)(&mut schemas);
        }
        let requests = schemas.requests.take_definitions(true);
        let answers = schemas.answers.take_definitions(true);
        for (name, schema) in &requests {
            assert!(answers.get(name).is_none_or(|other| other == schema), "{name}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_names_are_the_tables() {
        let document = document();
        let text = document.to_string();
        for (_, rest) in text.match_indices("\"$ref\":\"#").map(|(at, found)| text.split_at(at + found.len()))
        {
            let pointer = rest.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        for (row, operation) in document["operations"].as_array().unwrap().iter().zip(OPERATIONS) {
            assert_eq!(row["request"]["$ref"], format!("#{DEFINITIONS}/{}", operation.request));
            assert_eq!(row["result"]["$ref"], format!("#{DEFINITIONS}/{}", operation.result));
        }
    }

    #[test]
    fn requests_refuse_what_they_do_not_know_and_say_their_bounds() {
        let document = document();
        for operation in OPERATIONS {
            let schema = &document["schemas"][operation.request];
            assert_eq!(schema["additionalProperties"], false, "{}", operation.request);
            for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
                let described = schema["description"].is_string() || schema["$ref"].is_string();
                assert!(described, "{}.{field}", operation.request);
            }
        }
        let run = &document["schemas"]["RunRequest"];
        assert_eq!(run["required"], json!(["environment", "command"]));
        let vcpu_count = &run["properties"]["vcpu_count"];
        assert_eq!((&vcpu_count["minimum"], &vcpu_count["maximum"]), (&json!(1), &json!(8)));
        assert_eq!(vcpu_count["description"], "Virtual processors.");
        assert_eq!(vcpu_count["default"], 1);
    }

    #[test]
    fn descriptions_are_plain_sentences() {
        let text = document().to_string();
        assert!(!text.contains("[`"), "{}", &text[text.find("[`").unwrap()..][..200]);
        assert_eq!(without_links("a [`B`](c::B) d, within [`E_F`]; g"), "a `B` d; g");
    }
}
