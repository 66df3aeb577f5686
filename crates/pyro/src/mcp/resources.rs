//! Files and logs of workspaces by address, for clients that let a person pick them:
//! `pyro://workspace/ID/logs` and `pyro://workspace/ID/files/PATH`, the path percent-encoded.

use pyro_api::{
    Client, ErrorBody, ErrorCode,
    operation::{GetWorkspaceLogs, ListFiles, ListWorkspaces, ReadFile},
    text::ByteString,
    workspace::{
        command::{Encoding, WorkspaceLogsRequest},
        entry::ArtifactType,
        files::{FileListRequest, FileReadRequest, READ_BYTES},
        identity::WorkspaceRef,
        list::WorkspaceListRequest,
        path::WorkspacePath,
    },
};
use rmcp::{
    ErrorData,
    model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
};
use serde_json::{Value, json};

use super::excerpt::{DEFAULT_MAX_CHARS, excerpt};

const SCHEME: &str = "pyro://workspace/";

/// Most workspaces and files of one list.
const MOST_LISTED: u64 = 50;
const MOST_FILES: u64 = 200;

/// What is at an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Logs(WorkspaceRef),
    File(WorkspaceRef, WorkspacePath),
}

impl Address {
    pub(super) fn parse(uri: &str) -> Option<Self> {
        let (workspace, rest) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        let workspace = String::from_utf8(decoded(workspace)?).ok()?;
        let workspace = WorkspaceRef::new(workspace).ok()?;
        match rest.strip_prefix("files/") {
            Some(path) => {
                let path = WorkspacePath(ByteString(decoded(path)?));
                path.check_below().ok()?;
                Some(Self::File(workspace, path))
            }
            None if rest == "logs" => Some(Self::Logs(workspace)),
            None => None,
        }
    }

    /// Where it is.
    pub(super) fn workspace(&self) -> &WorkspaceRef {
        match self {
            Self::Logs(workspace) | Self::File(workspace, _) => workspace,
        }
    }
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{SCHEME}{{workspace_id}}/files/{{+path}}"), "file")
            .with_title("File of a workspace")
            .with_description("A file below /workspace"),
        ResourceTemplate::new(format!("{SCHEME}{{workspace_id}}/logs"), "logs")
            .with_title("Commands of a workspace")
            .with_description("The last commands and how they ended")
            .with_mime_type("text/plain"),
    ]
}

/// The logs of the workspaces that were used last, and the files at the top of those that run.
pub(super) async fn list(client: &Client) -> Result<Vec<Resource>, ErrorData> {
    let request = WorkspaceListRequest { limit: Some(MOST_LISTED), ..WorkspaceListRequest::default() };
    let list = client.call::<ListWorkspaces>(&request).await.map_err(|error| failed(error.into()))?;
    let mut resources = Vec::new();
    for workspace in list.workspaces {
        let id = &workspace.workspace_id;
        let name = workspace.name.as_ref().unwrap_or(id);
        resources.push(
            Resource::new(format!("{SCHEME}{id}/logs"), format!("{name} logs")).with_mime_type("text/plain"),
        );
        if workspace.state == pyro_api::workspace::view::WorkspaceState::Started {
            // One that cannot be looked into is no reason to list nothing.
            resources.extend(files(client, id, name).await.unwrap_or_default());
        }
    }
    Ok(resources)
}

async fn files(client: &Client, id: &str, name: &str) -> Result<Vec<Resource>, ErrorBody> {
    let request = FileListRequest {
        workspace: WorkspaceRef::new(id)?,
        path: WorkspacePath::root(),
        recursive: false,
        limit: MOST_FILES,
        after: None,
    };
    let list = client.call::<ListFiles>(&request).await?;
    let is_file = |entry: &&pyro_api::workspace::entry::FileEntry| entry.artifact_type == ArtifactType::File;
    let resource = |entry: &pyro_api::workspace::entry::FileEntry| {
        let path = WorkspacePath(entry.path.clone()).relative().unwrap_or_default();
        let shown = String::from_utf8_lossy(&path).into_owned();
        Resource::new(format!("{SCHEME}{id}/files/{}", encoded(&path)), format!("{name}: {shown}"))
            .with_size(entry.size_bytes)
    };
    Ok(list.entries.iter().filter(is_file).map(resource).collect())
}

