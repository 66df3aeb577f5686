//! The methods: those of a client of the daemon, and those of the handle of one workspace, each for callers that block and
//! for asyncio.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    errors, head, literal,
    methods::{self, Kind, METHODS, Method},
    operations::{constant, python},
    plain,
    schema::{Field, Schemas, Way},
    types, wrapped,
};

/// Which file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Methods of a client.
    Client { asynchronous: bool },
    /// Methods of the handle of a workspace.
    Handle { asynchronous: bool },
}

/// A parameter of a method.
struct Parameter {
    name: String,
    kind: String,
    default: Option<String>,
    positional: bool,
    description: String,
    /// The field of the request that it is, if it is one.
    field: Option<String>,
}

pub(super) fn file(operations: &[Value], schemas: &Schemas<'_>, shape: Shape) -> Result<String> {
    let mut file = head(shape.purpose());
    file.push_str(shape.preamble());
    for method in METHODS.iter().filter(|method| shape.is_client() || method.of_workspace()) {
        let found = operations.iter().find(|operation| operation["name"] == method.operation);
        let operation = found.with_context(|| {
            format!(
                "xtask/src/python/methods.rs has the operation {}, which does not exist",
                method.operation
            )
        })?;
        let writer = Writer { method, operation, schemas, shape };
        file.push_str(&writer.collected()?);
        if method.kind == Kind::Command {
            file.push_str(&writer.stream()?);
        }
        if method.operation == "workspace_create" {
            file.push_str(&writer.temporary()?);
        }
    }
    Ok(file)
}

impl Shape {
    fn is_client(self) -> bool {
        matches!(self, Self::Client { .. })
    }

    fn asynchronous(self) -> bool {
        match self {
            Self::Client { asynchronous } | Self::Handle { asynchronous } => asynchronous,
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Client { asynchronous: false } => "Every operation as a method that blocks.",
            Self::Client { asynchronous: true } => "Every operation as a method for asyncio.",
            Self::Handle { asynchronous: false } => {
                "Every operation on one workspace as a method that blocks."
            }
            Self::Handle { asynchronous: true } => {
                "Every operation on one workspace as a method for asyncio."
            }
        }
    }

    /// What stands before the methods.
    fn preamble(self) -> &'static str {
        match self {
            Self::Client { asynchronous: false } => {
                r#"
from typing import TYPE_CHECKING

from . import _operations
from ._output import MOST_COLLECTED_BYTES
from ._sync_base import SyncBase

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Mapping, Sequence

    from ._input import Source
    from ._output import Output
    from ._streams import CommandStream
    from ._text import Bytes, Command, HostPath
    from ._workspaces import TemporaryWorkspace
    from .types import *


class Methods(SyncBase):
    """Every operation."""
"#
            }
            Self::Client { asynchronous: true } => {
                r#"
from typing import TYPE_CHECKING

from . import _operations
from ._async_base import AsyncBase
from ._output import MOST_COLLECTED_BYTES

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Mapping, Sequence

    from ._async_streams import AsyncCommandStream
    from ._async_workspaces import AsyncTemporaryWorkspace
    from ._input import AsyncSource
    from ._output import Output
    from ._text import Bytes, Command, HostPath
    from .types import *


class AsyncMethods(AsyncBase):
    """Every operation."""
"#
            }
            Self::Handle { asynchronous: false } => {
                r#"
from typing import TYPE_CHECKING

from ._output import MOST_COLLECTED_BYTES

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Mapping, Sequence

    from ._input import Source
    from ._methods import Methods
    from ._output import Output
    from ._streams import CommandStream
    from ._text import Bytes, Command, HostPath
    from .types import *


class WorkspaceHandle:
    """Every operation on one workspace."""

    def __init__(self, pyro: Methods, workspace_id: str) -> None:
        self._pyro = pyro
        #: Its id, or the name that it was asked for by.
        self.workspace_id = workspace_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.workspace_id!r})"
"#
            }
            Self::Handle { asynchronous: true } => {
                r#"
from typing import TYPE_CHECKING

from ._output import MOST_COLLECTED_BYTES

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Mapping, Sequence

    from ._async_methods import AsyncMethods
    from ._async_streams import AsyncCommandStream
    from ._input import AsyncSource
    from ._output import Output
    from ._text import Bytes, Command, HostPath
    from .types import *


class AsyncWorkspaceHandle:
    """Every operation on one workspace."""

    def __init__(self, pyro: AsyncMethods, workspace_id: str) -> None:
        self._pyro = pyro
        #: Its id, or the name that it was asked for by.
        self.workspace_id = workspace_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.workspace_id!r})"
