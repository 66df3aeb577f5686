//! What a call returns. The payload is in one place: in the structured content, beside a line of text, or, for clients
//! that read no structured content, in the text alone.

use clap::ValueEnum;
use pyro_api::{ErrorBody, ErrorCode};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, ProtocolVersion};
use serde_json::{Value, json};

use super::tool::Told;

/// Where the payload of results is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ResultForm {
    /// In the structured content, with a line of text beside it
    Structured,
    /// In the text, as JSON, for clients that pass nothing else on to their model
    Text,
}

impl ResultForm {
    /// What a client of that revision and that name reads. Structured content came with 2025-06-18.
    pub(super) fn for_client(self, version: Option<&ProtocolVersion>, name: Option<&str>) -> Self {
        let is_old = version.is_some_and(|version| version.as_str() < ProtocolVersion::V_2025_06_18.as_str());
        if is_old || name.is_some_and(|name| TEXT_ONLY.contains(&name)) { Self::Text } else { self }
    }
}

/// Clients, by the names that they give themselves, that pass on text alone although they speak newer revisions.
const TEXT_ONLY: &[&str] = &["claude-ai", "opencode"];

/// A result of a tool.
#[derive(Debug)]
pub(super) struct Answer {
    payload: Value,
    line: String,
}

impl Answer {
    pub(super) fn of(told: &impl Told) -> Result<Self, ErrorBody> {
        let payload = serde_json::to_value(told).map_err(|error| {
            ErrorBody::new(ErrorCode::Internal, format!("the result cannot be written as JSON: {error}"))
        })?;
        Ok(Self { payload, line: told.told() })
    }

    pub(super) fn into_result(self, form: ResultForm) -> CallToolResult {
        let mut result = CallToolResult::success(Vec::new());
        fill(&mut result, form, self.payload, self.line);
        result
    }
}

/// A failure, as a result that says so: the model shall read it.
pub(super) fn failure(error: &ErrorBody, form: ResultForm) -> CallToolResult {
    let mut members = JsonObject::new();
    members.insert("code".to_owned(), json!(error.code));
    members.insert("message".to_owned(), json!(error.error));
    members.insert("retryable".to_owned(), json!(error.retryable));
    let optional = [
        ("hint", error.hint.as_ref().map(|hint| json!(hint))),
        ("work_started", error.work_started.map(|started| json!(started))),
        ("work", error.work.map(|work| json!(work))),
        ("job_id", error.job_id.as_ref().map(|job_id| json!(job_id))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    }
    let mut line = format!("{}: {}", error.code, error.error);
    if let Some(hint) = &error.hint {
        line.push_str("; ");
        line.push_str(hint);
    }
    let mut result = CallToolResult::error(Vec::new());
    fill(&mut result, form, Value::Object(members), line);
    result
}

fn fill(result: &mut CallToolResult, form: ResultForm, payload: Value, line: String) {
    match form {
        ResultForm::Structured => {
            result.content = vec![ContentBlock::text(line)];
            result.structured_content = Some(payload);
        }
        ResultForm::Text => result.content = vec![ContentBlock::text(payload.to_string())],
    }
}

#[cfg(test)]
mod tests {
    use pyro_api::error::Work;

    use super::*;

    #[test]
    fn failures_say_what_to_do_next() {
        let error = ErrorBody::new(ErrorCode::DaemonLost, "it ended")
            .with_hint("ask again")
            .with_work(Work::Running, Some("c7".to_owned()));
        let result = failure(&error, ResultForm::Structured);
        assert_eq!(result.is_error, Some(true));
        assert_eq!(
            result.structured_content,
            Some(json!({
                "code": "daemon_lost", "message": "it ended", "retryable": true, "hint": "ask again",
                "work_started": true, "work": "running", "job_id": "c7",
            }))
        );
        let text = failure(&error, ResultForm::Text);
        assert_eq!(text.structured_content, None);
        assert!(text.content[0].as_text().is_some_and(|text| text.text.contains("\"code\":\"daemon_lost\"")));
    }

    #[test]
    fn clients_get_what_they_read() {
        let form = |version: &ProtocolVersion, name| ResultForm::Structured.for_client(Some(version), name);
        assert_eq!(form(&ProtocolVersion::V_2025_03_26, None), ResultForm::Text);
        assert_eq!(form(&ProtocolVersion::V_2025_06_18, None), ResultForm::Structured);
        assert_eq!(form(&ProtocolVersion::V_2026_07_28, Some("claude-code")), ResultForm::Structured);
        assert_eq!(form(&ProtocolVersion::V_2025_11_25, Some("opencode")), ResultForm::Text);
        assert_eq!(ResultForm::Text.for_client(None, None), ResultForm::Text);
    }
}
