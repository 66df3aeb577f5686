//! The configuration file: TOML, each key standing for one [variable](crate::settings::VARIABLES) that is not set.

use std::{collections::BTreeMap, io, path::Path};

use pyro_api::{ErrorBody, ErrorCode};

use crate::settings::{VARIABLES, Variable};

/// The values of a configuration file, by dotted key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct ConfigFile {
    values: BTreeMap<&'static str, String>,
}

impl ConfigFile {
    /// Reads the file; one that is not there has no values.
    pub(crate) fn read(path: &Path) -> Result<Self, ErrorBody> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|problem| bad_file(path, &problem)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(bad_file(path, &error.to_string())),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut values = BTreeMap::new();
        collect("", &table, &mut values)?;
        Ok(Self { values })
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}

fn collect(
    prefix: &str,
    table: &toml::Table,
    values: &mut BTreeMap<&'static str, String>,
) -> Result<(), String> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let known = |variable: &&Variable| variable.key == Some(key.as_str());
        let text = match value {
            toml::Value::Table(table) => {
                collect(&key, table, values)?;
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            _ => return Err(format!("{key} is neither a text nor a number")),
        };
        let variable = VARIABLES.iter().find(known).ok_or_else(|| unknown(&key))?;
        values.extend(variable.key.map(|key| (key, text)));
    }
    Ok(())
}

fn unknown(key: &str) -> String {
    let keys: Vec<&str> = VARIABLES.iter().filter_map(|variable| variable.key).collect();
    format!("there is no setting {key}; there are {}", keys.join(", "))
}

fn bad_file(path: &Path, problem: &str) -> ErrorBody {
    let text = format!("the configuration file {} cannot be used: {}", path.display(), problem.trim_end());
    ErrorBody::new(ErrorCode::InvalidRequest, text)
        .with_hint("`pyro config show` lists every setting with its key; PYRO_CONFIG names another file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_be_in_tables_and_must_be_known() {
        let file = ConfigFile::parse("[limits]\nmax_workspaces = 3\n[daemon]\nidle_seconds = 1.5\n").unwrap();
        assert_eq!(file.get("limits.max_workspaces"), Some("3"));
        assert_eq!(file.get("daemon.idle_seconds"), Some("1.5"));
        assert_eq!(file.get("limits.memory_budget_mib"), None);
        for (text, word) in [
            ("limits.max_workspace = 3", "limits.max_workspaces"),
            ("limits.max_workspaces = [3]", "neither"),
            ("limits", "TOML"),
        ] {
            let problem = ConfigFile::parse(text).unwrap_err();
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }
}
