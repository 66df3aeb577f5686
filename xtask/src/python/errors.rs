//! `_error_codes.py`: a class for each error code.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{head, plain, text, wrapped};

/// Codes of requests that are wrong in themselves, or name what is not there. They are `ValueError`s too, as callers of
/// the contract's earlier implementation expect.
const BAD_VALUES: &[&str] = &[
    "usage",
    "missing_command",
    "invalid_request",
    "invalid_size",
    "not_yet_supported",
    "unknown_environment",
    "unknown_workspace",
    "ambiguous_name",
    "unknown_job",
    "unknown_sequence",
    "unknown_vm",
    "unknown_operation",
    "path_escapes",
    "file_too_large",
    "bad_pattern",
    "patch_malformed",
    "seed_failed",
    "bad_archive",
];

/// Suffixes that a class has anyway.
pub(super) fn class(code: &str) -> String {
    let mut name: String = code
        .split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        })
        .collect();
    name.push_str("Error");
    name
}

pub(super) fn file(api: &Value) -> Result<String> {
    let mut file = head("Error codes as exceptions.");
    file.push_str("\nfrom ._errors import PyroError\n");
    let mut table = String::new();
    let mut names = Vec::new();
    for error in api["errors"].as_array().context("the contract has no error codes")? {
        let code = text(error, "code")?;
        let name = class(code);
        let bases = if BAD_VALUES.contains(&code) { "PyroError, ValueError" } else { "PyroError" };
        let retryable = if error["retryable"] == true { "True" } else { "False" };
        let meaning = wrapped(&plain(text(error, "meaning")?), "    \"\"\"", "    ");
        file.push_str(&format!(
            "\n\nclass {name}({bases}):\n{meaning}\"\"\"\n\n    code = \"{code}\"\n    retryable = {retryable}\n"
        ));
        table.push_str(&format!("    \"{code}\": {name},\n"));
        names.push(name);
    }
    file.push_str(&format!(
        "\n\n#: The exception of each code.\nBY_CODE: dict[str, type[PyroError]] = {{\n{table}}}\n"
    ));
    names.sort();
    let names: Vec<String> = names.iter().map(|name| format!("    \"{name}\",\n")).collect();
    file.push_str(&format!("\n__all__ = [\n{}]\n", names.concat()));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_after_their_codes() {
        assert_eq!(class("daemon_lost"), "DaemonLostError");
        assert_eq!(class("internal"), "InternalError");
    }
}
