//! `_operations.py`: the table of operations.

use anyhow::Result;
use serde_json::Value;

use super::{head, methods, schema::Schemas, text, types};

pub(super) fn file(operations: &[Value], schemas: &Schemas<'_>) -> Result<String> {
    let mut file =
        head("The table of operations: how each is asked for and what of it travels in another form.");
    file.push_str(
        "\nfrom typing import TYPE_CHECKING\n\nfrom . import _text\nfrom ._operation import Operation\n",
    );
    file.push_str("\nif TYPE_CHECKING:\n    from . import types\n");
    let mut names = Vec::new();
    for operation in operations {
        let name = text(operation, "name")?;
        let constant = constant(name);
        let streaming = python(&Value::Bool(operation["shape"] == "streaming"));
        let repeatable = python(&Value::Bool(operation["repeatable"] == true));
        file.push_str(&format!(
            "\n{constant}: Operation[types.{}] = Operation(\n    \"{name}\",\n    {streaming},\n    {repeatable},\n    {},\n    {},\n    {},\n)\n",
            types::result(operation)?,
            encoders(operation, schemas)?,
            defaults(operation, schemas)?,
            places(operation, schemas)?,
        ));
        names.push(format!("    \"{name}\": \"{}\",\n", methods::of(name).map_or("", |method| method.name)));
    }
    file.push_str(&format!("\n#: The method of each operation.\nMETHODS = {{\n{}}}\n", names.concat()));
    Ok(file)
}

/// The name of an operation's constant.
pub(super) fn constant(operation: &str) -> String {
    operation.to_uppercase()
}

fn encoders(operation: &Value, schemas: &Schemas<'_>) -> Result<String> {
    let request = schemas.get(schemas.reference(&operation["request"]).unwrap_or_default())?;
    let mut encoders = Vec::new();
    for field in schemas.fields(request) {
        let encoder = if methods::HOST_PATHS.contains(&field.name) {
            Some("host_path")
        } else if field.name.ends_with("_base64") {
            Some("base64")
        } else {
            schemas.encoder(field.schema)
        };
        match encoder {
            Some(builtin @ ("list" | "dict")) => encoders.push(format!("\"{}\": {builtin}", field.name)),
            Some(encoder) => encoders.push(format!("\"{}\": _text.{encoder}", field.name)),
            None => {}
        }
    }
    Ok(format!("{{{}}}", encoders.join(", ")))
}

fn defaults(operation: &Value, schemas: &Schemas<'_>) -> Result<String> {
    let request = schemas.get(schemas.reference(&operation["request"]).unwrap_or_default())?;
    let fields = schemas.fields(request);
    let defaults = fields.iter().filter(|field| !field.required).filter_map(|field| {
        let default = &field.schema["default"];
        (!default.is_null()).then(|| format!("\"{}\": {}", field.name, python(default)))
    });
    Ok(format!("{{{}}}", defaults.collect::<Vec<_>>().join(", ")))
}

fn places(operation: &Value, schemas: &Schemas<'_>) -> Result<String> {
    let places = schemas.places_of_bytes(&operation["result"])?;
    let places: Vec<String> = places
        .iter()
        .map(|place| {
            let steps: Vec<String> = place.iter().map(|step| format!("\"{step}\"")).collect();
            format!("({},)", steps.join(", "))
        })
        .collect();
    Ok(if places.is_empty() { "()".to_owned() } else { format!("({},)", places.join(", ")) })
}

/// A JSON value as Python writes it.
pub(super) fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}
