//! The generated part of the Python SDK (`sdks/python`): types, errors, operations and methods, written from
//! `docs/reference/api.json`, so that what the table of operations has cannot be missing there.
//!
//! - [`schema`]: what a JSON schema of the contract is in Python.
//! - [`methods`]: the one table that says how an operation is called in Python.
//! - [`types`], [`errors`], [`operations`], [`client`], [`reference`]: the files.

mod client;
mod errors;
mod methods;
mod operations;
mod reference;
mod schema;
mod types;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use schema::Schemas;

/// Directory of the package's modules, from the root of the repository.
const PACKAGE: &str = "sdks/python/src/pyro_mcp";

/// Every generated file: its path from the root of the repository, and its text.
pub(crate) fn pages(api: &str) -> Result<Vec<(String, String)>> {
    let api: Value = serde_json::from_str(api).context("read the contract")?;
    let schemas = Schemas::new(&api)?;
    let operations = api["operations"].as_array().context("the contract has no operations")?;
    for operation in operations {
        let name = text(operation, "name")?;
        ensure!(
            methods::of(name).is_some(),
            "the operation {name} has no method in xtask/src/python/methods.rs"
        );
    }
    let files = [
        ("types.py", types::file(operations, &schemas)?),
        ("_error_codes.py", errors::file(&api)?),
        ("_operations.py", operations::file(operations, &schemas)?),
        ("_methods.py", client::file(operations, &schemas, client::Shape::Client { asynchronous: false })?),
        (
            "_async_methods.py",
            client::file(operations, &schemas, client::Shape::Client { asynchronous: true })?,
        ),
        (
            "_workspace_handle.py",
            client::file(operations, &schemas, client::Shape::Handle { asynchronous: false })?,
        ),
        (
            "_async_workspace_handle.py",
            client::file(operations, &schemas, client::Shape::Handle { asynchronous: true })?,
        ),
    ];
    let mut pages: Vec<(String, String)> =
        files.into_iter().map(|(name, text)| (format!("{PACKAGE}/{name}"), text)).collect();
    pages.push(("docs/reference/python.md".to_owned(), reference::file(operations)?));
    Ok(pages)
}

/// A member that must be a string.
fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("`{key}` is no string in {value}"))
}

/// The first lines of every file.
fn head(purpose: &str) -> String {
    format!(
        "\"\"\"{purpose}\n\nWritten by `cargo xtask generate` from the table of operations; do not edit.\n\"\"\"\n\nfrom __future__ import annotations\n"
    )
}

/// Text as a Python string literal.
fn literal(text: &str) -> String {
    // JSON's escapes are Python's too.
    Value::from(text).to_string()
}

/// Text that may stand in a docstring.
fn plain(text: &str) -> String {
    text.replace('\\', "\\\\").replace("\"\"\"", "'''")
}

/// Paragraphs cut into lines of at most 110 columns, each with that indentation.
fn wrapped(text: &str, indent: &str, following: &str) -> String {
    const COLUMNS: usize = 110;
    let mut lines = Vec::new();
    let mut line = String::from(indent);
    for word in text.split_whitespace() {
        let begun = line != indent && line != following;
        if begun && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(std::mem::replace(&mut line, following.to_owned()));
        }
        if !line.ends_with([' ', '"']) && !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrapped("a b", "  - ", "    "), "  - a b");
        let long = wrapped(&"word ".repeat(40), "#: ", "#: ");
        assert!(long.lines().all(|line| line.len() <= 110 && line.starts_with("#: word")), "{long}");
    }

    #[test]
    fn texts_cannot_end_their_literals() {
        assert_eq!(literal("a\"b\\"), r#""a\"b\\""#);
        assert_eq!(plain(r#"a """ \n"#), r"a ''' \\n");
    }

    /// The files, written from the committed contract, are the committed ones; `check` compares both with the program.
    #[test]
    fn the_committed_package_is_made_from_the_committed_contract() {
        let root = crate::checkout::root();
        let api = std::fs::read_to_string(root.join("docs/reference/api.json")).unwrap();
        for (name, text) in pages(&api).unwrap() {
            assert!(std::fs::read_to_string(root.join(&name)).unwrap() == text, "{name} is out of date");
        }
    }
}
