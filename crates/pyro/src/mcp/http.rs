//! The other way in: Streamable HTTP, for clients that do not start the server themselves.
//!
//! Whoever knows the token may do everything that the server can, so there is always one. Requests that name another host,
//! or come from a page of another origin, are refused before the protocol sees them: a web site must not reach a server on
//! the loopback through somebody's browser. No session is kept, so a server that was started again is no other one.

use std::{convert::Infallible, future::Future, net::SocketAddr, path::Path, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    service::Service,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use pyro_api::{ErrorBody, ErrorCode};
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio::net::TcpListener;

use crate::{output, random};

/// The only path.
const PATH: &str = "/mcp";

/// Longest message.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Shortest token that is taken.
const MIN_TOKEN_CHARS: usize = 16;

/// Origins of pages that may call, beside programs, which have none.
const ORIGINS: [&str; 2] = ["http://localhost:*", "http://127.0.0.1:*"];

/// How to listen.
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Names by which clients may call this host, beside those of the loopback.
    pub(crate) hosts: Vec<String>,
    /// What callers must know.
    pub(crate) token: Token,
}

/// What callers must know.
#[derive(Clone)]
pub(crate) struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The first line of a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ErrorBody> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ErrorBody::new(ErrorCode::FileFailed, format!("cannot read {}: {error}", path.display()))
        })?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.chars().count() < MIN_TOKEN_CHARS || !token.is_ascii() {
            let error = format!("{} holds no token of at least {MIN_TOKEN_CHARS} characters", path.display());
            return Err(ErrorBody::new(ErrorCode::InvalidRequest, error));
        }
        Ok(Self(token.to_owned()))
    }

    /// One that nobody knows yet; it is told on standard error.
    pub(crate) fn new() -> Result<Self, ErrorBody> {
        let token = random::word()?;
        output::note(format!("token: {token}"));
        Ok(Self(token))
    }

    /// Whether a header holds it. How long that takes does not say how much of it is right.
    fn is_in(&self, header: Option<&[u8]>) -> bool {
        let Some(given) = header.and_then(|header| header.strip_prefix(b"Bearer ")) else { return false };
        let token = self.0.as_bytes();
        let differs = token.iter().zip(given).fold(0, |differs, (ours, theirs)| differs | (ours ^ theirs));
        given.len() == token.len() && differs == 0
    }
}

/// An address to listen at: a port, on the loopback, or an address and a port. Others than the loopback need to be said
/// under which names they are called.
pub(crate) fn address(text: &str, hosts: &[String]) -> Result<SocketAddr, ErrorBody> {
    let address = match text.parse::<u16>() {
        Ok(port) => SocketAddr::from(([127, 0, 0, 1], port)),
        Err(_) => text.parse::<SocketAddr>().map_err(|_| {
            ErrorBody::new(ErrorCode::Usage, format!("{text:?} is no address to listen at"))
                .with_hint("give a port, or an address and a port as in 127.0.0.1:8931")
        })?,
    };
    if !address.ip().is_loopback() && hosts.is_empty() {
        return Err(ErrorBody::new(
            ErrorCode::Usage,
            format!("{address} can be reached from other computers"),
        )
        .with_hint("say with --allow-host under which name clients call it, or listen at 127.0.0.1"));
    }
    Ok(address)
}

/// Listens until the process ends.
pub(crate) async fn serve(server: impl ServerHandler + Clone, options: HttpOptions) -> Result<(), ErrorBody> {
    let cannot = |error: std::io::Error| {
        ErrorBody::new(ErrorCode::HostRequirement, format!("cannot listen at {}: {error}", options.address))
    };
    let listener = TcpListener::bind(options.address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    output::note(format!("listening at http://{address}{PATH}"));
    let hosts = ["localhost", "127.0.0.1", "::1"].into_iter().map(str::to_owned).chain(options.hosts);
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(hosts)
        .with_allowed_origins(ORIGINS)
        .with_legacy_session_mode(false)
        .with_max_request_body_bytes(MAX_MESSAGE_BYTES);
    let protocol = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let guarded = Guarded { token: Arc::new(options.token), protocol: TowerToHyperService::new(protocol) };
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // Out of descriptors: those that are open will end.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let guarded = guarded.clone();
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new()
                .half_close(false)
                .serve_connection(TokioIo::new(connection), guarded);
            // A client that breaks off is no fault of ours.
            let _ended = serving.await;
        });
    }
}

/// Lets in who knows the token.
#[derive(Clone)]
struct Guarded<P> {
    token: Arc<Token>,
    protocol: P,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl<P> Service<Request<Incoming>> for Guarded<P>
where
    P: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
    P::Future: Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let header = request.headers().get(AUTHORIZATION).map(|header| header.as_bytes());
        if !self.token.is_in(header) {
            return refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong\n");
        }
        if request.uri().path() != PATH {
            return refuse(StatusCode::NOT_FOUND, "nothing is here but /mcp\n");
        }
        Box::pin(self.protocol.call(request))
    }
}

fn refuse(
    status: StatusCode,
    text: &'static str,
) -> Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, hyper::header::HeaderValue::from_static("Bearer"));
    }
    Box::pin(std::future::ready(Ok(response)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_the_default() {
        assert_eq!(address("8931", &[]).unwrap().to_string(), "127.0.0.1:8931");
        assert_eq!(address("[::1]:0", &[]).unwrap().to_string(), "[::1]:0");
        for bad in ["0.0.0.0:80", "localhost", "", "70000"] {
            assert_eq!(address(bad, &[]).unwrap_err().code, ErrorCode::Usage, "{bad}");
        }
        assert!(address("0.0.0.0:80", &["host.example".to_owned()]).is_ok());
    }

    #[test]
    fn only_the_token_lets_in() {
        let token = Token("0123456789abcdef".to_owned());
        assert!(token.is_in(Some(b"Bearer 0123456789abcdef")));
        for bad in [
            None,
            Some(&b"Bearer 0123456789abcde"[..]),
            Some(b"Bearer 0123456789abcdef0"),
            Some(b"Bearer 0123456789abcdeF"),
            Some(b"0123456789abcdef"),
            Some(b"Bearer "),
        ] {
            assert!(!token.is_in(bad), "{bad:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn tokens_in_files_are_long_enough() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert_eq!(Token::read(&path).unwrap_err().code, ErrorCode::FileFailed);
        std::fs::write(&path, "short\n").unwrap();
        assert_eq!(Token::read(&path).unwrap_err().code, ErrorCode::InvalidRequest);
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        assert!(Token::read(&path).unwrap().is_in(Some(b"Bearer 0123456789abcdef")));
    }
}
