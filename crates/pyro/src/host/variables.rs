//! Words that hosts replace before they start a server.

use std::path::Path;

/// The text as a host would have it: `${workspaceFolder}`, `${userHome}`, `${env:NAME}`, `{env:NAME}`, `${NAME}` and
/// `${NAME:-DEFAULT}` replaced. What is none of these, or has no value, stays.
pub(crate) fn expanded(
    text: &str,
    project: &Path,
    home: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> String {
    let mut rest = text;
    let mut result = String::with_capacity(text.len());
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        let dollar = rest[..start].ends_with('$');
        let word = &rest[start + 1..start + length];
        let value = match word {
            "workspaceFolder" if dollar => Some(project.to_string_lossy().into_owned()),
            "userHome" if dollar => Some(home.to_string_lossy().into_owned()),
            _ => variable(word, dollar, &environment),
        };
        match value {
            Some(value) => {
                result.push_str(&rest[..start - usize::from(dollar)]);
                result.push_str(&value);
            }
            None => result.push_str(&rest[..=start + length]),
        }
        rest = &rest[start + length + 1..];
    }
    result.push_str(rest);
    result
}

fn variable(word: &str, dollar: bool, environment: impl Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(name) = word.strip_prefix("env:") {
        return environment(name);
    }
    let (name, default) = match word.split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (word, None),
    };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if dollar && is_name { environment(name).or(default) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hosts_replace_is_replaced() {
        let environment = |name: &str| (name == "A").then(|| "a".to_owned());
        let look = |text| expanded(text, Path::new("/p"), Path::new("/h"), environment);
        for (text, expected) in [
            ("${workspaceFolder}/x", "/p/x"),
            ("${userHome}", "/h"),
            ("<${env:A}{env:A}${A}>", "<aaa>"),
            ("${B:-b}${A:-b}", "ba"),
            ("${B}{A}{}${", "${B}{A}{}${"),
            ("{\"k\": 1}", "{\"k\": 1}"),
        ] {
            assert_eq!(look(text), expected, "{text}");
        }
    }
}
