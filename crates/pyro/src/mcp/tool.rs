//! One tool: all that a client sees of it, and what it does.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use pyro_api::{Client, ErrorBody, ErrorCode};
use rmcp::model::{JsonObject, Tool as Listed, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Answer, ResultForm},
    host_paths::HostPaths,
    profile::Profile,
    progress::Progress,
    schema,
};

/// What a tool needs to do its work.
#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    /// The daemon.
    pub(super) client: Client,
    /// What of the host may be named.
    pub(super) paths: Arc<HostPaths>,
    /// The client wants the call no more, or has [gone](Self::gone).
    pub(super) cancel: CancellationToken,
    /// It is not the call that is not wanted any more: the client has gone.
    pub(super) gone: CancellationToken,
    /// Whom to tell how far it is.
    pub(super) progress: Arc<Progress>,
    /// When there must be an answer.
    pub(super) deadline: Instant,
    /// How long a machine for one command stays when its last caller has gone.
    pub(super) abandon_after: Duration,
}

/// A result of a tool.
pub(super) trait Told: Serialize + JsonSchema {
    /// It in one line, without what is in the result itself.
    fn told(&self) -> String;
}

/// What a client may take for granted of a tool.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hints {
    /// Changes nothing.
    Reads,
    /// Adds or changes; again, it changes more.
    Writes,
    /// Brings about a state; again, it changes nothing.
    Settles,
    /// May take away what cannot be had back.
    Destroys,
}

impl Hints {
    /// No tool reaches out of the machines and directories that are named: the world is closed.
    fn annotations(self, title: &str) -> ToolAnnotations {
        let (read_only, destructive, idempotent) = match self {
            Self::Reads => (true, false, true),
            Self::Writes => (false, false, false),
            Self::Settles => (false, false, true),
            Self::Destroys => (false, true, false),
        };
        ToolAnnotations::with_title(title)
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(idempotent)
            .open_world(false)
    }
}

type Performing = Pin<Box<dyn Future<Output = Result<Answer, ErrorBody>> + Send>>;

/// One row of the table.
pub(super) struct Tool {
    pub(super) name: &'static str,
    title: &'static str,
    description: &'static str,
    hints: Hints,
    only_in_full: &'static [&'static str],
    input: fn() -> JsonObject,
    output: fn() -> JsonObject,
    perform: Box<dyn Fn(ToolCall, JsonObject) -> Performing + Send + Sync>,
}

/// A row: arguments and result are the types of what it does.
pub(super) fn tool<Arguments, Returned, Work>(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    hints: Hints,
    perform: fn(ToolCall, Arguments) -> Work,
) -> Tool
where
    Arguments: DeserializeOwned + JsonSchema + Send + 'static,
    Returned: Told + 'static,
    Work: Future<Output = Result<Returned, ErrorBody>> + Send + 'static,
{
    let perform = move |call: ToolCall, arguments: JsonObject| -> Performing {
        let understood = serde_json::from_value::<Arguments>(Value::Object(arguments));
        Box::pin(async move {
            let arguments = understood.map_err(|error| misunderstood(name, &error))?;
            Answer::of(&perform(call, arguments).await?)
        })
    };
    Tool {
        name,
        title,
        description,
        hints,
        only_in_full: &[],
        input: schema::input::<Arguments>,
        output: schema::output::<Returned>,
        perform: Box::new(perform),
    }
}

fn misunderstood(name: &str, error: &serde_json::Error) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidRequest, format!("{name}: {error}"))
        .with_hint("the tool's input schema names every argument")
        .with_work_started(false)
}

impl Tool {
    /// Arguments that only `workspace-full` has.
    pub(super) fn only_in_full(mut self, arguments: &'static [&'static str]) -> Self {
        self.only_in_full = arguments;
        self
    }

    /// As a client of that profile sees it.
    pub(super) fn listed(&self, profile: Profile, form: ResultForm) -> Listed {
        let mut input = (self.input)();
        if profile != Profile::WorkspaceFull
            && let Some(Value::Object(properties)) = input.get_mut("properties")
        {
            properties.retain(|name, _| !self.only_in_full.contains(&name.as_str()));
        }
        let listed = Listed::new(self.name, self.description, Arc::new(input))
            .with_title(self.title)
            .with_annotations(self.hints.annotations(self.title));
        match form {
            ResultForm::Structured => listed.with_raw_output_schema(Arc::new((self.output)())),
            // Who announces a schema must answer with structured content.
            ResultForm::Text => listed,
        }
    }

    /// Does it.
    pub(super) async fn perform(
        &self,
        profile: Profile,
        call: ToolCall,
        arguments: JsonObject,
    ) -> Result<Answer, ErrorBody> {
        if profile != Profile::WorkspaceFull
            && let Some(name) = self.only_in_full.iter().find(|name| arguments.contains_key(**name))
        {
            let error = format!("{}: unknown field `{name}` in the profile {}", self.name, profile.name());
            return Err(ErrorBody::new(ErrorCode::InvalidRequest, error)
                .with_hint("the profile workspace-full has it")
                .with_work_started(false));
        }
        (self.perform)(call, arguments).await
    }
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}
