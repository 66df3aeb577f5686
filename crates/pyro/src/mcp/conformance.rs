//! The profile `conformance`: beside the tools of pyro those that the official conformance suite calls on any server.
//!
//! The suite wants to see how a server sends a picture, tells its progress, or asks its client something, and names the tools,
//! prompts and resources for that. They are fixtures in `conformance.json`, and they touch nothing. Whatever else
//! the suite asks is answered by the [`Server`] that everybody gets, through the same transport.
//!
//! No help and no reference names this profile. It is in every build all the same, so that the suite judges the very program
//! that is given to people, and not one that was built for it.

#![expect(
    deprecated,
    reason = "logging and subscriptions of old revisions: the suite asks for them as long as we speak those"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pyro_api::{ErrorBody, ErrorCode};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, CompleteRequestParams,
        CompleteResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult, InputRequest,
        InputRequests, InputRequiredResult, InputResponses, JsonObject, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
        LoggingMessageNotificationParam, PaginatedRequestParams, ProgressNotificationParam, Prompt,
        ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
        ResourceTemplate, ServerConfig, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter,
        Tool, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::server::Server;

/// Between two messages of one call, so that they are seen to come one after the other.
const PAUSE: Duration = Duration::from_millis(50);

/// The server, and the fixtures beside it.
#[derive(Clone, Debug)]
pub(crate) struct Conformance {
    server: Server,
    fixtures: Arc<Fixtures>,
}

impl Conformance {
    /// Beside that server.
    pub(crate) fn beside(server: Server) -> Result<Self, ErrorBody> {
        let fixtures = Fixtures::read().map_err(|error| {
            ErrorBody::new(ErrorCode::Internal, format!("cannot read the fixtures: {error}"))
        })?;
        Ok(Self { server, fixtures: Arc::new(fixtures) })
    }
}

/// What the suite names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixtures {
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
    resources: Vec<Resource>,
    templates: Vec<ResourceTemplate>,
    /// Results by name or address; `{name}` in them stands for an argument.
    answers: BTreeMap<String, Value>,
    /// What the client is asked before there is a result, round by round.
    questions: BTreeMap<String, Vec<InputRequests>>,
}

impl Fixtures {
    fn read() -> serde_json::Result<Self> {
        serde_json::from_str(include_str!("conformance.json"))
    }

    fn answer<Answer: DeserializeOwned>(&self, name: &str, arguments: &JsonObject) -> Option<Answer> {
        let mut answer = self.answers.get(name)?.clone();
        fill(&mut answer, arguments);
        // Left out again for revisions that do not know it.
        answer.as_object_mut()?.insert("resultType".to_owned(), json!("complete"));
        serde_json::from_value(answer).ok()
    }

    /// What the client must be asked now; `None` when it has answered everything, or nothing is asked. A state is the name and
    /// the number of a round, so one that was changed is known by its being no such thing.
    fn question(
        &self,
        name: &str,
        state: Option<&str>,
        given: Option<&InputResponses>,
        abilities: &ClientCapabilities,
    ) -> Result<Option<InputRequiredResult>, ErrorData> {
        let Some(rounds) = self.questions.get(name) else { return Ok(None) };
        let state_of = |round: usize| format!("{name}/{round}");
        let asked = match state {
            None => Some(0),
            Some(state) => (0..rounds.len()).find(|round| state_of(*round) == state),
        };
        let foreign = || ErrorData::invalid_params("the request state is none that was given out", None);
        let asked = asked.ok_or_else(foreign)?;
        let is_answered = |key: &String| given.and_then(|given| given.get(key)).is_some_and(Value::is_object);
        let all_answered = rounds.get(asked).is_some_and(|questions| questions.keys().all(is_answered));
        let now = if all_answered { asked + 1 } else { asked };
        let Some(questions) = rounds.get(now) else { return Ok(None) };
        let may_ask: InputRequests = questions
            .iter()
            .filter(|(_, question)| can_answer(abilities, question))
            .map(|(key, question)| (key.clone(), question.clone()))
            .collect();
        if may_ask.is_empty() {
            let needed = serde_json::from_value(json!({"sampling": {}})).unwrap_or_default();
            return Err(ErrorData::missing_required_client_capability(needed));
        }
        Ok(Some(InputRequiredResult::new(Some(may_ask), Some(state_of(now)))))
    }
}

