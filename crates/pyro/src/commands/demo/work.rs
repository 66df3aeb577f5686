//! What the model does: one workspace, and turns of asking and calling.

use std::path::Path;

use pyro_api::{ErrorBody, ErrorCode};
use serde_json::{Map, Value, json};

use super::{
    endpoint::{Call, Endpoint},
    project::TEST,
};
use crate::{
    mcp::{Profile, Server, Told},
    output::{self, Failure},
};

/// Whose tools and instructions the model gets.
pub(super) const PROFILE: Profile = Profile::WorkspaceCore;

/// What of it the model may call; the workspace is made and deleted for it.
const TOOLS: &[&str] = &[
    "workspace_exec",
    "workspace_file_list",
    "workspace_file_read",
    "workspace_file_write",
    "workspace_patch_apply",
    "workspace_diff",
];

/// Longest text of a line that shows a call or a result.
const MOST_SHOWN_CHARS: usize = 300;

/// A workspace with the project in it.
#[derive(Debug)]
pub(super) struct Work<'a> {
    server: &'a Server,
    workspace_id: String,
    verbose: bool,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of the tests, in the end.
    pub(super) exit_code: i64,
    /// Where they ran.
    pub(super) execution_mode: String,
    /// Answers of the model.
    pub(super) steps: u32,
    /// Tools that it called.
    pub(super) calls: u32,
    tests_are_changed: bool,
}

impl Outcome {
    /// The tests pass, and they are the same tests.
    pub(super) fn is_mended(&self) -> bool {
        self.exit_code == 0 && !self.tests_are_changed
    }
}

impl<'a> Work<'a> {
    /// Makes the workspace.
    pub(super) async fn begin(
        server: &'a Server,
        environment: &str,
        project: &Path,
        verbose: bool,
    ) -> Result<Self, Failure> {
        let arguments = json!({"environment": environment, "seed_path": project.to_string_lossy()});
        let mut work = Self { server, workspace_id: String::new(), verbose };
        let made = succeeded(work.perform("workspace_create", arguments).await?)?;
        work.workspace_id = text(&made, "workspace_id");
        Ok(work)
    }

    /// Lets the model call tools until it has nothing more to call, at most so many times, and looks at what it has done.
    pub(super) async fn go_on(&self, endpoint: &Endpoint, max_steps: u32) -> Result<Outcome, Failure> {
        let tools = definitions();
        let mut messages = vec![
            json!({"role": "system", "content": PROFILE.instructions()}),
            json!({"role": "user", "content": format!(
                "In the workspace {} is a Python project. Its tests fail: run `{TEST}` and see. Mend the package, not the \
                 tests, and run them until they pass. Then say in one sentence what was wrong.",
                self.workspace_id
            )}),
        ];
        let (mut steps, mut calls) = (0, 0);
        while steps < max_steps {
            let message = endpoint.ask(&messages, &tools).await?;
            steps += 1;
            messages.push(message.whole);
            if let Some(words) = &message.text {
                output::line(format!("[model] {}", output::printable(words)))?;
            }
            if message.calls.is_empty() {
                break;
            }
            for call in message.calls {
                calls += 1;
                let content = self.answer(&call).await?;
                messages.push(json!({"role": "tool", "tool_call_id": call.id, "content": content}));
            }
        }
        self.judge(steps, calls).await
    }

    /// Deletes the workspace.
    pub(super) async fn end(&self) -> Result<(), Failure> {
        let arguments = json!({"workspace_id": self.workspace_id});
        succeeded(self.perform("workspace_delete", arguments).await?).map(drop)
    }

    /// Does what the model asks for. What it got wrong is told to it.
    async fn answer(&self, call: &Call) -> Result<String, Failure> {
        if !TOOLS.contains(&call.name.as_str()) {
            return Ok(json!({"error": format!("there is no tool {:?}", call.name)}).to_string());
        }
        Ok(self.perform(&call.name, call.arguments.clone()).await?.payload.to_string())
    }

    /// Runs the tests once more and looks whether they are still the same.
    async fn judge(&self, steps: u32, calls: u32) -> Result<Outcome, Failure> {
        let named = |more: Value| {
            let mut arguments = Map::from_iter([("workspace_id".to_owned(), json!(self.workspace_id))]);
            arguments.extend(more.as_object().cloned().unwrap_or_default());
            Value::Object(arguments)
        };
        let diff = succeeded(self.perform("workspace_diff", named(json!({}))).await?)?;
        output::line(output::printable(text(&diff, "patch").trim_end()))?;
        let mut changed = diff["entries"].as_array().into_iter().flatten();
        let tests_are_changed = changed.any(|entry| text(entry, "path").starts_with("tests/"));
        if tests_are_changed {
            output::line("[demo] the model has changed the tests; that does not count")?;
        }
        let tested = self.perform("workspace_exec", named(json!({"command": TEST}))).await?;
        let tested = succeeded(tested)?;
        Ok(Outcome {
            exit_code: tested["exit_code"].as_i64().unwrap_or(-1),
            execution_mode: text(&tested, "execution_mode"),
            steps,
            calls,
            tests_are_changed,
        })
    }

    /// Calls a tool and shows both sides of it.
    async fn perform(&self, name: &str, arguments: Value) -> Result<Told, Failure> {
        output::line(format!("[call] {name} {}", shown(&arguments.to_string())))?;
        let told = self.server.call(name, arguments).await;
        output::line(format!("[result] {}", shown(&told.line)))?;
        if self.verbose {
            output::line(output::printable(&format!("{:#}", told.payload)))?;
        }
        Ok(told)
    }
}

/// The tools, as chat completions want them.
fn definitions() -> Vec<Value> {
    let offered = PROFILE.tools().into_iter().filter(|tool| TOOLS.contains(&tool.name.as_ref()));
    let function = |tool: rmcp::model::Tool| {
        json!({"type": "function", "function": {
            "name": tool.name, "description": tool.description, "parameters": *tool.input_schema,
        }})
    };
    offered.map(function).collect()
}

/// The payload of a call of our own, which must not fail.
fn succeeded(told: Told) -> Result<Value, Failure> {
    if told.is_error {
        let code = ErrorCode::from_token(&text(&told.payload, "code"));
        let mut error = ErrorBody::new(code, text(&told.payload, "message"));
        if let Some(hint) = told.payload["hint"].as_str() {
            error = error.with_hint(hint);
        }
        return Err(error.into());
    }
    Ok(told.payload)
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

/// One line, not too long, and nothing that a terminal obeys.
fn shown(text: &str) -> String {
    let line = output::printable(text).replace('\n', " ");
    let mut cut: String = line.chars().take(MOST_SHOWN_CHARS).collect();
    if cut.len() < line.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_short_line() {
        assert_eq!(shown("a\nb\u{1b}"), "a b\u{fffd}");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MOST_SHOWN_CHARS + 1);
    }

    #[test]
    fn changed_tests_mend_nothing() {
        let outcome = |exit_code, tests_are_changed| Outcome {
            exit_code,
            execution_mode: String::new(),
            steps: 1,
            calls: 1,
            tests_are_changed,
        };
        assert!(outcome(0, false).is_mended());
        assert!(!outcome(0, true).is_mended() && !outcome(1, false).is_mended());
    }
}
