//! How a host writes down a server that it starts: what an entry says, and which of its keys must change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::{Change, Document, Unusable};

/// How a host writes down what it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// `command` and `args`, as most have it; some say with `type` that it is a program.
    Command { typed: bool },
    /// The same in TOML, with variables that are handed on and times that it waits.
    Codex,
    /// One list for program and arguments. The native form is that of version 2.
    OpenCode { native: bool },
}

/// What a host starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Launch {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// Variables that it sets.
    pub(crate) environment: BTreeMap<String, String>,
    /// Variables of its own that it hands on; only where it has a choice.
    pub(crate) handed_on: Vec<String>,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    /// What is started; none if it says no program that could be.
    pub(crate) launch: Option<Launch>,
    /// Where it is started, if the entry says so.
    pub(crate) directory: Option<String>,
    /// Its type, if that is not the one of a program that is started.
    pub(crate) wrong_type: Option<String>,
    /// It is switched off.
    pub(crate) disabled: bool,
}

/// Keys of a server that is called and not started, which no entry of ours may have.
const REMOTE: &[&str] = &[
    "url",
    "headers",
    "oauth",
    "http_headers",
    "env_http_headers",
    "bearer_token_env_var",
    "oauth_resource",
    "scopes",
];

/// Longest that Codex waits for the server, seconds: there may be a daemon to start.
const CODEX_STARTUP_SECONDS: u64 = 30;

/// Longest that a host waits for a tool, seconds: the first machine of an environment takes a while.
const TOOL_SECONDS: u64 = 300;

impl Shape {
    /// The form that the entry of this name has in this document, and where that is, below `keys`.
    pub(super) fn settle(
        self,
        document: &Document,
        keys: &[String],
        name: &str,
    ) -> Result<(Self, Vec<String>), Unusable> {
        let below = |more: &[&str]| {
            keys.iter().cloned().chain(more.iter().map(|key| (*key).to_owned())).collect::<Vec<_>>()
        };
        let plain = below(&[name]);
        let Self::OpenCode { .. } = self else { return Ok((self, plain)) };
        let servers = document.at(&below(&["servers"]))?;
        // A server of the old form may be called `servers`.
        let native = servers.and_then(Value::as_object).filter(|map| !map.contains_key("type"));
        let is_native = match native {
            Some(map) if map.contains_key(name) => true,
            Some(_) => document.at(&plain)?.is_none(),
            None => false,
        };
        let keys = if is_native { below(&["servers", name]) } else { plain };
        Ok((Self::OpenCode { native: is_native }, keys))
    }

    /// What an entry says. Nothing that is odd is an error: it is what has to be mended.
    pub(super) fn read(self, entry: &Value) -> Found {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
        let truth = |key: &str| entry.get(key).and_then(Value::as_bool);
        let (command, arguments) = match self {
            Self::OpenCode { .. } => {
                let mut words = entry.get("command").and_then(texts).unwrap_or_default().into_iter();
                (words.next(), Some(words.collect()))
            }
            _ => (text("command"), entry.get("args").map_or_else(|| Some(Vec::new()), texts)),
        };
        let launch = command.zip(arguments).map(|(program, arguments)| Launch {
            program,
            arguments,
            environment: variables(entry.get(self.environment_key())),
            handed_on: entry.get("env_vars").and_then(texts).unwrap_or_default(),
        });
        let said = text("type");
        let wrong_type = match (self, said.as_deref()) {
            (Self::OpenCode { .. }, None) => Some("none".to_owned()),
            (Self::OpenCode { .. }, Some("local")) | (Self::Command { .. }, None | Some("stdio")) => None,
            (Self::Codex, _) => entry.get("url").map(|_| "a server with a url".to_owned()),
            _ => said,
        };
        let disabled = truth("enabled") == Some(false) || truth("disabled") == Some(true);
        Found { launch, directory: text("cwd"), wrong_type, disabled }
    }

