//! The protocol on one side, the table of tools on the other.

use std::{sync::Arc, time::Duration};

use pyro_api::{Client, ErrorBody, ErrorCode};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, Implementation,
        JsonObject, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
        ServerConfig, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    },
    service::{RequestContext, SubscriptionContext},
    transport::io::stdio_pipes,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Answer, ResultForm, failure},
    host_paths::HostPaths,
    profile::Profile,
    progress::Progress,
    prompts, resources,
    subscriptions::{self, Subscriptions},
    tool::{Tool, ToolCall},
    tools,
};

/// Calls that are answered at once; more wait for their turn. Each takes a few descriptors.
const MOST_CALLS: usize = 256;

/// The server's name, as the contract has it.
const NAME: &str = "pyro_mcp";

/// A server. Cheap to clone; every clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    profile: Profile,
    form: ResultForm,
    times: Times,
    client: Client,
    paths: Arc<HostPaths>,
    subscriptions: Arc<Subscriptions>,
    /// Whether all requests come over one connection, which lasts.
    has_one_client: bool,
    /// That client has gone.
    gone: CancellationToken,
    /// One for each call that is being answered.
    turns: Arc<Semaphore>,
    tools: Arc<Vec<Tool>>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// What runs longer is answered as a job that runs on.
    pub(crate) patience: Duration,
    /// A machine for one command goes so long after its last caller.
    pub(crate) abandon_after: Duration,
}

impl Server {
    /// A server that has asked nothing yet.
    pub(crate) fn new(
        profile: Profile,
        form: ResultForm,
        times: Times,
        client: Client,
        paths: HostPaths,
    ) -> Self {
        let tools = tools::all().into_iter().filter(|tool| profile.has(tool.name)).collect();
        Self {
            profile,
            form,
            times,
            client,
            paths: Arc::new(paths),
            subscriptions: Arc::default(),
            has_one_client: false,
            gone: CancellationToken::new(),
            turns: Arc::new(Semaphore::new(MOST_CALLS)),
            tools: Arc::new(tools),
        }
    }

    /// The same for one client whose connection lasts as long as it does, and what tells that it has gone.
    pub(crate) fn for_one_client(self) -> (Self, CancellationToken) {
        let gone = self.gone.clone();
        (Self { has_one_client: true, ..self }, gone)
    }

    /// Does what a tool does; nothing if there is none of that name.
    pub(super) async fn perform(
        &self,
        name: &str,
        arguments: JsonObject,
        cancel: CancellationToken,
        progress: Progress,
    ) -> Option<Result<Answer, ErrorBody>> {
        let tool = self.tools.iter().find(|tool| tool.name == name)?;
        let call = ToolCall {
            client: self.client.clone(),
            paths: Arc::clone(&self.paths),
            cancel,
            gone: self.gone.clone(),
            progress: Arc::new(progress),
            deadline: Instant::now() + self.times.patience,
            abandon_after: self.times.abandon_after,
        };
        Some(tool.perform(self.profile, call, arguments).await)
    }

    fn form_for(&self, context: &RequestContext<RoleServer>) -> ResultForm {
        let client = context.client_info().map(|client| client.name);
        self.form.for_client(context.protocol_version().as_ref(), client.as_deref())
    }
}

/// Serves one client on standard input and output until it goes, which `gone` tells.
pub(crate) async fn serve_stdio(
    server: impl ServerHandler,
    gone: CancellationToken,
) -> Result<(), ErrorBody> {
    let failed = |error: &dyn std::fmt::Display| {
        ErrorBody::new(
            ErrorCode::InvalidRequest,
            format!("the client did not begin as the protocol wants: {error}"),
        )
    };
    let serving = match server.serve_with_ct(stdio_pipes(), gone).await {
        Ok(serving) => serving,
        // A client that goes before it said anything wants nothing.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    serving.waiting().await.map(drop).map_err(|error| failed(&error))
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = match self.profile {
            Profile::VmRun => ServerCapabilities::builder().enable_tools().build(),
            _ => ServerCapabilities::builder()
                .enable_tools()
                .enable_resources()
                .enable_resources_subscribe()
                .enable_prompts()
                .build(),
        };
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new(NAME, env!("CARGO_PKG_VERSION")).with_title("pyro"))
            .with_instructions(self.profile.instructions())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let form = self.form_for(&context);
        let listed = self.tools.iter().map(|tool| tool.listed(self.profile, form)).collect();
        Ok(ListToolsResult::with_all_items(listed))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let cancelled = || ErrorData::internal_error("the client cancelled the call", None);
        let _turn = tokio::select! {
            turn = self.turns.acquire() => turn.map_err(|_| cancelled())?,
            () = context.ct.cancelled() => return Err(cancelled()),
        };
        let form = self.form_for(&context);
        let progress = Progress::to(context.peer.clone(), context.meta.get_progress_token());
        let arguments = request.arguments.unwrap_or_default();
        let performed = self.perform(&request.name, arguments, context.ct.clone(), progress).await;
        let Some(performed) = performed else {
            let text = format!("the profile {} has no tool {:?}", self.profile.name(), request.name);
            return Err(ErrorData::invalid_params(text, None));
        };
        let result = match performed {
            Ok(answer) => answer.into_result(form),
            Err(error) => failure(&error, form),
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(&self.client).await.map(ListResourcesResult::with_all_items)
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.client, &request.uri).await.map(Into::into)
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let uris = requested.resource_subscriptions.as_deref().unwrap_or_default();
        Some(SubscriptionFilter::builder().resource_subscriptions(subscriptions::accepted(uris)).build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        subscriptions::listen(&self.client, context).await;
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if !self.has_one_client {
            let text =
                "nothing can be told to a client that keeps no connection; speak 2026-07-28 and listen";
            return Err(ErrorData::invalid_request(text, None));
        }
        self.subscriptions.subscribe(&self.client, context.peer, request.uri).await
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscriptions.unsubscribe(&request.uri);
        Ok(())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::list()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request.name, request.arguments.as_ref()).map(Into::into)
    }
}