fn can_answer(abilities: &ClientCapabilities, question: &InputRequest) -> bool {
    match question {
        InputRequest::Elicitation(_) => abilities.elicitation.is_some(),
        InputRequest::CreateMessage(_) => abilities.sampling.is_some(),
        InputRequest::ListRoots(_) => abilities.roots.is_some(),
        _ => false,
    }
}

/// Puts arguments into every text.
fn fill(value: &mut Value, arguments: &JsonObject) {
    match value {
        Value::String(text) => {
            for (name, argument) in arguments {
                if let Some(argument) = argument.as_str() {
                    *text = text.replace(&format!("{{{name}}}"), argument);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, arguments)),
        Value::Object(members) => members.values_mut().for_each(|member| fill(member, arguments)),
        _ => {}
    }
}

/// `test://template/{id}/data` and the id, for an address that it fits.
fn template(uri: &str) -> Option<(&'static str, JsonObject)> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    let arguments = JsonObject::from_iter([("id".to_owned(), json!(id))]);
    Some(("test://template/{id}/data", arguments))
}

/// Revisions since 2026-07-28 log only to who asked for it in the request.
async fn log(context: &RequestContext<RoleServer>, text: &str) {
    let is_old = context
        .protocol_version()
        .is_some_and(|version| version.as_str() < ProtocolVersion::V_2026_07_28.as_str());
    if is_old || context.meta.log_level().is_some() {
        let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(text));
        let _heard = context.peer.notify_logging_message(message).await;
    }
}

async fn log_thrice(context: &RequestContext<RoleServer>) {
    log(context, "Tool execution started").await;
    tokio::time::sleep(PAUSE).await;
    log(context, "Tool processing data").await;
    tokio::time::sleep(PAUSE).await;
    log(context, "Tool execution completed").await;
}

async fn tell_progress(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else { return };
    for percent in [0.0, 50.0, 100.0] {
        let mut progress = ProgressNotificationParam::new(token.clone(), percent);
        progress.total = Some(100.0);
        let _heard = context.peer.notify_progress(progress).await;
        tokio::time::sleep(PAUSE).await;
    }
}

