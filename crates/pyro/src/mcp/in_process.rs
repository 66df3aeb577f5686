//! The tools for a loop in this process: what a client would call, without a client.

use pyro_api::{ErrorBody, ErrorCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{ResultForm, failure},
    progress::Progress,
    server::Server,
};

/// What a call gave.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The payload, or code, message and hint of a failure.
    pub(crate) payload: Value,
    /// It in one line.
    pub(crate) line: String,
    /// The tool has failed.
    pub(crate) is_error: bool,
}

impl Server {
    /// Calls one. Dropping the future cancels what it began.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> Told {
        let cancel = CancellationToken::new();
        let _cancelled_when_dropped = cancel.clone().drop_guard();
        let performed = match arguments {
            Value::Object(arguments) => self.perform(name, arguments, cancel, Progress::default()).await,
            other => Some(Err(ErrorBody::new(
                ErrorCode::InvalidRequest,
                format!("{name}: the arguments are no object but {other}"),
            ))),
        };
        let unknown = || Err(ErrorBody::new(ErrorCode::InvalidRequest, format!("there is no tool {name:?}")));
        let result = match performed.unwrap_or_else(unknown) {
            Ok(answer) => answer.into_result(ResultForm::Structured),
            Err(error) => failure(&error, ResultForm::Structured),
        };
        let line = result.content.first().and_then(|block| block.as_text()).map(|text| text.text.clone());
        Told {
            payload: result.structured_content.unwrap_or_default(),
            line: line.unwrap_or_default(),
            is_error: result.is_error == Some(true),
        }
    }
}