pub(super) async fn read(client: &Client, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let address = Address::parse(uri);
    let nothing = || asked_for(uri, ErrorData::resource_not_found(format!("nothing is at {uri:?}"), None));
    let address = address.ok_or_else(nothing)?;
    let content = match address {
        Address::Logs(workspace) => logs(client, workspace, uri).await,
        Address::File(workspace, path) => file(client, workspace, path, uri).await,
    };
    Ok(ReadResourceResult::new(vec![content.map_err(|error| asked_for(uri, failed(error)))?]))
}

/// The failure, with the address in its data.
fn asked_for(uri: &str, mut failure: ErrorData) -> ErrorData {
    if let Value::Object(data) = failure.data.get_or_insert_with(|| json!({})) {
        data.insert("uri".to_owned(), json!(uri));
    }
    failure
}

async fn file(
    client: &Client,
    workspace: WorkspaceRef,
    path: WorkspacePath,
    uri: &str,
) -> Result<ResourceContents, ErrorBody> {
    let request = FileReadRequest { max_bytes: *READ_BYTES.end(), ..FileReadRequest::new(workspace, path) };
    let file = client.call::<ReadFile>(&request).await?;
    if file.truncated {
        let error = format!("the file has {} bytes, more than a resource may have", file.size_bytes);
        return Err(
            ErrorBody::new(ErrorCode::FileTooLarge, error).with_hint("workspace_file_read gives parts of it")
        );
    }
    Ok(match file.encoding {
        Encoding::Utf8 => ResourceContents::text(file.content, uri),
        Encoding::Base64 => {
            ResourceContents::blob(file.content, uri).with_mime_type("application/octet-stream")
        }
    })
}

async fn logs(client: &Client, workspace: WorkspaceRef, uri: &str) -> Result<ResourceContents, ErrorBody> {
    let request = WorkspaceLogsRequest {
        limit: MOST_LISTED,
        max_output_bytes: 1000,
        ..WorkspaceLogsRequest::new(workspace)
    };
    let page = client.call::<GetWorkspaceLogs>(&request).await?;
    let mut text = String::new();
    for entry in &page.entries {
        let record = &entry.record;
        let end =
            record.exit_code.map_or_else(|| record.state.to_string(), |code| format!("exit code {code}"));
        text.push_str(&format!("{} $ {}\n[{end}]\n", record.job_id, record.command));
        text.push_str(&entry.output.stdout);
        text.push_str(&entry.output.stderr);
        text.push('\n');
    }
    let shown = excerpt(&text, DEFAULT_MAX_CHARS, |_| "workspace_logs gives the rest".to_owned());
    Ok(ResourceContents::text(shown.text, uri))
}

pub(super) fn failed(error: ErrorBody) -> ErrorData {
    let data = serde_json::to_value(&error).ok();
    match error.code {
        ErrorCode::UnknownWorkspace | ErrorCode::PathNotFound => {
            ErrorData::resource_not_found(error.error, data)
        }
        _ => ErrorData::internal_error(error.error, data),
    }
}

/// Percent-encodes what is neither unreserved nor a slash.
fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(*byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let workspace = || WorkspaceRef::new("fix 42").unwrap();
        assert_eq!(Address::parse("pyro://workspace/fix%2042/logs"), Some(Address::Logs(workspace())));
        let odd = WorkspacePath(ByteString(b"a b/\xff".to_vec()));
        assert_eq!(
            Address::parse("pyro://workspace/fix%2042/files/a%20b/%FF"),
            Some(Address::File(workspace(), odd))
        );
        for bad in [
            "",
            "file:///etc/passwd",
            "pyro://workspace/a",
            "pyro://workspace/a/files/",
            "pyro://workspace/a/files/..%2Fx",
            "pyro://workspace/a/files//etc/passwd",
            "pyro://workspace/a/files/%f",
            "pyro://workspace//logs",
            "pyro://workspace/a/other",
        ] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_name_has_an_address() {
        let name: Vec<u8> = (1..=255).collect();
        assert_eq!(decoded(&encoded(&name)), Some(name));
    }
}