"#
            }
        }
    }
}

/// Writes the methods of one operation.
struct Writer<'a> {
    method: &'a Method,
    operation: &'a Value,
    schemas: &'a Schemas<'a>,
    shape: Shape,
}

impl Writer<'_> {
    /// The method that returns the result.
    fn collected(&self) -> Result<String> {
        let mut parameters = self.request_parameters()?;
        parameters.extend(self.further_parameters());
        if self.method.kind == Kind::Upload {
            // From where, then to where.
            parameters.sort_by_key(|parameter| match parameter.name.as_str() {
                "workspace_id" => 0,
                "source" => 1,
                _ => 2,
            });
        }
        let result = match (self.method.kind, self.method.member) {
            (Kind::Command, _) => format!("{}Result", self.report()?.trim_end_matches("Report")),
            (_, Some((_, kind))) => kind.to_owned(),
            _ => types::result(self.operation)?,
        };
        let name = self.name();
        let body = if self.shape.is_client() {
            self.work(&parameters)?
        } else {
            self.delegation(self.method.name, &parameters)
        };
        Ok(self.definition(self.shape.asynchronous(), &name, &parameters, &result, &body, ""))
    }

    /// The method that returns a stream.
    fn stream(&self) -> Result<String> {
        let mut parameters = self.request_parameters()?;
        if self.takes_input() {
            parameters.push(self.stdin("bool", "False", "True if `write_stdin` of the stream will be used."));
        }
        parameters.push(on_event());
        let kind = if self.shape.asynchronous() { "AsyncCommandStream" } else { "CommandStream" };
        let result = format!("{kind}[{}]", self.report()?);
        let name = format!("stream_{}", self.name());
        let body = if self.shape.is_client() {
            let stdin = if self.takes_input() { "stdin" } else { "None" };
            format!("return self._stream({}, {stdin}, on_event)", self.asked(&parameters))
        } else {
            self.delegation(&self.method.stream_name(), &parameters)
        };
        let more = "The same as a stream: what the command writes is there as it comes.";
        Ok(self.definition(false, &name, &parameters, &result, &body, more))
    }

    /// The method that makes a workspace for a block.
    fn temporary(&self) -> Result<String> {
        let mut parameters = self.request_parameters()?;
        parameters.extend(self.further_parameters());
        let (module, kind) = match self.shape.asynchronous() {
            false => ("_workspaces", "TemporaryWorkspace"),
            true => ("_async_workspaces", "AsyncTemporaryWorkspace"),
        };
        let call = self.call("self.create_workspace", Vec::new(), &parameters);
        let body = format!("from .{module} import {kind}\n\n        return {kind}(self, lambda: {call})");
        let more = "The same for a `with` block, with a handle of it: when the block is left, it is deleted.";
        Ok(self.definition(false, "temporary_workspace", &parameters, kind, &body, more))
    }

    fn report(&self) -> Result<String> {
        types::result(self.operation)
    }

    fn name(&self) -> String {
        if self.shape.is_client() { self.method.name.to_owned() } else { self.method.handle_name() }
    }

    fn takes_input(&self) -> bool {
        self.method.hidden.contains(&"stdin")
    }

    fn request_parameters(&self) -> Result<Vec<Parameter>> {
        let request =
            self.schemas.get(self.schemas.reference(&self.operation["request"]).unwrap_or_default())?;
        let fields = self.schemas.fields(request);
        let mut parameters = Vec::new();
        for field in &fields {
            let host_path = methods::HOST_PATHS.contains(&field.name);
            if self.method.hidden.contains(&field.name)
                || (!self.shape.is_client() && field.name == "workspace")
            {
                continue;
            }
            let mut kind = match field.name {
                _ if host_path => "HostPath".to_owned(),
                name if name.ends_with("_base64") => "bytes".to_owned(),
                _ => self.schemas.python(field.schema, Way::Sent)?,
            };
            let default = &field.schema["default"];
            let default = if field.required {
                None
            } else if default.is_null() || default.is_object() || default.is_array() {
                if !kind.ends_with("None") {
                    kind.push_str(" | None");
                }
                Some("None".to_owned())
            } else {
                Some(python(default))
            };
            parameters.push(Parameter {
                name: self.method.parameter(field.name),
                kind,
                default,
                positional: self.method.positional.contains(&field.name),
                description: self.description(field),
                field: Some(field.name.to_owned()),
            });
        }
        let place = |parameter: &Parameter| {
            let field = parameter.field.as_deref().unwrap_or_default();
            self.method.positional.iter().position(|name| *name == field).unwrap_or(usize::MAX)
        };
        parameters.sort_by_key(place);
        Ok(parameters)
    }

    /// What a parameter is for, in the words of Python.
    fn description(&self, field: &Field<'_>) -> String {
        if field.name.ends_with("_base64") {
            return "The content as bytes.".to_owned();
        }
        let described = self.schemas.description(field.schema);
        self.method.renamed.iter().fold(described, |text, (name, parameter)| {
            text.replace(&format!("`{name}`"), &format!("`{parameter}`"))
        })
    }

    /// What a method takes that is no field of the request.
    fn further_parameters(&self) -> Vec<Parameter> {
        let own = |name: &str, kind: &str, default: Option<&str>, description: &str| Parameter {
            name: name.to_owned(),
            kind: kind.to_owned(),
            default: default.map(str::to_owned),
            positional: false,
            description: description.to_owned(),
            field: None,
        };
        let on_progress = own(
            "on_progress",
            "Callable[[Progress], object] | None",
            Some("None"),
            "Is told how far it has come.",
        );
        match self.method.kind {
            Kind::Call | Kind::Ask => Vec::new(),
            Kind::Work => vec![on_progress],
            Kind::Upload => vec![
                Parameter {
                    positional: true,
                    ..own(
                        "source",
                        &format!("HostPath | {}", self.source()),
                        None,
                        "The content: a file of this host by its path, an open binary file, or pieces of bytes.",
                    )
                },
                on_progress,
            ],
            Kind::Download => vec![
                Parameter {
                    positional: true,
                    ..own(
                        "target",
                        "HostPath | BinaryIO",
                        None,
                        "A file of this host to make, or an open binary file.",
                    )
                },
                own("force", "bool", Some("False"), "Whether a file that is there is replaced."),
                on_progress,
            ],
            Kind::Export => vec![
                own(
                    "output_path",
                    "HostPath | BinaryIO",
                    None,
                    "What to make on this host, or an open binary file that takes the bytes.",
                ),
                on_progress,
            ],
            Kind::Command => {
                let mut parameters = Vec::new();
                if self.takes_input() {
                    let kind = format!("{} | None", self.source());
                    parameters.push(self.stdin(&kind, "None", "Standard input; empty when absent."));
                }
                parameters.push(own(
                    "on_output",
                    "Callable[[Output], object] | None",
                    Some("None"),
                    "Is given what the command writes, as it comes.",
                ));
                parameters.push(on_event());
                parameters.push(own(
                    "max_output_bytes",
                    "int",
                    Some("MOST_COLLECTED_BYTES"),
                    "At most so much of each output in the result; all of it is counted.",
                ));
                parameters
            }
        }
    }

    fn source(&self) -> &'static str {
        if self.shape.asynchronous() { "AsyncSource" } else { "Source" }
    }

    fn stdin(&self, kind: &str, default: &str, description: &str) -> Parameter {
        Parameter {
            name: "stdin".to_owned(),
            kind: kind.to_owned(),
            default: Some(default.to_owned()),
            positional: false,
            description: description.to_owned(),
            field: None,
        }
    }

    /// The operation and the values of the request.
    fn asked(&self, parameters: &[Parameter]) -> String {
        let values: Vec<String> = parameters
            .iter()
            .filter_map(|parameter| Some((parameter.field.as_ref()?, &parameter.name)))
            .map(|(field, name)| format!("{}: {name}", literal(field)))
            .collect();
        format!("_operations.{}, {{{}}}", constant(self.method.operation), listed(&values))
    }

    fn work(&self, parameters: &[Parameter]) -> Result<String> {
        let asked = self.asked(parameters);
        let awaits = if self.shape.asynchronous() { "await " } else { "" };
        Ok(match self.method.kind {
            Kind::Call => match self.method.member {
                Some((member, _)) => format!("return ({awaits}self._call({asked}))[\"{member}\"]"),
                None => format!("return {awaits}self._call({asked})"),
            },
            Kind::Ask => format!("return {awaits}self._ask({asked})"),
            Kind::Work => format!("return {awaits}self._work({asked}, on_progress)"),
            Kind::Upload => format!("return {awaits}self._upload({asked}, source, on_progress)"),
            Kind::Download => format!("return {awaits}self._download({asked}, target, force, on_progress)"),
            Kind::Export => format!("return {awaits}self._export({asked}, output_path, on_progress)"),
            Kind::Command => {
                let stdin = if self.takes_input() { "stdin" } else { "None" };
                let report = self.report()?;
                let result = format!("{}Result", report.trim_end_matches("Report"));
                format!(
                    "result: {result} = {awaits}self._collect({asked}, {stdin}, on_output, on_event, max_output_bytes)\n        return result"
                )
            }
        })
    }

    fn delegation(&self, name: &str, parameters: &[Parameter]) -> String {
        let streams = name.starts_with("stream_");
        let awaits = if self.shape.asynchronous() && !streams { "await " } else { "" };
        let first = vec!["self.workspace_id".to_owned()];
        format!("return {awaits}{}", self.call(&format!("self._pyro.{name}"), first, parameters))
    }

    /// A call with all parameters passed on.
    fn call(&self, function: &str, mut arguments: Vec<String>, parameters: &[Parameter]) -> String {
        let (positional, named): (Vec<&Parameter>, Vec<&Parameter>) =
            parameters.iter().partition(|parameter| parameter.positional);
        arguments.extend(positional.iter().map(|parameter| parameter.name.clone()));
        arguments.extend(named.iter().map(|parameter| format!("{0}={0}", parameter.name)));
        format!("{function}({})", listed(&arguments))
    }

    fn definition(
        &self,
        asynchronous: bool,
        name: &str,
        parameters: &[Parameter],
        result: &str,
        body: &str,
        more: &str,
    ) -> String {
        let (positional, named): (Vec<&Parameter>, Vec<&Parameter>) =
            parameters.iter().partition(|parameter| parameter.positional);
        let one = |parameter: &&Parameter| match &parameter.default {
            Some(default) => format!("        {}: {} = {default},\n", parameter.name, parameter.kind),
            None => format!("        {}: {},\n", parameter.name, parameter.kind),
        };
        let mut signature: String = positional.iter().map(one).collect();
        if !named.is_empty() {
            signature.push_str("        *,\n");
            signature.extend(named.iter().map(one));
        }
        let begin = if asynchronous { "async def" } else { "def" };
        let head = if signature.is_empty() {
            format!("{begin} {name}(self) -> {result}:")
        } else {
            format!("{begin} {name}(\n        self,\n{signature}    ) -> {result}:")
        };
        format!("\n    {head}\n{}\n        {body}\n", self.docstring(parameters, more))
    }

    fn docstring(&self, parameters: &[Parameter], more: &str) -> String {
        let doc = plain(self.operation["doc"].as_str().unwrap_or_default());
        let mut text = wrapped(&doc, "        \"\"\"", "        ");
        if !more.is_empty() {
            text.push_str(&format!("\n\n        {more}"));
        }
        let described: Vec<String> = parameters
            .iter()
            .filter(|parameter| !parameter.description.is_empty())
            .map(|parameter| {
                let line = format!("`{}`: {}", parameter.name, plain(&parameter.description));
                wrapped(&line, "        - ", "          ")
            })
            .collect();
        if !described.is_empty() {
            text.push_str(&format!("\n\n{}", described.join("\n")));
        }
        let raised: Vec<String> = self.operation["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|code| code.as_str().map(errors::class))
            .collect();
        if !raised.is_empty() {
            let raised = format!("Raises, beside what any operation may raise: {}.", raised.join(", "));
            text.push_str(&format!("\n\n{}", wrapped(&raised, "        ", "        ")));
        }
        if described.is_empty() && raised.is_empty() && more.is_empty() {
            text.push_str("\"\"\"");
        } else {
            text.push_str("\n        \"\"\"");
        }
        text
    }
}

/// Parts in one line, or each in its own when that would be long.
fn listed(parts: &[String]) -> String {
    let line = parts.join(", ");
    if line.len() <= 70 {
        return line;
    }
    let parts: Vec<String> = parts.iter().map(|part| format!("\n            {part},")).collect();
    format!("{}\n        ", parts.concat())
}

fn on_event() -> Parameter {
    Parameter {
        name: "on_event".to_owned(),
        kind: "Callable[[dict[str, Any]], object] | None".to_owned(),
        default: Some("None".to_owned()),
        positional: false,
        description: "Is told what happens beside the output: phases, progress, that the command has begun."
            .to_owned(),
        field: None,
    }
}
