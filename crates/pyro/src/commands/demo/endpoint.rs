//! A model behind an endpoint that speaks OpenAI's chat completions, over plain HTTP.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use pyro_api::{ErrorBody, ErrorCode, error::chain_text};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Longest answer that is taken.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Longest part of a refusal that is shown.
const MOST_SHOWN_CHARS: usize = 500;

/// Where a model is.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// As it stands in an address: an IPv6 one in brackets.
    host: String,
    port: u16,
    path: String,
    model: String,
    /// Never shown.
    authorization: Option<HeaderValue>,
}

/// What a model has said.
#[derive(Debug)]
pub(super) struct Message {
    /// As it must stand among the messages of the next question.
    pub(super) whole: Value,
    /// Its words.
    pub(super) text: Option<String>,
    /// The tools that it calls.
    pub(super) calls: Vec<Call>,
}

/// A tool that a model calls.
#[derive(Debug)]
pub(super) struct Call {
    /// Under this the answer is given.
    pub(super) id: String,
    pub(super) name: String,
    /// An object, if the model wrote one; otherwise what it wrote.
    pub(super) arguments: Value,
}

impl Endpoint {
    /// Understands the address of an API, as OpenAI's library takes it.
    pub(super) fn parse(base_url: &str, model: &str, token: Option<String>) -> Result<Self, ErrorBody> {
        let refuse = |text: String| ErrorBody::new(ErrorCode::Usage, text);
        let uri = base_url
            .parse::<Uri>()
            .map_err(|error| refuse(format!("{base_url:?} is no address of an API: {error}")))?;
        let authorization = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
        let mut authorization =
            authorization.map_err(|_| refuse("the token has characters that no header has".to_owned()))?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) => Ok(Self {
                host: host.to_owned(),
                port: uri.port_u16().unwrap_or(80),
                path: format!("{}/chat/completions", uri.path().trim_end_matches('/')),
                model: model.to_owned(),
                authorization,
            }),
            (Some("https"), _) => Err(refuse(format!("{base_url} is reached over TLS, which this demo does not speak"))
                .with_hint("name an endpoint on this host or in its network with http://, or examples/clients for others")),
            _ => Err(refuse(format!("{base_url:?} is no address of an API"))
                .with_hint("give one like http://localhost:11434/v1")),
        }
    }

    /// Whether somebody listens there; says how to mend it if not.
    pub(super) async fn reach(&self) -> Result<(), ErrorBody> {
        self.connect().await.map(drop)
    }

    /// What the model says next.
    pub(super) async fn ask(&self, messages: &[Value], tools: &[Value]) -> Result<Message, ErrorBody> {
        let question = json!({
            "model": self.model, "messages": messages, "tools": tools, "temperature": 0, "stream": false,
        });
        let answer = self.post(question.to_string().into()).await?;
        understood(&answer).ok_or_else(|| self.failed(&format!("answered no message: {}", shown(&answer))))
    }

    async fn connect(&self) -> Result<TcpStream, ErrorBody> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        TcpStream::connect((host, self.port)).await.map_err(|error| {
            self.failed(&format!("cannot be reached: {error}")).with_hint(format!(
                "start a server there (`ollama serve`, `ollama pull {}`), or name another with --base-url",
                self.model
            ))
        })
    }

    async fn post(&self, question: Bytes) -> Result<Bytes, ErrorBody> {
        let broken = |error: hyper::Error| self.failed(&chain_text(&error));
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(broken)?;
        // Its errors are those of the request and of the body.
        let driver = tokio::spawn(connection);
        let mut request = Request::post(&self.path)
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(question))
            .map_err(|error| self.failed(&format!("cannot be asked: {error}")))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        driver.abort();
        let bytes = body.map_err(|error| self.failed(&format!("broke off: {error}")))?.to_bytes();
        if status.is_success() {
            return Ok(bytes);
        }
        Err(self.failed(&format!("answered {status}: {}", shown(&bytes))))
    }

    fn failed(&self, what: &str) -> ErrorBody {
        let Self { host, port, path, .. } = self;
        ErrorBody::new(
            ErrorCode::HostRequirement,
            format!("the model's endpoint http://{host}:{port}{path} {what}"),
        )
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(MOST_SHOWN_CHARS).collect()
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Value,
}