impl ServerHandler for Conformance {
    fn get_info(&self) -> ServerConfig {
        let mut info = self.server.get_info();
        info.capabilities.completions = Some(JsonObject::new());
        info.capabilities.logging = Some(JsonObject::new());
        info
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut list = self.server.list_tools(request, context).await?;
        list.tools.extend(self.fixtures.tools.iter().cloned());
        Ok(list)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.as_ref();
        let Some(answer) = self.fixtures.answer::<CallToolResult>(name, &JsonObject::new()) else {
            return self.server.call_tool(request, context).await;
        };
        let abilities = context.client_capabilities().unwrap_or_default();
        let (state, given) = (request.request_state.as_deref(), request.input_responses.as_ref());
        if let Some(question) = self.fixtures.question(name, state, given, &abilities)? {
            return Ok(question.into());
        }
        match name {
            "test_tool_with_logging" | "test_logging_tool" => log_thrice(&context).await,
            "test_tool_with_progress" => tell_progress(&context).await,
            _ => {}
        }
        Ok(answer.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut list = self.server.list_resources(request, context).await?;
        list.resources.extend(self.fixtures.resources.iter().cloned());
        Ok(list)
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut list = self.server.list_resource_templates(request, context).await?;
        list.resource_templates.extend(self.fixtures.templates.iter().cloned());
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (name, arguments) = template(&request.uri).unwrap_or_else(|| (&request.uri, JsonObject::new()));
        match self.fixtures.answer::<ReadResourceResult>(name, &arguments) {
            Some(answer) => Ok(answer.into()),
            None => self.server.read_resource(request, context).await,
        }
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut list = self.server.list_prompts(request, context).await?;
        list.prompts.extend(self.fixtures.prompts.iter().cloned());
        Ok(list)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = request.arguments.clone().unwrap_or_default();
        let Some(answer) = self.fixtures.answer::<GetPromptResult>(&request.name, &arguments) else {
            return self.server.get_prompt(request, context).await;
        };
        let abilities = context.client_capabilities().unwrap_or_default();
        let (state, given) = (request.request_state.as_deref(), request.input_responses.as_ref());
        let question = self.fixtures.question(&request.name, state, given, &abilities)?;
        Ok(question.map_or_else(|| answer.into(), Into::into))
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::default())
    }

    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match self.fixtures.answers.get(&request.uri) {
            Some(_) => Ok(()),
            None => self.server.subscribe(request, context).await,
        }
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        match self.fixtures.answers.get(&request.uri) {
            Some(_) => Ok(()),
            None => self.server.unsubscribe(request, context).await,
        }
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.server.accepted_subscription_filter(requested)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.server.listen(context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able(abilities: Value) -> ClientCapabilities {
        serde_json::from_value(abilities).unwrap()
    }

    #[test]
    fn everything_that_is_listed_has_an_answer() {
        let fixtures = Fixtures::read().unwrap();
        let none = JsonObject::new();
        for tool in &fixtures.tools {
            assert!(fixtures.answer::<CallToolResult>(&tool.name, &none).is_some(), "{}", tool.name);
        }
        for prompt in &fixtures.prompts {
            assert!(fixtures.answer::<GetPromptResult>(&prompt.name, &none).is_some(), "{}", prompt.name);
        }
        for resource in &fixtures.resources {
            assert!(
                fixtures.answer::<ReadResourceResult>(&resource.uri, &none).is_some(),
                "{}",
                resource.uri
            );
        }
        let (name, arguments) = template("test://template/7/data").unwrap();
        let read = fixtures.answer::<ReadResourceResult>(name, &arguments).unwrap();
        assert!(serde_json::to_string(&read).unwrap().contains("Data for ID: 7"));
        assert_eq!(name, fixtures.templates[0].uri_template);
        let known = |name: &String| fixtures.answers.contains_key(name);
        assert!(fixtures.questions.keys().all(known));
    }

    #[test]
    fn questions_are_asked_until_all_are_answered() {
        let fixtures = Fixtures::read().unwrap();
        let name = "test_input_required_result_multi_round";
        let able = able(json!({"elicitation": {}}));
        let ask = |state: Option<&str>, given: Value| {
            let given: InputResponses = serde_json::from_value(given).unwrap();
            fixtures.question(name, state, Some(&given), &able)
        };
        let first = ask(None, json!({"other": {}})).unwrap().unwrap().request_state.unwrap();
        let again = ask(Some(&first), json!({"step1": 5})).unwrap().unwrap().request_state.unwrap();
        assert_eq!(first, again);
        let second = ask(Some(&first), json!({"step1": {}})).unwrap().unwrap().request_state.unwrap();
        assert_ne!(first, second);
        assert!(ask(Some(&second), json!({"step2": {}})).unwrap().is_none());
        assert!(ask(Some("else"), json!({"step2": {}})).is_err());
    }

    #[test]
    fn a_client_is_asked_only_what_it_can_answer() {
        let fixtures = Fixtures::read().unwrap();
        let able = able(json!({"sampling": {}}));
        let asked = fixtures.question("test_input_required_result_capabilities", None, None, &able);
        assert_eq!(asked.unwrap().unwrap().input_requests.unwrap().len(), 1);
        let none = ClientCapabilities::default();
        assert!(fixtures.question("test_missing_capability", None, None, &none).is_err());
    }
}
