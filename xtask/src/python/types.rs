//! `types.py`: what operations answer, as types.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    head, plain,
    schema::{Field, Schemas, Way},
    text, wrapped,
};

/// Words of Python that names of members could be.
const KEYWORDS: &[&str] =
    &["from", "import", "in", "is", "class", "def", "global", "pass", "raise", "with", "async", "lambda"];

/// What the package itself puts together.
const OWN: &str = r#"

class _CapturedOutputRequired(TypedDict):
    #: Standard output as text, with replacement characters where it is no UTF-8.
    stdout: str
    #: Standard error as text, with replacement characters where it is no UTF-8.
    stderr: str
    #: Whether `stdout` is only a part.
    stdout_truncated: bool
    #: Whether `stderr` is only a part.
    stderr_truncated: bool


class CapturedOutput(_CapturedOutputRequired, total=False):
    """What a command wrote, inside of a result."""

    #: The exact bytes, only when standard output is no UTF-8.
    stdout_base64: str
    #: The exact bytes, only when standard error is no UTF-8.
    stderr_base64: str


class RunResult(RunReport, CapturedOutput):
    """How a run ended, with what it wrote."""


class ExecResult(ExecReport, CapturedOutput):
    """How a command of a workspace ended, with what it wrote."""


class _ProgressRequired(TypedDict):
    #: The step, a short phrase.
    step: str


class Progress(_ProgressRequired, total=False):
    """How far the step at hand has come."""

    #: The thing at hand, e.g. a path or a package; may be empty.
    detail: str
    #: Bytes of files that were passed in this step.
    bytes: int
    #: Entries that were passed in this step.
    entries: int
    #: Share of the whole work, 0 to 1; absent as long as nobody knows.
    fraction: float
"#;

pub(super) fn file(operations: &[Value], schemas: &Schemas<'_>) -> Result<String> {
    let mut names = BTreeSet::new();
    let mut requests = BTreeSet::new();
    for operation in operations {
        if let Some(result) = schemas.reference(&operation["result"]) {
            schemas.closure(result, &mut names)?;
        }
        if let Some(request) = schemas.reference(&operation["request"]) {
            schemas.closure(request, &mut requests)?;
            requests.remove(request);
        }
    }
    let mut file = head("What operations answer, as types. All of them are plain dictionaries.");
    file.push_str("\nfrom typing import TYPE_CHECKING, Literal, TypedDict\n\nif TYPE_CHECKING:\n    from ._text import Command\n");
    let mut aliases = String::new();
    let mut classes = String::new();
    for name in names.union(&requests) {
        let schema = schemas.get(name)?;
        let way = if names.contains(name) { Way::Answered } else { Way::Sent };
        match schemas.tokens(schema) {
            Some(tokens) => {
                let description = schema["description"].as_str().unwrap_or_default();
                let tokens: Vec<String> = tokens.into_iter().map(Value::to_string).collect();
                aliases.push_str(&format!(
                    "\n{}\n{name} = Literal[{}]\n",
                    wrapped(description, "#: ", "#: "),
                    tokens.join(", ")
                ));
            }
            None => classes.push_str(&class(name, schema, schemas, way)?),
        }
    }
    file.push_str(&aliases);
    file.push_str(&classes);
    file.push_str(OWN);
    Ok(file)
}

/// An object. Members that may be absent stand in a class of their own, as Python 3.10 wants it, and those that are words of
/// the language in one that is made by a call.
fn class(name: &str, schema: &Value, schemas: &Schemas<'_>, way: Way) -> Result<String> {
    let (words, fields): (Vec<Field<'_>>, Vec<Field<'_>>) =
        schemas.fields(schema).into_iter().partition(|field| KEYWORDS.contains(&field.name));
    let (required, optional): (Vec<Field<'_>>, Vec<Field<'_>>) =
        fields.into_iter().partition(|field| field.required);
    let doc = wrapped(&plain(schema["description"].as_str().unwrap_or(name)), "    \"\"\"", "    ");
    let members = |fields: &[Field<'_>]| -> Result<String> {
        let mut members = String::new();
        for field in fields {
            let description = schemas.description(field.schema);
            if !description.is_empty() {
                members.push_str(&wrapped(&description, "    #: ", "    #: "));
                members.push('\n');
            }
            members.push_str(&format!("    {}: {}\n", field.name, schemas.python(field.schema, way)?));
        }
        Ok(members)
    };
    let mut text = String::new();
    let mut bases = Vec::new();
    if !words.is_empty() {
        text.push_str(&by_call(&format!("_{name}Words"), &words, schemas, way)?);
        bases.push(format!("_{name}Words"));
    }
    if optional.is_empty() {
        bases.push("TypedDict".to_owned());
        text.push_str(&format!(
            "\n\nclass {name}({}):\n{doc}\"\"\"\n\n{}",
            bases.join(", "),
            members(&required)?
        ));
        return Ok(text);
    }
    if !required.is_empty() {
        text.push_str(&format!("\n\nclass _{name}Required(TypedDict):\n{}", members(&required)?));
        bases.insert(0, format!("_{name}Required"));
    } else if bases.is_empty() {
        bases.push("TypedDict".to_owned());
    }
    text.push_str(&format!(
        "\n\nclass {name}({}, total=False):\n{doc}\"\"\"\n\n{}",
        bases.join(", "),
        members(&optional)?
    ));
    Ok(text)
}

/// Members that no class can have.
fn by_call(name: &str, fields: &[Field<'_>], schemas: &Schemas<'_>, way: Way) -> Result<String> {
    let required = fields.iter().all(|field| field.required);
    ensure!(required || fields.iter().all(|field| !field.required), "{name}: some are there and some may be");
    let mut members = Vec::new();
    for field in fields {
        members.push(format!("\"{}\": \"{}\"", field.name, schemas.python(field.schema, way)?));
    }
    Ok(format!(
        "\n\n{name} = TypedDict(\"{name}\", {{{}}}, total={})\n",
        members.join(", "),
        if required { "True" } else { "False" }
    ))
}

/// The name of the type that an operation answers with.
pub(super) fn result(operation: &Value) -> Result<String> {
    let reference = text(&operation["result"], "$ref")?;
    Ok(reference.rsplit('/').next().unwrap_or_default().to_owned())
}
