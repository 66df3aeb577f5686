//! The protocol on one side, the table of tools on the other.

use std::{sync::Arc, time::Duration};

use pyro_api::{Client, ErrorBody, ErrorCode};
use rmcp::{
    ErrorData, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, GetPromptRequestParams, GetPromptResponse, Implementation,
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
        PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
        ServerConfig,
    },
    service::RequestContext,
    transport::io::stdio_pipes,
};
use tokio::time::Instant;

use super::{
    answer::{ResultForm, failure},
    attach::Identical,
    host_paths::HostPaths,
    profile::Profile,
    progress::Progress,
    prompts, resources,
    tool::{Tool, ToolCall},
    tools,
};

/// The server's name, as the contract has it.
const NAME: &str = "pyro_mcp";

/// A server. Cheap to clone; every clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    profile: Profile,
    form: ResultForm,
    patience: Duration,
    client: Client,
    paths: Arc<HostPaths>,
    identical: Arc<Identical>,
    tools: Arc<Vec<Tool>>,
}

impl Server {
    /// What runs longer than `patience` is answered as a job that runs on.
    pub(crate) fn new(
        profile: Profile,
        form: ResultForm,
        patience: Duration,
        client: Client,
        paths: HostPaths,
    ) -> Self {
        let tools = tools::all().into_iter().filter(|tool| profile.has(tool.name)).collect();
        Self {
            profile,
            form,
            patience,
            client,
            paths: Arc::new(paths),
            identical: Arc::default(),
            tools: Arc::new(tools),
        }
    }

    fn form_for(&self, context: &RequestContext<RoleServer>) -> ResultForm {
        let client = context.client_info().map(|client| client.name);
        self.form.for_client(context.protocol_version().as_ref(), client.as_deref())
    }
}

/// Serves one client on standard input and output until it goes.
pub(crate) async fn serve_stdio(server: impl ServerHandler) -> Result<(), ErrorBody> {
    let failed = |error: &dyn std::fmt::Display| {
        ErrorBody::new(
            ErrorCode::InvalidRequest,
            format!("the client did not begin as the protocol wants: {error}"),
        )
    };
    let serving = match server.serve(stdio_pipes()).await {
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
            _ => ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build(),
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
        let Some(tool) = self.tools.iter().find(|tool| tool.name == request.name) else {
            let text = format!("the profile {} has no tool {:?}", self.profile.name(), request.name);
            return Err(ErrorData::invalid_params(text, None));
        };
        let form = self.form_for(&context);
        let token = context.meta.get_progress_token();
        let call = ToolCall {
            client: self.client.clone(),
            paths: Arc::clone(&self.paths),
            identical: Arc::clone(&self.identical),
            cancel: context.ct.clone(),
            progress: Arc::new(Progress::to(context.peer.clone(), token)),
            deadline: Instant::now() + self.patience,
        };
        let performed = tool.perform(self.profile, call, request.arguments.unwrap_or_default()).await;
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