    /// What must change for an entry to start that, in the order of writing. All else that it says stays.
    pub(super) fn changes(self, existing: Option<&Value>, wanted: &Launch) -> Vec<Change> {
        let entry = existing.and_then(Value::as_object);
        let mut changes: Vec<Change> = self
            .values(entry.is_none(), wanted)
            .into_iter()
            .filter(|(key, value)| entry.and_then(|entry| entry.get(*key)) != Some(value))
            .map(|(key, value)| Change { key, value: Some(value) })
            .collect();
        let Some(entry) = entry else { return changes };
        // Without a type most hosts take a command for what it is.
        if !matches!(self, Self::OpenCode { .. }) {
            changes.retain(|change| change.key != "type" || entry.contains_key("type"));
        }
        // No arguments and an empty list of them are the same.
        let empty = |change: &Change| change.value.as_ref().is_some_and(|value| *value == json!([]));
        changes.retain(|change| entry.contains_key(change.key) || !empty(change));
        let is = |key: &str, value: bool| entry.get(key) == Some(&Value::Bool(value));
        if is("enabled", false) {
            changes.push(Change { key: "enabled", value: Some(json!(true)) });
        }
        if is("disabled", true) {
            changes.push(Change { key: "disabled", value: None });
        }
        let remote = REMOTE.iter().filter(|key| entry.contains_key(**key));
        changes.extend(remote.map(|key| Change { key, value: None }));
        let environment = merged(entry.get(self.environment_key()), &wanted.environment);
        changes.extend(environment.map(|value| Change { key: self.environment_key(), value: Some(value) }));
        let listed = entry.get("env_vars").and_then(texts).unwrap_or_default();
        let missing: Vec<&String> = wanted.handed_on.iter().filter(|name| !listed.contains(name)).collect();
        if !missing.is_empty() {
            // The list may hold tables beside names; what is there stays.
            let mut names = entry.get("env_vars").and_then(Value::as_array).cloned().unwrap_or_default();
            names.extend(missing.into_iter().map(|name| json!(name)));
            changes.push(Change { key: "env_vars", value: Some(Value::Array(names)) });
        }
        changes
    }

    /// Keys and values that say it; those of a new entry with what is only set once.
    fn values(self, fresh: bool, wanted: &Launch) -> Vec<(&'static str, Value)> {
        let words = std::iter::once(&wanted.program).chain(&wanted.arguments).collect::<Vec<_>>();
        let mut values = match self {
            Self::Command { typed: true } => vec![
                ("type", json!("stdio")),
                ("command", json!(wanted.program)),
                ("args", json!(wanted.arguments)),
            ],
            Self::Command { typed: false } | Self::Codex => {
                vec![("command", json!(wanted.program)), ("args", json!(wanted.arguments))]
            }
            Self::OpenCode { .. } => vec![("type", json!("local")), ("command", json!(words))],
        };
        if !fresh {
            return values;
        }
        match self {
            Self::Command { .. } => {}
            Self::Codex => {
                if !wanted.handed_on.is_empty() {
                    values.push(("env_vars", json!(wanted.handed_on)));
                }
                values.push(("startup_timeout_sec", json!(CODEX_STARTUP_SECONDS)));
                values.push(("tool_timeout_sec", json!(TOOL_SECONDS)));
            }
            Self::OpenCode { native: false } => {
                values.push(("enabled", json!(true)));
                values.push(("timeout", json!(TOOL_SECONDS * 1000)));
            }
            Self::OpenCode { native: true } => {}
        }
        if !wanted.environment.is_empty() {
            values.push((self.environment_key(), json!(wanted.environment)));
        }
        values
    }

    fn environment_key(self) -> &'static str {
        if matches!(self, Self::OpenCode { .. }) { "environment" } else { "env" }
    }

    /// Whether the host can be told to hand variables on.
    pub(super) fn hands_on(self) -> bool {
        self == Self::Codex
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|element| element.as_str().map(str::to_owned)).collect()
}

fn variables(value: Option<&Value>) -> BTreeMap<String, String> {
    let map = value.and_then(Value::as_object).into_iter().flatten();
    map.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// The variables of an entry with ours put in; none if they are there already.
fn merged(existing: Option<&Value>, wanted: &BTreeMap<String, String>) -> Option<Value> {
    let mut map = existing.and_then(Value::as_object).cloned().unwrap_or_default();
    let differs = |(name, value): (&String, &String)| map.get(name) != Some(&json!(value));
    if !wanted.iter().any(differs) {
        return None;
    }
    map.extend(wanted.iter().map(|(name, value)| (name.clone(), json!(value))));
    Some(Value::Object(map))
}
