//! `vm_list_environments`: what machines can start from.

use pyro_api::{
    ErrorBody,
    environment::{EnvListRequest, Environment},
    operation::EnvList,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mcp::tool::{Hints, Told, Tool, ToolCall, tool};

pub(super) fn tools() -> Vec<Tool> {
    vec![tool(
        "vm_list_environments",
        "List environments",
        "List the environments that machines can start from.",
        Hints::Reads,
        list,
    )]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {}

#[derive(Serialize, JsonSchema)]
struct Environments {
    result: Vec<Environment>,
}

async fn list(call: ToolCall, List {}: List) -> Result<Environments, ErrorBody> {
    let list = call.client.call::<EnvList>(&EnvListRequest {}).await?;
    Ok(Environments { result: list.environments })
}

impl Told for Environments {
    fn told(&self) -> String {
        let names: Vec<&str> = self.result.iter().map(|environment| environment.name.as_str()).collect();
        names.join(", ")
    }
}
