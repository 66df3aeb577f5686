//! The server over HTTP: who is let in, and that it is the same server.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::{client::server, daemon::Daemon};

struct Http {
    child: Child,
    address: String,
    token: String,
}

impl Http {
    fn serving(daemon: &Daemon) -> Self {
        let mut child = server(daemon, &["--http", "0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut line =
            |beginning: &str| told.find_map(|line| line.strip_prefix(beginning).map(str::to_owned)).unwrap();
        let token = line("token: ");
        let address = line("listening at http://").trim_end_matches("/mcp").to_owned();
        Self { child, address, token }
    }

    /// Status and body of a message sent with those headers.
    fn post(&self, headers: &str, message: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "POST /mcp HTTP/1.1\r\n{headers}content-type: application/json\r\naccept: application/json, \
             text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{message}",
            message.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    fn headers(&self) -> String {
        format!("host: {}\r\nauthorization: Bearer {}\r\n", self.address, self.token)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn message(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

#[test]
fn only_who_knows_the_token_is_let_in() {
    let daemon = Daemon::idle();
    let http = Http::serving(&daemon);
    let list = message("tools/list", &json!({}));
    let (status, answer) = http.post(&http.headers(), &list);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("workspace_exec"), "{answer}");
    let token = format!("authorization: Bearer {}\r\n", http.token);
    let host = format!("host: {}\r\n", http.address);
    for (headers, refused) in [
        (host.clone(), 401),
        (format!("{host}authorization: Bearer {}x\r\n", http.token), 401),
        (format!("host: evil.example\r\n{token}"), 403),
        (format!("{host}{token}origin: https://evil.example\r\n"), 403),
        (format!("{host}{token}origin: null\r\n"), 403),
    ] {
        assert_eq!(http.post(&headers, &list).0, refused, "{headers}");
    }
    let (status, _) = http.post(&format!("{host}{token}origin: http://localhost:3000\r\n"), &list);
    assert_eq!(status, 200);
}

#[test]
fn what_is_too_long_or_no_message_is_refused() {
    let daemon = Daemon::idle();
    let http = Http::serving(&daemon);
    let (status, _) = http.post(&http.headers(), &"x".repeat((4 << 20) + 1));
    assert_eq!(status, 413);
    let (status, answer) = http.post(&http.headers(), "{\"jsonrpc\":");
    assert!((400..500).contains(&status), "{answer}");
    let (status, _) = http.post(&http.headers(), &message("ping", &json!({})));
    assert_eq!(status, 200);
}

#[test]
fn an_address_that_others_reach_needs_a_name() {
    let daemon = Daemon::idle();
    for address in ["0.0.0.0:0", "nowhere"] {
        let output = server(&daemon, &["--http", address]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