fn understood(answer: &[u8]) -> Option<Message> {
    let completion: Completion = serde_json::from_slice(answer).ok()?;
    let whole = completion.choices.into_iter().next()?.message;
    let text = whole["content"].as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let calls = whole["tool_calls"].as_array().into_iter().flatten().map(call).collect::<Option<_>>()?;
    Some(Message { text, calls, whole })
}

fn call(call: &Value) -> Option<Call> {
    let function = &call["function"];
    // The contract says text that holds an object; some servers give the object.
    let arguments = match &function["arguments"] {
        Value::String(text) if text.trim().is_empty() => json!({}),
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Value::Null => json!({}),
        other => other.clone(),
    };
    let id = call["id"].as_str().unwrap_or_default().to_owned();
    Some(Call { id, name: function["name"].as_str()?.to_owned(), arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, ErrorBody> {
        Endpoint::parse(url, "m", None)
    }

    #[test]
    fn addresses_are_those_of_the_library() {
        let local = parse("http://localhost:11434/v1/").unwrap();
        assert_eq!(
            (local.host.as_str(), local.port, local.path.as_str()),
            ("localhost", 11434, "/v1/chat/completions")
        );
        let bare = parse("http://[::1]").unwrap();
        assert_eq!((bare.host.as_str(), bare.port, bare.path.as_str()), ("[::1]", 80, "/chat/completions"));
    }

    #[test]
    fn a_token_is_never_shown() {
        let endpoint = Endpoint::parse("http://localhost", "m", Some("geheim".into())).unwrap();
        assert!(!format!("{endpoint:?}").contains("geheim"), "{endpoint:?}");
        let odd = Endpoint::parse("http://localhost", "m", Some("a\nb".into())).unwrap_err();
        assert_eq!(odd.code, ErrorCode::Usage);
        assert!(!format!("{odd:?}").contains("a\\nb"), "{odd:?}");
    }

    #[test]
    fn what_it_cannot_speak_is_refused_with_a_way_out() {
        let tls = parse("https://models.example/v1").unwrap_err();
        assert_eq!(tls.code, ErrorCode::Usage);
        assert!(tls.error.contains("TLS") && tls.hint.is_some(), "{tls:?}");
        for bad in ["localhost:11434", "/v1", "", "ftp://host/v1", "http://"] {
            assert_eq!(parse(bad).unwrap_err().code, ErrorCode::Usage, "{bad}");
        }
    }

    fn message(message: &Value) -> Option<Message> {
        understood(json!({"choices": [{"message": message}]}).to_string().as_bytes())
    }

    #[test]
    fn calls_are_understood_however_their_arguments_stand() {
        let called = |arguments: Value| {
            let call =
                json!({"id": "c", "type": "function", "function": {"name": "n", "arguments": arguments}});
            message(&json!({"role": "assistant", "content": null, "tool_calls": [call]})).unwrap()
        };
        for arguments in [json!("{\"a\": 1}"), json!({"a": 1})] {
            let said = called(arguments);
            assert_eq!((said.text, &said.calls[0].arguments), (None, &json!({"a": 1})));
        }
        assert_eq!(called(json!("")).calls[0].arguments, json!({}));
        assert_eq!(called(json!("{nonsense")).calls[0].arguments, json!("{nonsense"));
        assert_eq!(message(&json!({"content": " hi "})).unwrap().text.as_deref(), Some("hi"));
        assert!(message(&json!({"tool_calls": [{"function": {}}]})).is_none());
        assert!(understood(b"<html>").is_none());
    }
}
